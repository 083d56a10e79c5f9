//! `metrics.k8s.io`: kinds that are measured when somebody asks, and not stored.

use serde_json::Value;

use super::{
    Kind, Measured, PLAIN,
    column::{Cell, Column, NAME, column},
};
use sealane_objects::Quantity;

pub static NODE_METRICS: Kind = Kind {
    group: "metrics.k8s.io",
    version: "v1beta1",
    kind: "NodeMetrics",
    plural: "nodes",
    singular: "node",
    namespaced: false,
    columns: &[NAME, CPU, MEMORY, WINDOW],
    measured: Some(Measured::Nodes),
    ..PLAIN
};

pub static POD_METRICS: Kind = Kind {
    group: "metrics.k8s.io",
    version: "v1beta1",
    kind: "PodMetrics",
    plural: "pods",
    singular: "pod",
    columns: &[NAME, CPU, MEMORY, WINDOW],
    measured: Some(Measured::Pods),
    ..PLAIN
};

const CPU: Column = column(
    "cpu",
    Cell::Of(|object, _| total(object, "cpu")),
    "Processors that it takes.",
);

const MEMORY: Column = column(
    "memory",
    Cell::Of(|object, _| total(object, "memory")),
    "Memory that it takes.",
);

const WINDOW: Column = column(
    "Window",
    Cell::Path("window"),
    "The time over which the processor time was measured.",
);

/// What a node or all containers of a pod take.
fn total(object: &Value, resource: &str) -> Value {
    if let Some(own) = object["usage"][resource].as_str() {
        return own.into();
    }
    let containers = object["containers"].as_array().into_iter().flatten();
    let amounts = containers.filter_map(|one| Quantity::parse(one["usage"][resource].as_str()?));
    let total = amounts.reduce(Quantity::plus);
    total.map_or("0".into(), |total| total.to_string()).into()
}
