//! Deployment.

use k8s_openapi::api::apps::v1 as apps;
use serde_json::{Value, json};

use super::{CONTAINERS, IMAGES, SELECTOR, ready, rolling};
use crate::{
    check::{Check, Findings, Rule},
    kinds::{
        Generation, Kind, PLAIN, Subresource, Warnings,
        column::{AGE, Cell, NAME, column},
        fill,
        pod::of_workload,
        typed,
    },
};

pub static DEPLOYMENT: Kind = Kind {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    status: true,
    subresources: &[Subresource::Scale],
    decode: typed::<apps::Deployment>,
    complete,
    defaults: &[
        ("spec.replicas", "1"),
        ("spec.revisionHistoryLimit", "10"),
        ("spec.progressDeadlineSeconds", "600"),
        ("status", "{}"),
    ],
    rules: &[
        Rule("spec.replicas", Check::NonNegative),
        Rule("spec.minReadySeconds", Check::NonNegative),
        Rule("spec.revisionHistoryLimit", Check::NonNegative),
        Rule("spec.progressDeadlineSeconds", Check::NonNegative),
        Rule(
            "spec.strategy.type",
            Check::OneOf(&["Recreate", "RollingUpdate"]),
        ),
    ],
    validate,
    immutable: &["spec.selector"],
    columns: &[
        NAME,
        column(
            "Ready",
            Cell::Of(|object, _| ready(object)),
            "Pods that are ready, of all that there should be.",
        ),
        column(
            "Up-to-date",
            Cell::Number("status.updatedReplicas"),
            "Pods of the present template.",
        ),
        column(
            "Available",
            Cell::Number("status.availableReplicas"),
            "Pods that have been ready for long enough.",
        ),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    generation: Generation::SpecAndAnnotations,
    warnings: Warnings::Always(of_workload),
    ..PLAIN
};

fn complete(deployment: &mut Value) {
    super::complete(deployment);
    fill(
        &[
            ("spec.strategy", "{}"),
            ("spec.strategy.type", "\"RollingUpdate\""),
        ],
        deployment,
    );
    if deployment["spec"]["strategy"]["type"] == "RollingUpdate" {
        fill(
            &[
                ("spec.strategy.rollingUpdate", "{}"),
                ("spec.strategy.rollingUpdate.maxSurge", "\"25%\""),
                ("spec.strategy.rollingUpdate.maxUnavailable", "\"25%\""),
            ],
            deployment,
        );
    }
}

fn validate(deployment: &Value, findings: &mut Findings) {
    super::validate(deployment, "ReplicaSet", findings);
    let spec = &deployment["spec"];
    let strategy = &spec["strategy"];
    let rolling = &strategy["rollingUpdate"];
    if strategy["type"] == "Recreate" && !rolling.is_null() {
        let why = "may not be specified when strategy `type` is 'Recreate'";
        findings.forbidden("spec.strategy.rollingUpdate", why);
    }
    if strategy["type"] == "RollingUpdate" {
        let at = |field: &str| format!("spec.strategy.rollingUpdate.{field}");
        for field in ["maxUnavailable", "maxSurge"] {
            rolling::validate(&at(field), &rolling[field], findings);
        }
        let missing = &rolling["maxUnavailable"];
        if rolling::amount(missing) == 0 && rolling::amount(&rolling["maxSurge"]) == 0 {
            let why = "may not be 0 when `maxSurge` is 0";
            findings.invalid(at("maxUnavailable"), missing, why);
        }
        rolling::at_most_all(&at("maxUnavailable"), missing, findings);
    }
    let seconds = |field: &str| spec[field].as_i64();
    if let Some(deadline) = seconds("progressDeadlineSeconds")
        && deadline <= seconds("minReadySeconds").unwrap_or(0)
    {
        let why = "must be greater than minReadySeconds";
        findings.invalid("spec.progressDeadlineSeconds", &json!(deadline), why);
    }
}
