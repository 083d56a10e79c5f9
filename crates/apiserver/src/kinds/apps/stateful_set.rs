//! StatefulSet.
//!
//! There are no persistent volumes here, so one that asks for them is refused.

use k8s_openapi::api::apps::v1 as apps;
use serde_json::{Value, json};

use super::{CONTAINERS, IMAGES, ready};
use crate::{
    check::{Check, Findings, Rule, format},
    kinds::{
        Generation, Kind, PLAIN, Subresource, Warnings,
        column::{AGE, Cell, NAME, column},
        fill,
        pod::of_workload,
        typed,
    },
};

pub static STATEFUL_SET: Kind = Kind {
    group: "apps",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    status: true,
    subresources: &[Subresource::Scale],
    decode: typed::<apps::StatefulSet>,
    complete,
    defaults: &[
        ("spec.replicas", "1"),
        ("spec.podManagementPolicy", "\"OrderedReady\""),
        ("spec.revisionHistoryLimit", "10"),
        (
            "spec.persistentVolumeClaimRetentionPolicy",
            "{\"whenDeleted\": \"Retain\", \"whenScaled\": \"Retain\"}",
        ),
        ("status", "{\"replicas\": 0, \"availableReplicas\": 0}"),
    ],
    rules: &[
        Rule("spec.replicas", Check::NonNegative),
        Rule("spec.minReadySeconds", Check::NonNegative),
        Rule("spec.revisionHistoryLimit", Check::NonNegative),
        Rule("spec.ordinals.start", Check::NonNegative),
        Rule("spec.serviceName", Check::Format(format::dns_subdomain)),
        Rule(
            "spec.updateStrategy.rollingUpdate.partition",
            Check::NonNegative,
        ),
    ],
    validate,
    validate_update,
    columns: &[
        NAME,
        column(
            "Ready",
            Cell::Of(|object, _| ready(object)),
            "Pods that are ready, of all that there should be.",
        ),
        AGE,
        CONTAINERS,
        IMAGES,
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
                ("spec.updateStrategy.rollingUpdate.partition", "0"),
            ],
            object,
        );
    }
}

fn validate(object: &Value, findings: &mut Findings) {
    super::validate(object, "StatefulSet", findings);
    let spec = &object["spec"];
    let one_of = |field: &str, value: &Value, known: [&str; 2], findings: &mut Findings| {
        if !known.map(|known| json!(known)).contains(value) {
            let why = format!("must be '{}' or '{}'", known[0], known[1]);
            findings.invalid(field, value, why);
        }
    };
    let management = ["OrderedReady", "Parallel"];
    one_of(
        "spec.podManagementPolicy",
        &spec["podManagementPolicy"],
        management,
        findings,
    );
    let strategy = &spec["updateStrategy"];
    let types = ["RollingUpdate", "OnDelete"];
    one_of("spec.updateStrategy", &strategy["type"], types, findings);
    let rolling = &strategy["rollingUpdate"];
    if strategy["type"] == "OnDelete" && !rolling.is_null() {
        let why = "only allowed for updateStrategy 'RollingUpdate'";
        findings.invalid("spec.updateStrategy.rollingUpdate", rolling, why);
    }
    if !rolling["maxUnavailable"].is_null() {
        let at = "spec.updateStrategy.rollingUpdate.maxUnavailable";
        super::rolling::validate(at, &rolling["maxUnavailable"], findings);
        super::rolling::at_most_all(at, &rolling["maxUnavailable"], findings);
        if super::rolling::amount(&rolling["maxUnavailable"]) == 0 {
            findings.invalid(at, &rolling["maxUnavailable"], "cannot be 0");
        }
    }
    if spec["volumeClaimTemplates"]
        .as_array()
        .is_some_and(|list| !list.is_empty())
    {
        let why = "persistent volume claims are not served by this API server";
        findings.forbidden("spec.volumeClaimTemplates", why);
    }
}

const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

fn validate_update(new: &Value, old: &Value, findings: &mut Findings) {
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        if let Some(spec) = spec.as_object_mut() {
            MUTABLE.iter().for_each(|field| drop(spec.remove(*field)));
        }
        spec
    };
    if fixed(new) != fixed(old) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
                   'template', 'updateStrategy', 'revisionHistoryLimit', \
                   'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        findings.forbidden("spec", why);
    }
}
