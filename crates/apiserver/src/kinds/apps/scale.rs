//! Scale: how many pods there should be and are, of any kind that keeps so many. It is not
//! stored; the subresource `scale` shows an object so, and takes its number of replicas from it.

use k8s_openapi::api::autoscaling::v1 as autoscaling;
use serde_json::{Value, json};

use crate::{
    check::{Check, Rule},
    custom::Custom,
    kinds::{
        Kind, PLAIN,
        column::{AGE, Cell, NAME, number},
        label_selector, typed,
    },
};

/// The row of what the subresource gives and takes; no resource of its own.
pub static SCALE: Kind = Kind {
    group: "autoscaling",
    kind: "Scale",
    plural: "scales",
    singular: "scale",
    decode: typed::<autoscaling::Scale>,
    defaults: &[("spec", "{}"), ("spec.replicas", "0")],
    rules: &[Rule("spec.replicas", Check::NonNegative)],
    columns: &[
        NAME,
        number(
            "Desired",
            Cell::Number("spec.replicas"),
            "Pods that there should be.",
        ),
        number(
            "Available",
            Cell::Number("status.replicas"),
            "Pods that there are.",
        ),
        AGE,
    ],
    ..PLAIN
};

/// How an object is scaled. That of a custom kind may not say how many there should be.
pub fn scale_of(kind: &Kind, object: &Value) -> Value {
    if let Some(paths) = kind.custom.as_ref().and_then(Custom::scale) {
        let (wanted, present) = (paths.wanted(object), paths.present(object));
        return scale(object, wanted, present, paths.selector(object));
    }
    let selector = &object["spec"]["selector"];
    // That of a ReplicationController is a plain map.
    let plain = json!({ "matchLabels": selector });
    let is_plain = object["kind"] == "ReplicationController";
    let selector = label_selector::text(if is_plain { &plain } else { selector });
    let number = |part: &str| object[part]["replicas"].as_i64().unwrap_or(0);
    scale(object, Some(number("spec")), number("status"), &selector)
}

/// Says how many there should be of an object.
pub fn set_replicas(kind: &Kind, object: &mut Value, replicas: Value) {
    match kind.custom.as_ref().and_then(Custom::scale) {
        Some(paths) => paths.set(object, replicas),
        None => object["spec"]["replicas"] = replicas,
    }
}

fn scale(object: &Value, wanted: Option<i64>, present: i64, selector: &str) -> Value {
    let metadata = &object["metadata"];
    let mut kept = json!({});
    for part in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        kept[part] = metadata[part].clone();
    }
    json!({
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version(),
        "metadata": kept,
        "spec": wanted.map_or(json!({}), |wanted| json!({ "replicas": wanted })),
        "status": { "replicas": present, "selector": selector },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::DEPLOYMENT;

    #[test]
    fn both_kinds_of_selector_become_text() {
        let of = |kind: &str, selector: Value| {
            let object = json!({
                "kind": kind, "metadata": {"name": "x", "labels": {"l": "m"}},
                "spec": {"replicas": 3, "selector": selector}, "status": {"replicas": 2},
            });
            scale_of(&DEPLOYMENT, &object)
        };
        let scale = of("Deployment", json!({"matchLabels": {"app": "web"}}));
        assert_eq!(
            scale["status"],
            json!({"replicas": 2, "selector": "app=web"})
        );
        assert_eq!(scale["spec"], json!({"replicas": 3}));
        assert_eq!(scale["metadata"]["labels"], Value::Null);
        let scale = of("ReplicationController", json!({"app": "old"}));
        assert_eq!(scale["status"]["selector"], "app=old");
    }
}
