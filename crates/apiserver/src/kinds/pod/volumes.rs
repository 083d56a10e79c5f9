//! What must hold of a pod's volumes: which files they show, and with which rights.

use serde_json::{Value, json};

use crate::check::{Findings, format};

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const TOKEN_MIN_SECONDS: i64 = 600;
const TOKEN_MAX_SECONDS: i64 = 1 << 32;
const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];
/// Fields of a pod that a variable can have.
const IN_VARIABLES: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of a pod that a file can have.
const IN_FILES: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// Finds what is wrong with the volume at `at`.
pub fn validate(at: &str, volume: &Value, findings: &mut Findings) {
    let host = &volume["hostPath"]["type"];
    if !host.is_null() && !HOST_PATH_TYPES.contains(&text(host)) {
        findings.unsupported(format!("{at}.hostPath.type"), host, &HOST_PATH_TYPES);
    }
    for kind in ["configMap", "secret", "downwardAPI", "projected"] {
        mode(
            &format!("{at}.{kind}.defaultMode"),
            &volume[kind]["defaultMode"],
            findings,
        );
        files(&format!("{at}.{kind}"), kind, &volume[kind], findings);
    }
    let sources = items(&volume["projected"]["sources"]);
    for (index, source) in sources.iter().enumerate() {
        projected(
            &format!("{at}.projected.sources[{index}]"),
            source,
            findings,
        );
    }
}

fn projected(at: &str, source: &Value, findings: &mut Findings) {
    for kind in ["configMap", "secret", "downwardAPI"] {
        files(&format!("{at}.{kind}"), kind, &source[kind], findings);
        if !source[kind].is_null()
            && kind != "downwardAPI"
            && text(&source[kind]["name"]).is_empty()
        {
            findings.required(format!("{at}.{kind}.name"), "");
        }
    }
    if source.as_object().is_some_and(|source| source.len() > 1) {
        let why = "may not specify more than 1 volume type";
        findings.forbidden(at, why);
    }
    let token = &source["serviceAccountToken"];
    if token.is_null() {
        return;
    }
    let at = format!("{at}.serviceAccountToken");
    path(&format!("{at}.path"), &token["path"], findings);
    let seconds = &token["expirationSeconds"];
    let why = match seconds.as_i64() {
        Some(..TOKEN_MIN_SECONDS) => "may not specify a duration less than 10 minutes",
        Some(more) if more > TOKEN_MAX_SECONDS => {
            "may not specify a duration larger than 2^32 seconds"
        }
        _ => return,
    };
    findings.invalid(format!("{at}.expirationSeconds"), seconds, why);
}

/// The files of a volume: which key, or which field of the pod, is where.
fn files(at: &str, kind: &str, source: &Value, findings: &mut Findings) {
    for (index, item) in items(&source["items"]).iter().enumerate() {
        let at = format!("{at}.items[{index}]");
        if kind == "downwardAPI" {
            downward(&at, item, findings);
        } else if text(&item["key"]).is_empty() {
            findings.required(format!("{at}.key"), "");
        }
        path(&format!("{at}.path"), &item["path"], findings);
        mode(&format!("{at}.mode"), &item["mode"], findings);
    }
}

fn downward(at: &str, item: &Value, findings: &mut Findings) {
    match (
        item["fieldRef"].is_null(),
        item["resourceFieldRef"].is_null(),
    ) {
        (false, true) => field_reference(
            &format!("{at}.fieldRef"),
            &item["fieldRef"],
            false,
            findings,
        ),
        (false, false) => findings.invalid(
            at,
            &json!("resource"),
            "fieldRef and resourceFieldRef can not be specified simultaneously",
        ),
        (true, true) => findings.required(at, "one of fieldRef and resourceFieldRef is required"),
        (true, false) => {}
    }
}

/// Finds what is wrong with the reference to a field of the pod at `at`.
pub fn field_reference(at: &str, reference: &Value, is_variable: bool, findings: &mut Findings) {
    let field = format!("{at}.fieldPath");
    let said = text(&reference["fieldPath"]);
    if said.is_empty() {
        return findings.required(field, "");
    }
    let keyed = ["metadata.labels['", "metadata.annotations['"];
    let is_keyed = keyed.iter().any(|start| said.starts_with(start)) && said.ends_with("']");
    let known: &[&str] = if is_variable {
        &IN_VARIABLES
    } else {
        &IN_FILES
    };
    if is_keyed || known.contains(&said) {
        return;
    }
    if IN_VARIABLES.contains(&said) || IN_FILES.contains(&said) {
        findings.unsupported(field, &reference["fieldPath"], known);
    } else {
        let why = format!("error converting fieldPath: field label not supported: {said}");
        findings.invalid(field, &reference["fieldPath"], why);
    }
}

/// A path within a volume.
fn path(field: &str, value: &Value, findings: &mut Findings) {
    let said = text(value);
    if said.is_empty() {
        return findings.required(field, "");
    }
    if said.starts_with('/') {
        findings.invalid(field, value, "must be a relative path");
    }
    for why in format::no_backsteps(said) {
        findings.invalid(field, value, why);
    }
    if said.starts_with("..") && !said.starts_with("../") && said != ".." {
        findings.invalid(field, value, "must not start with '..'");
    }
}

fn mode(field: &str, value: &Value, findings: &mut Findings) {
    if value
        .as_i64()
        .is_some_and(|mode| !(0..=0o777).contains(&mode))
    {
        findings.invalid(field, value, MODE);
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_judged() {
        let map = |item: Value| json!({"configMap": {"name": "m", "items": [item]}});
        let projected = |source: Value| json!({"projected": {"sources": [source]}});
        for (volume, expected) in [
            (map(json!({"key": "a", "path": "b/c", "mode": 0o600})), ""),
            (
                map(json!({"path": "b"})),
                "v.configMap.items[0].key: Required value",
            ),
            (
                map(json!({"key": "a", "path": "/b"})),
                "v.configMap.items[0].path: Invalid value: \"/b\": must be a relative path",
            ),
            (
                map(json!({"key": "a", "path": "a/../b"})),
                "v.configMap.items[0].path: Invalid value: \"a/../b\": must not contain '..'",
            ),
            (
                map(json!({"key": "a", "path": "b", "mode": 0o1000})),
                "v.configMap.items[0].mode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
            ),
            (
                projected(json!({"serviceAccountToken": {"path": "t", "expirationSeconds": 60}})),
                "v.projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes",
            ),
            (
                projected(json!({"secret": {}})),
                "v.projected.sources[0].secret.name: Required value",
            ),
            (
                json!({"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "spec.nodeName"}}]}}),
                "v.downwardAPI.items[0].fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
            ),
            (
                json!({"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.labels['a']"}}]}}),
                "",
            ),
            (
                json!({"hostPath": {"path": "/", "type": "Folder"}}),
                "v.hostPath.type: Unsupported value: \"Folder\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
            ),
        ] {
            let mut findings = Findings::default();
            validate("v", &volume, &mut findings);
            let found = if findings.is_empty() {
                String::new()
            } else {
                findings.to_string()
            };
            assert_eq!(found, expected, "{volume}");
        }
    }
}
