//! What must hold of `metadata`, of any kind.

use serde_json::{Value, json};

use super::{Findings, format};
use crate::object;

/// Which names a kind allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain: most kinds.
    Subdomain,
    /// RFC 1123 label: namespaces.
    Label,
    /// RFC 1035 label: Services.
    Label1035,
    /// Anything that can stand in a path: roles and their bindings.
    PathSegment,
}

const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

/// Checks the metadata of a new object, or of an update's new state.
pub fn check_metadata(rule: NameRule, object: &Value, findings: &mut Findings) {
    let meta = &object["metadata"];
    let (name, generate) = (
        object::name(object),
        meta["generateName"].as_str().unwrap_or(""),
    );
    if !generate.is_empty() {
        // The random end makes a trailing dash right.
        let stem = generate.trim_end_matches('-');
        let stem = if stem.is_empty() { generate } else { stem };
        wrong_name(rule, stem).into_iter().for_each(|why| {
            findings.invalid("metadata.generateName", &meta["generateName"], why);
        });
    }
    if name.is_empty() {
        findings.required("metadata.name", "name or generateName is required");
    } else {
        wrong_name(rule, name).into_iter().for_each(|why| {
            findings.invalid("metadata.name", &meta["name"], why);
        });
    }
    labels("metadata.labels", &meta["labels"], findings);
    annotations("metadata.annotations", &meta["annotations"], findings);
    for (index, finalizer) in list(&meta["finalizers"]).iter().enumerate() {
        let wrong = finalizer
            .as_str()
            .map(format::qualified_name)
            .unwrap_or_default();
        let field = format!("metadata.finalizers[{index}]");
        wrong
            .into_iter()
            .for_each(|why| findings.invalid(&field, finalizer, why));
    }
    owners(&meta["ownerReferences"], findings);
}

fn wrong_name(rule: NameRule, name: &str) -> Vec<String> {
    match rule {
        NameRule::Subdomain => format::dns_subdomain(name),
        NameRule::Label => format::dns_label(name),
        NameRule::Label1035 => format::dns_1035_label(name),
        NameRule::PathSegment => format::path_segment(name),
    }
}

/// Checks a map of labels at `field`; also used for selectors.
pub fn labels(field: &str, labels: &Value, findings: &mut Findings) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        let key_value = json!(key);
        format::qualified_name(key)
            .into_iter()
            .for_each(|why| findings.invalid(field, &key_value, why));
        let wrong = value.as_str().map(format::label_value).unwrap_or_default();
        wrong
            .into_iter()
            .for_each(|why| findings.invalid(field, value, why));
    }
}

/// Checks a map of annotations at `field`.
pub fn annotations(field: &str, annotations: &Value, findings: &mut Findings) {
    let mut total = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        total += key.len() + value.as_str().map_or(0, str::len);
        let key_value = json!(key);
        format::qualified_name(&key.to_lowercase())
            .into_iter()
            .for_each(|why| findings.invalid(field, &key_value, why));
    }
    if total > ANNOTATIONS_MAX_BYTES {
        findings.too_long(field, ANNOTATIONS_MAX_BYTES);
    }
}

fn owners(owners: &Value, findings: &mut Findings) {
    let mut controllers = 0;
    for (index, owner) in list(owners).iter().enumerate() {
        for part in ["apiVersion", "kind", "name", "uid"] {
            if owner[part].as_str().unwrap_or("").is_empty() {
                let field = format!("metadata.ownerReferences[{index}].{part}");
                findings.invalid(field, &json!(""), "must not be empty");
            }
        }
        controllers += usize::from(owner["controller"] == json!(true));
    }
    if controllers > 1 {
        let why = "Only one reference can have Controller set to true";
        findings.invalid("metadata.ownerReferences", owners, why);
    }
}

/// Checks that an update leaves alone what may not change.
pub fn check_metadata_update(new: &Value, old: &Value, findings: &mut Findings) {
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        let (was, is) = (&old["metadata"][field], &new["metadata"][field]);
        if was != is {
            findings.invalid(format!("metadata.{field}"), is, "field is immutable");
        }
    }
    let deleting = !old["metadata"]["deletionTimestamp"].is_null();
    let before = list(&old["metadata"]["finalizers"]);
    let added: Vec<String> = list(&new["metadata"]["finalizers"])
        .iter()
        .filter(|finalizer| !before.contains(finalizer))
        .map(Value::to_string)
        .collect();
    if deleting && !added.is_empty() {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            added.join(", ")
        );
        findings.forbidden("metadata.finalizers", why);
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: NameRule, metadata: Value) -> String {
        let mut findings = Findings::default();
        check_metadata(rule, &json!({ "metadata": metadata }), &mut findings);
        if findings.is_empty() {
            String::new()
        } else {
            findings.to_string()
        }
    }

    #[test]
    fn metadata_is_judged() {
        assert_eq!(found(NameRule::Subdomain, json!({"name": "a.b"})), "");
        assert_eq!(
            found(
                NameRule::Subdomain,
                json!({"name": "ax1", "generateName": "a-"})
            ),
            ""
        );
        assert_eq!(
            found(NameRule::Subdomain, json!({})),
            "metadata.name: Required value: name or generateName is required"
        );
        let bad = found(NameRule::Subdomain, json!({"name": "Bad_Name"}));
        assert!(bad.starts_with(
            "metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain must"
        ));
        assert!(found(NameRule::Label, json!({"name": "a.b"})).contains("must not contain dots"));
        let label = found(
            NameRule::Subdomain,
            json!({"name": "a", "labels": {"k": "-"}}),
        );
        assert!(label.starts_with("metadata.labels: Invalid value: \"-\": a valid label must"));
        let owner = json!({"name": "a", "ownerReferences": [{"kind": "X", "name": "x", "apiVersion": "v1"}]});
        assert_eq!(
            found(NameRule::Subdomain, owner),
            "metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty"
        );
    }

    #[test]
    fn names_stay_and_finalizers_are_not_added_late() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "deletionTimestamp": "x"}});
        let new = json!({"metadata": {"name": "b", "uid": "1", "finalizers": ["x/y"]}});
        let mut findings = Findings::default();
        check_metadata_update(&new, &old, &mut findings);
        let text = findings.to_string();
        assert!(
            text.contains("metadata.name: Invalid value: \"b\": field is immutable"),
            "{text}"
        );
        assert!(
            text.contains("found new finalizers []string{\"x/y\"}"),
            "{text}"
        );
    }
}
