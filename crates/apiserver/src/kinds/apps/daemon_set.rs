//! DaemonSet.

use k8s_openapi::api::apps::v1 as apps;
use serde_json::Value;

use super::{CONTAINERS, IMAGES, SELECTOR, rolling, selector_text};
use crate::{
    check::{Check, Findings, Rule},
    kinds::{
        Generation, Kind, PLAIN, Warnings,
        column::{AGE, Cell, NAME, column, number},
        fill,
        pod::of_workload,
        typed,
    },
};

pub static DAEMON_SET: Kind = Kind {
    group: "apps",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    status: true,
    decode: typed::<apps::DaemonSet>,
    complete,
    defaults: &[
        ("spec.revisionHistoryLimit", "10"),
        (
            "status",
            "{\"currentNumberScheduled\": 0, \"desiredNumberScheduled\": 0, \
              \"numberMisscheduled\": 0, \"numberReady\": 0}",
        ),
    ],
    rules: &[
        Rule("spec.minReadySeconds", Check::NonNegative),
        Rule("spec.revisionHistoryLimit", Check::NonNegative),
        Rule(
            "spec.updateStrategy.type",
            Check::OneOf(&["RollingUpdate", "OnDelete"]),
        ),
    ],
    validate,
    immutable: &["spec.selector"],
    columns: &[
        NAME,
        number(
            "Desired",
            Cell::Number("status.desiredNumberScheduled"),
            "Nodes that should run a pod.",
        ),
        number(
            "Current",
            Cell::Number("status.currentNumberScheduled"),
            "Nodes of those that have one.",
        ),
        number(
            "Ready",
            Cell::Number("status.numberReady"),
            "Nodes of those where it is ready.",
        ),
        number(
            "Up-to-date",
            Cell::Number("status.updatedNumberScheduled"),
            "Nodes of those whose pod is of the present template.",
        ),
        number(
            "Available",
            Cell::Number("status.numberAvailable"),
            "Nodes of those where it has been ready for long enough.",
        ),
        column(
            "Node Selector",
            Cell::Of(|object, _| {
                let labels = &object["spec"]["template"]["spec"]["nodeSelector"];
                selector_text(&serde_json::json!({ "matchLabels": labels }))
            }),
            "Labels of the nodes that should run a pod.",
        ),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    generation: Generation::Spec,
    warnings: Warnings::Always(of_workload),
    ..PLAIN
};

fn complete(object: &mut Value) {
    super::complete(object);
    fill(
        &[
            ("spec.updateStrategy", "{}"),
            ("spec.updateStrategy.type", "\"RollingUpdate\""),
        ],
        object,
    );
    if object["spec"]["updateStrategy"]["type"] == "RollingUpdate" {
        fill(
            &[
                ("spec.updateStrategy.rollingUpdate", "{}"),
                ("spec.updateStrategy.rollingUpdate.maxSurge", "0"),
                ("spec.updateStrategy.rollingUpdate.maxUnavailable", "1"),
            ],
            object,
        );
    }
}

fn validate(object: &Value, findings: &mut Findings) {
    super::validate(object, "DaemonSet", findings);
    let strategy = &object["spec"]["updateStrategy"];
    if strategy["type"] != "RollingUpdate" {
        return;
    }
    let rolling = &strategy["rollingUpdate"];
    let at = |field: &str| format!("spec.updateStrategy.rollingUpdate.{field}");
    for field in ["maxUnavailable", "maxSurge"] {
        rolling::validate(&at(field), &rolling[field], findings);
        rolling::at_most_all(&at(field), &rolling[field], findings);
    }
    let some = |field: &str| rolling::amount(&rolling[field]) != 0;
    match (some("maxUnavailable"), some("maxSurge")) {
        (true, true) => {
            let why = "may not be set when maxUnavailable is non-zero";
            findings.invalid(at("maxSurge"), &rolling["maxSurge"], why);
        }
        (false, false) => {
            findings.required(at("maxUnavailable"), "cannot be 0 when maxSurge is 0");
        }
        _ => {}
    }
}
