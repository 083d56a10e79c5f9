//! PriorityClass: a name for how important pods are.

use k8s_openapi::api::scheduling::v1 as scheduling;
use serde_json::Value;

use super::{
    Admission, Generation, Kind, PLAIN,
    column::{AGE, Cell, Column, NAME, column, number},
    typed,
};
use crate::{
    check::{Check, Findings, Rule},
    object,
};

/// The classes that every cluster has.
pub const SYSTEM: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];
/// The highest value that others may have.
const HIGHEST: i64 = 1_000_000_000;

pub static PRIORITY_CLASS: Kind = Kind {
    group: "scheduling.k8s.io",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    namespaced: false,
    decode: typed::<scheduling::PriorityClass>,
    defaults: &[("preemptionPolicy", "\"PreemptLowerPriority\"")],
    rules: &[Rule(
        "preemptionPolicy",
        Check::OneOf(&["Never", "PreemptLowerPriority"]),
    )],
    validate,
    validate_update,
    columns: &[
        NAME,
        number("Value", Cell::Number("value"), "The priority of its pods."),
        Column {
            kind: "boolean",
            ..column(
                "Global-Default",
                Cell::Of(|class, _| (class["globalDefault"] == Value::Bool(true)).into()),
                "Whether pods that name no class have it.",
            )
        },
        AGE,
        column(
            "PreemptionPolicy",
            Cell::Path("preemptionPolicy"),
            "Whether its pods may push others aside.",
        ),
    ],
    generation: Generation::Spec,
    admission: Admission::PriorityClass,
    ..PLAIN
};

fn validate(class: &Value, findings: &mut Findings) {
    let name = object::name(class);
    let value = class["value"].as_i64().unwrap_or(0);
    if name.starts_with("system-") {
        let known = SYSTEM.iter().find(|(known, _, _)| *known == name);
        let why = match known {
            None => format!("{name} is not a known system priority class"),
            Some((_, right, _)) if *right != value => {
                format!("value of {name} PriorityClass must be {right}")
            }
            Some(_) if class["globalDefault"] == Value::Bool(true) => {
                format!("globalDefault of {name} PriorityClass must be false")
            }
            Some(_) => return,
        };
        let why = format!(
            "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
        );
        return findings.forbidden("metadata.name", why);
    }
    if value > HIGHEST {
        let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
        findings.forbidden("value", why);
    }
}

fn validate_update(new: &Value, old: &Value, findings: &mut Findings) {
    if new["value"] != old["value"] {
        findings.forbidden("value", "may not be changed in an update.");
    }
    if new["preemptionPolicy"] != old["preemptionPolicy"] {
        let policy = &new["preemptionPolicy"];
        findings.invalid("preemptionPolicy", policy, "field is immutable");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn classes_are_judged() {
        let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value});
        let found = |class: &Value| {
            let mut findings = Findings::default();
            validate(class, &mut findings);
            findings.to_string()
        };
        for (class, expected) in [
            (class("high", 1_000_000), "[]"),
            (class("system-node-critical", 2_000_001_000), "[]"),
            (
                class("highest", 1_000_000_001),
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
            ),
            (
                class("system-mine", 1),
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class",
            ),
            (
                class("system-node-critical", 7),
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000",
            ),
        ] {
            assert_eq!(found(&class), expected);
        }
        let mut findings = Findings::default();
        validate_update(&class("a", 2), &class("a", 1), &mut findings);
        assert_eq!(
            findings.to_string(),
            "value: Forbidden: may not be changed in an update."
        );
    }
}
