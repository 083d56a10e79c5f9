//! How the fields of Kubernetes' types merge, as extensions of their schemas: kubectl computes
//! strategic merge patches by them, and clients of server-side apply know what they may own.

use serde_json::{Value, json};

use crate::schema::{Field, Many, Owned, Type};

/// The extensions of a definition, or of one of its fields.
pub fn extensions(definition: &str, field: Option<&str>) -> Vec<(&'static str, Value)> {
    let Some(of) = Type::find(short(definition)) else {
        return Vec::new();
    };
    match field {
        None if of.atomic => vec![("x-kubernetes-map-type", json!("atomic"))],
        None => Vec::new(),
        Some(name) => of.named(name).map(of_field).unwrap_or_default(),
    }
}

/// `core.v1.Pod` of `io.k8s.api.core.v1.Pod`: the name in `kubernetes.txt`.
fn short(definition: &str) -> &str {
    let name = definition.strip_prefix("io.k8s.").unwrap_or(definition);
    if let Some(name) = name.strip_prefix("api.") {
        return name;
    }
    let name = name.split_once(".pkg.").map_or(name, |(_, name)| name);
    name.strip_prefix("apis.").unwrap_or(name)
}

fn of_field(field: &Field) -> Vec<(&'static str, Value)> {
    let mut found = Vec::new();
    let mut put = |name, value| found.push((name, value));
    let merges = matches!(field.many, Many::By(_) | Many::Set);
    let strategy = [(merges, "merge"), (field.retain, "retainKeys")];
    let strategy = strategy.iter().filter(|(is, _)| *is).map(|(_, word)| *word);
    let strategy: Vec<&str> = strategy.collect();
    if let Many::By(key) = field.many {
        put("x-kubernetes-patch-merge-key", json!(key));
    }
    if !strategy.is_empty() {
        put("x-kubernetes-patch-strategy", json!(strategy.join(",")));
    }
    let is_list = matches!(field.many, Many::List | Many::By(_) | Many::Set);
    match field.owned {
        Owned::Keys(keys) => {
            put("x-kubernetes-list-type", json!("map"));
            let keys: Vec<&str> = keys.names().collect();
            put("x-kubernetes-list-map-keys", json!(keys));
        }
        Owned::Values => put("x-kubernetes-list-type", json!("set")),
        Owned::Whole if is_list => put("x-kubernetes-list-type", json!("atomic")),
        Owned::Whole => put("x-kubernetes-map-type", json!("atomic")),
        Owned::Members => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_found_and_their_fields_merge() {
        let of = |definition: &str, field: Option<&str>| {
            let extensions = extensions(definition, field);
            let shown = extensions.iter().map(|(name, value)| {
                format!("{}={value}", name.trim_start_matches("x-kubernetes-"))
            });
            shown.collect::<Vec<_>>().join(" ")
        };
        let meta = "io.k8s.apimachinery.pkg.apis.meta.v1";
        for (definition, field, expected) in [
            (
                "io.k8s.api.core.v1.PodSpec",
                Some("containers"),
                r#"patch-merge-key="name" patch-strategy="merge" list-type="map" list-map-keys=["name"]"#,
            ),
            (
                "io.k8s.api.core.v1.Container",
                Some("ports"),
                r#"patch-merge-key="containerPort" patch-strategy="merge" list-type="map" list-map-keys=["containerPort","protocol"]"#,
            ),
            (
                "io.k8s.api.core.v1.PodSpec",
                Some("tolerations"),
                r#"list-type="atomic""#,
            ),
            (
                "io.k8s.api.core.v1.PodSpec",
                Some("volumes"),
                r#"patch-merge-key="name" patch-strategy="merge,retainKeys" list-type="map" list-map-keys=["name"]"#,
            ),
            (
                "io.k8s.api.apps.v1.DeploymentSpec",
                Some("strategy"),
                r#"patch-strategy="retainKeys""#,
            ),
            ("io.k8s.api.core.v1.PodSpec", Some("hostNetwork"), ""),
            (
                "io.k8s.api.core.v1.PodSpec",
                Some("nodeSelector"),
                r#"map-type="atomic""#,
            ),
            (
                &format!("{meta}.ObjectMeta"),
                Some("finalizers"),
                r#"patch-strategy="merge" list-type="set""#,
            ),
            (
                &format!("{meta}.LabelSelector"),
                None,
                r#"map-type="atomic""#,
            ),
            ("com.example.Thing", Some("spec"), ""),
        ] {
            assert_eq!(of(definition, field), expected, "{definition} {field:?}");
        }
    }
}
