//! PodDisruptionBudget: how many of some pods may be missing because somebody wants them away.

use k8s_openapi::api::policy::v1 as policy;
use serde_json::Value;

use super::{
    Generation, Kind, PLAIN,
    apps::rolling,
    column::{AGE, Cell, NAME, column, number},
    label_selector, typed,
};
use crate::check::{Check, Findings, Rule};

pub static POD_DISRUPTION_BUDGET: Kind = Kind {
    group: "policy",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    status: true,
    decode: typed::<policy::PodDisruptionBudget>,
    defaults: &[(
        "status",
        "{\"currentHealthy\": 0, \"desiredHealthy\": 0, \"disruptionsAllowed\": 0, \"expectedPods\": 0}",
    )],
    rules: &[Rule(
        "spec.unhealthyPodEvictionPolicy",
        Check::OneOf(&["AlwaysAllow", "IfHealthyBudget"]),
    )],
    validate,
    columns: &[
        NAME,
        column(
            "Min Available",
            Cell::Of(|budget, _| amount(&budget["spec"]["minAvailable"])),
            "Pods that have to stay.",
        ),
        column(
            "Max Unavailable",
            Cell::Of(|budget, _| amount(&budget["spec"]["maxUnavailable"])),
            "Pods that may be missing.",
        ),
        number(
            "Allowed Disruptions",
            Cell::Number("status.disruptionsAllowed"),
            "Pods that may be evicted now.",
        ),
        AGE,
    ],
    generation: Generation::Spec,
    ..PLAIN
};

/// A number or a percentage, as text.
fn amount(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.to_string().into(),
        Value::String(percent) => percent.as_str().into(),
        _ => "N/A".into(),
    }
}

fn validate(budget: &Value, findings: &mut Findings) {
    let spec = &budget["spec"];
    let given = ["minAvailable", "maxUnavailable"].map(|field| (field, &spec[field]));
    if given.iter().all(|(_, value)| !value.is_null()) {
        let why = "minAvailable and maxUnavailable cannot be both set";
        findings.invalid("spec", spec, why);
    }
    for (field, value) in given {
        let at = format!("spec.{field}");
        rolling::validate(&at, value, findings);
        rolling::at_most_all(&at, value, findings);
    }
    label_selector::validate("spec.selector", &spec["selector"], findings);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn budgets_are_judged() {
        for (spec, expected) in [
            (json!({"minAvailable": 1}), "[]"),
            (json!({"maxUnavailable": "30%", "selector": {}}), "[]"),
            (
                json!({"minAvailable": 1, "maxUnavailable": 1}),
                "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
            ),
            (
                json!({"minAvailable": "120%"}),
                "spec.minAvailable: Invalid value: \"120%\": must not be greater than 100%",
            ),
            (
                json!({"maxUnavailable": -1}),
                "spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0",
            ),
        ] {
            let mut findings = Findings::default();
            validate(&json!({ "spec": spec }), &mut findings);
            assert_eq!(findings.to_string(), expected);
        }
        let shown = [json!(2), json!("50%"), Value::Null].map(|value| amount(&value));
        assert_eq!(shown, ["2", "50%", "N/A"].map(|text| json!(text)));
    }
}
