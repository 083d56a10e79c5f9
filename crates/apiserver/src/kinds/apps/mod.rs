//! Kinds that keep pods: Deployment, ReplicaSet, ReplicationController, DaemonSet, StatefulSet,
//! and ControllerRevision, which remembers what the last two were.
//!
//! What they share is here: a template that their selector must match, columns that say which
//! containers it has, and limits of how many pods may be missing or too many meanwhile.

mod controller_revision;
mod daemon_set;
mod deployment;
mod replica_set;
mod replication_controller;
pub mod rolling;
mod scale;
mod stateful_set;

use serde_json::Value;

pub use controller_revision::CONTROLLER_REVISION;
pub use daemon_set::DAEMON_SET;
pub use deployment::DEPLOYMENT;
pub use replica_set::REPLICA_SET;
pub use replication_controller::REPLICATION_CONTROLLER;
pub use scale::{SCALE, scale_of, set_replicas};
pub use stateful_set::STATEFUL_SET;

use super::{
    column::{Cell, Column, NONE, wide},
    label_selector, pod,
};
use crate::check::Findings;

/// The template's containers.
pub const CONTAINERS: Column = wide(
    "Containers",
    Cell::Of(|object, _| of_containers(object, "name")),
    "Names of the containers in the template.",
);

/// The template's images.
pub const IMAGES: Column = wide(
    "Images",
    Cell::Of(|object, _| of_containers(object, "image")),
    "Images of the containers in the template.",
);

/// Which pods belong to it.
pub const SELECTOR: Column = wide(
    "Selector",
    Cell::Of(|object, _| selector_text(&object["spec"]["selector"])),
    "Labels of the pods that belong to it.",
);

fn of_containers(object: &Value, field: &str) -> Value {
    let containers = object["spec"]["template"]["spec"]["containers"].as_array();
    let texts: Vec<&str> = containers
        .into_iter()
        .flatten()
        .map(|container| container[field].as_str().unwrap_or(""))
        .collect();
    texts.join(",").into()
}

fn selector_text(selector: &Value) -> Value {
    let text = label_selector::text(selector);
    if text.is_empty() {
        NONE.into()
    } else {
        text.into()
    }
}

/// `2/3`: how many are ready of how many there should be.
fn ready(object: &Value) -> Value {
    let ready = object["status"]["readyReplicas"].as_i64().unwrap_or(0);
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(0);
    format!("{ready}/{wanted}").into()
}

/// Completes the template of an object.
fn complete(object: &mut Value) {
    let spec = object.get_mut("spec");
    if let Some(template) = spec.and_then(|spec| spec.get_mut("template")) {
        pod::complete_template(template);
    }
}

/// Finds what is wrong with the selector and the template of a `kind`.
fn validate(object: &Value, kind: &str, findings: &mut Findings) {
    let (selector, template) = (&object["spec"]["selector"], &object["spec"]["template"]);
    if label_selector::is_empty(selector) {
        findings.required("spec.selector", "");
    } else {
        label_selector::validate("spec.selector", selector, findings);
    }
    let labels = &template["metadata"]["labels"];
    if label_selector::is_empty(selector) || !label_selector::matches(selector, labels) {
        mismatch(labels, findings);
    }
    pod::validate_lasting("spec.template", template, kind, findings);
}

fn mismatch(labels: &Value, findings: &mut Findings) {
    let why = "`selector` does not match template `labels`";
    findings.invalid("spec.template.metadata.labels", labels, why);
}
