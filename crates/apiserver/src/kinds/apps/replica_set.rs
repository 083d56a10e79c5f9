//! ReplicaSet.

use k8s_openapi::api::apps::v1 as apps;

use super::{CONTAINERS, IMAGES, SELECTOR};
use crate::{
    check::{Check, Rule},
    kinds::{
        Generation, Kind, PLAIN, Subresource, Warnings,
        column::{AGE, Cell, Column, NAME, number},
        pod::of_workload,
        typed,
    },
};

/// Pods that there should be.
pub const DESIRED: Column = number(
    "Desired",
    Cell::Number("spec.replicas"),
    "Pods that there should be.",
);

/// Pods that there are.
pub const CURRENT: Column = number(
    "Current",
    Cell::Number("status.replicas"),
    "Pods that there are.",
);

/// Pods that are ready.
pub const READY: Column = number(
    "Ready",
    Cell::Number("status.readyReplicas"),
    "Pods that are ready.",
);

pub static REPLICA_SET: Kind = Kind {
    group: "apps",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    status: true,
    subresources: &[Subresource::Scale],
    decode: typed::<apps::ReplicaSet>,
    complete: super::complete,
    defaults: &[("spec.replicas", "1"), ("status", "{\"replicas\": 0}")],
    rules: &[
        Rule("spec.replicas", Check::NonNegative),
        Rule("spec.minReadySeconds", Check::NonNegative),
    ],
    validate: |object, findings| super::validate(object, "ReplicaSet", findings),
    immutable: &["spec.selector"],
    fields: &[("status.replicas", "status.replicas")],
    columns: &[
        NAME, DESIRED, CURRENT, READY, AGE, CONTAINERS, IMAGES, SELECTOR,
    ],
    generation: Generation::Spec,
    warnings: Warnings::Always(of_workload),
    ..PLAIN
};
