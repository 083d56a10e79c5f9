//! ReplicationController: the older ReplicaSet, whose selector is a plain map of labels.

use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use super::{
    CONTAINERS, IMAGES, mismatch,
    replica_set::{CURRENT, DESIRED, READY},
    selector_text,
};
use crate::{
    check::{Check, Findings, Rule},
    kinds::{
        Dependents, Generation, Kind, PLAIN, Subresource, Warnings,
        column::{AGE, Cell, NAME, wide},
        label_selector,
        pod::{self, of_workload},
        typed,
    },
    object,
};

pub static REPLICATION_CONTROLLER: Kind = Kind {
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    status: true,
    subresources: &[Subresource::Scale],
    decode: typed::<core::ReplicationController>,
    complete,
    defaults: &[("spec.replicas", "1"), ("status", "{\"replicas\": 0}")],
    rules: &[
        Rule("spec.replicas", Check::NonNegative),
        Rule("spec.minReadySeconds", Check::NonNegative),
        Rule("spec.selector", Check::Required),
        Rule("spec.template", Check::Required),
    ],
    validate,
    fields: &[("status.replicas", "status.replicas")],
    columns: &[
        NAME,
        DESIRED,
        CURRENT,
        READY,
        AGE,
        CONTAINERS,
        IMAGES,
        wide(
            "Selector",
            Cell::Of(|object, _| selector_text(&selector(object))),
            "Labels of the pods that belong to it.",
        ),
    ],
    generation: Generation::Spec,
    warnings: Warnings::Always(of_workload),
    dependents: Dependents::Orphaned,
    ..PLAIN
};

/// Its selector in the newer form.
fn selector(object: &Value) -> Value {
    json!({ "matchLabels": object["spec"]["selector"] })
}

/// Without a selector, and without labels of its own, it has those of its template.
fn complete(object: &mut Value) {
    super::complete(object);
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    if !is_some(&labels) {
        return;
    }
    if !is_some(&object["spec"]["selector"]) {
        object["spec"]["selector"] = labels.clone();
    }
    if !is_some(&object["metadata"]["labels"]) {
        object::metadata_mut(object).insert("labels".into(), labels);
    }
}

fn is_some(map: &Value) -> bool {
    map.as_object().is_some_and(|map| !map.is_empty())
}

fn validate(object: &Value, findings: &mut Findings) {
    let template = &object["spec"]["template"];
    if !template.is_object() {
        return;
    }
    let labels = &template["metadata"]["labels"];
    if is_some(&object["spec"]["selector"]) && !label_selector::matches(&selector(object), labels) {
        mismatch(labels, findings);
    }
    pod::validate_lasting("spec.template", template, "ReplicationController", findings);
}
