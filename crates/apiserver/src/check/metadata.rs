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
    /// An IP address: IPAddresses.
    IpAddress,
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
    finalizers(&meta["finalizers"], findings);
    owners(&meta["ownerReferences"], findings);
}

fn wrong_name(rule: NameRule, name: &str) -> Vec<String> {
    match rule {
        NameRule::Subdomain => format::dns_subdomain(name),
        NameRule::Label => format::dns_label(name),
        NameRule::Label1035 => format::dns_1035_label(name),
        NameRule::IpAddress => format::canonical_ip(name),
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

/// Finalizers without a domain that mean something.
const STANDARD: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Finds finalizers that are nobody's: of Kubernetes' own kinds each has the domain of whoever
/// removes it.
pub fn check_finalizers(object: &Value, findings: &mut Findings) {
    let all = list(&object["metadata"]["finalizers"]);
    for (index, finalizer) in all.iter().enumerate() {
        let text = finalizer.as_str().unwrap_or("");
        if !text.contains('/') && !STANDARD.contains(&text) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            findings.invalid(format!("metadata.finalizers[{index}]"), finalizer, why);
        }
    }
}

fn finalizers(finalizers: &Value, findings: &mut Findings) {
    let all = list(finalizers);
    for finalizer in all {
        for why in format::qualified_name(finalizer.as_str().unwrap_or("")) {
            findings.invalid("metadata.finalizers", finalizer, why);
        }
    }
    if ["orphan", "foregroundDeletion"]
        .iter()
        .all(|one| all.contains(&json!(one)))
    {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        findings.invalid("metadata.finalizers", finalizers, why);
    }
}

fn owners(owners: &Value, findings: &mut Findings) {
    let mut controller: Option<String> = None;
    for owner in list(owners) {
        owner_reference(owner, findings);
        if owner["controller"] != json!(true) {
            continue;
        }
        let name = format!("{}/{}", text(&owner["kind"]), text(&owner["name"]));
        match &controller {
            None => controller = Some(name),
            Some(first) => {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {first} and {name}"
                );
                findings.invalid("metadata.ownerReferences", owners, why);
            }
        }
    }
}

fn owner_reference(owner: &Value, findings: &mut Findings) {
    let at = |part: &str| format!("metadata.ownerReferences.{part}");
    let version = text(&owner["apiVersion"]);
    if version.is_empty() || version.ends_with('/') {
        findings.invalid(
            at("apiVersion"),
            &json!(version),
            "version must not be empty",
        );
    }
    for part in ["kind", "name", "uid"] {
        if text(&owner[part]).is_empty() {
            findings.invalid(at(part), &json!(""), "must not be empty");
        }
    }
    if (version, text(&owner["kind"])) == ("v1", "Event") {
        let why = "/v1, Kind=Event is disallowed from being an owner";
        findings.invalid("metadata.ownerReferences", owner, why);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
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
    let mut added: Vec<String> = list(&new["metadata"]["finalizers"])
        .iter()
        .filter(|finalizer| !before.contains(finalizer))
        .map(Value::to_string)
        .collect();
    added.sort_unstable();
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
        let object = json!({ "metadata": metadata });
        check_metadata(rule, &object, &mut findings);
        check_finalizers(&object, &mut findings);
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
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"
        );
    }

    #[test]
    fn owners_and_finalizers_are_judged() {
        let owner = |kind: &str, controller: bool| json!({"apiVersion": "v1", "kind": kind, "name": "x", "uid": "1", "controller": controller});
        for (metadata, expected) in [
            (
                json!({"ownerReferences": [owner("Pod", true), owner("Node", false)]}),
                "",
            ),
            (
                json!({"ownerReferences": [owner("Pod", true), owner("Node", true)]}),
                "Only one reference can have Controller set to true. Found \"true\" in references for Pod/x and Node/x",
            ),
            (
                json!({"ownerReferences": [owner("Event", false)]}),
                "/v1, Kind=Event is disallowed from being an owner",
            ),
            (
                json!({"ownerReferences": [{"apiVersion": "apps/", "kind": "X", "name": "x", "uid": "1"}]}),
                "metadata.ownerReferences.apiVersion: Invalid value: \"apps/\": version must not be empty",
            ),
            (json!({"finalizers": ["orphan", "a/b"]}), ""),
            (
                json!({"finalizers": ["mine"]}),
                "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified",
            ),
            (
                json!({"finalizers": ["orphan", "foregroundDeletion"]}),
                "finalizer orphan and foregroundDeletion cannot be both set",
            ),
        ] {
            let mut metadata = metadata;
            metadata["name"] = json!("a");
            let text = found(NameRule::Subdomain, metadata.clone());
            assert!(
                text.contains(expected) && text.is_empty() == expected.is_empty(),
                "{metadata}: {text}"
            );
        }
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
        let words = "is being deleted, found new finalizers []string{\"x/y\"}";
        assert!(text.contains(words), "{text}");
    }
}
