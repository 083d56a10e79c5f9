//! HorizontalPodAutoscaler: stored as `autoscaling/v2`, and seen as `autoscaling/v1` too.

mod older;
mod show;
mod spec;

use k8s_openapi::api::autoscaling::{v1, v2};

use super::{
    Kind, PLAIN, StoredAs,
    column::{AGE, Cell, Column, NAME, column, number},
    typed,
};

/// What both versions have.
const EITHER: Kind = Kind {
    group: "autoscaling",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    status: true,
    columns: COLUMNS,
    ..PLAIN
};

pub static HORIZONTAL_POD_AUTOSCALER: Kind = Kind {
    version: "v2",
    decode: typed::<v2::HorizontalPodAutoscaler>,
    complete: spec::complete,
    defaults: &[
        ("spec.minReplicas", "1"),
        ("status", "{\"desiredReplicas\": 0}"),
    ],
    validate: spec::validate,
    ..EITHER
};

pub static HORIZONTAL_POD_AUTOSCALER_V1: Kind = Kind {
    version: "v1",
    decode: typed::<v1::HorizontalPodAutoscaler>,
    stored_as: Some(StoredAs {
        kind: &HORIZONTAL_POD_AUTOSCALER,
        renames: &[],
        reshape: Some((older::to_stored, older::to_served)),
    }),
    ..EITHER
};

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Reference",
        Cell::Of(|object, _| show::reference(object).into()),
        "What is scaled.",
    ),
    column(
        "Targets",
        Cell::Of(|object, _| show::targets(object).into()),
        "What each metric is, and should be.",
    ),
    column(
        "MinPods",
        Cell::Path("spec.minReplicas"),
        "The fewest pods.",
    ),
    number(
        "MaxPods",
        Cell::Number("spec.maxReplicas"),
        "The most pods.",
    ),
    number(
        "Replicas",
        Cell::Number("status.currentReplicas"),
        "Pods that there were at the last look.",
    ),
    AGE,
];
