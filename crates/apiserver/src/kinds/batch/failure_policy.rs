//! `spec.podFailurePolicy` of a Job: what a failed pod means for it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{items, text};
use crate::check::{Findings, format};

const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const STATES: [&str; 3] = ["False", "True", "Unknown"];

/// Finds what is wrong with the policy of a Job's spec.
pub fn validate(spec: &Value, findings: &mut Findings) {
    let rules = items(&spec["podFailurePolicy"]["rules"]);
    if rules.len() > MOST_RULES {
        findings.invalid(
            "spec.podFailurePolicy.rules",
            &rules.len().into(),
            format!("must have at most {MOST_RULES} items"),
        );
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("spec.podFailurePolicy.rules[{index}]");
        action(&at, spec, &rule["action"], findings);
        let (codes, conditions) = (&rule["onExitCodes"], items(&rule["onPodConditions"]));
        if conditions.len() > MOST_RULES {
            let field = format!("{at}.onPodConditions");
            let why = format!("must have at most {MOST_RULES} items");
            findings.invalid(field, &conditions.len().into(), why);
        }
        match (codes.is_object(), conditions.is_empty()) {
            (true, false) => {
                let why = "specifying both OnExitCodes and OnPodConditions is not supported";
                findings.invalid(&*at, rule, why);
            }
            (false, true) => {
                let why = "specifying one of OnExitCodes and OnPodConditions is required";
                findings.invalid(&*at, rule, why);
            }
            _ => {}
        }
        if codes.is_object() {
            exit_codes(&format!("{at}.onExitCodes"), spec, codes, findings);
        }
        for (index, condition) in conditions.iter().enumerate() {
            let at = format!("{at}.onPodConditions[{index}]");
            for why in format::qualified_name(text(&condition["type"])) {
                findings.invalid(format!("{at}.type"), &condition["type"], why);
            }
            if !STATES.contains(&text(&condition["status"])) {
                findings.unsupported(format!("{at}.status"), &condition["status"], &STATES);
            }
        }
    }
}

fn action(at: &str, spec: &Value, action: &Value, findings: &mut Findings) {
    let at = format!("{at}.action");
    match text(action) {
        "" => {
            let supported = ACTIONS.map(|one| format!("{one:?}")).join(", ");
            findings.required(at, &format!("valid values: {supported}"));
        }
        "FailIndex" if spec["backoffLimitPerIndex"].is_null() => {
            findings.invalid(at, action, "requires the backoffLimitPerIndex to be set");
        }
        known if ACTIONS.contains(&known) => {}
        _ => findings.unsupported(at, action, &ACTIONS),
    }
}

fn exit_codes(at: &str, spec: &Value, codes: &Value, findings: &mut Findings) {
    let operators = ["In", "NotIn"];
    match text(&codes["operator"]) {
        "" => findings.required(format!("{at}.operator"), "valid values: \"In\", \"NotIn\""),
        known if operators.contains(&known) => {}
        _ => findings.unsupported(format!("{at}.operator"), &codes["operator"], &operators),
    }
    let container = &codes["containerName"];
    let pod = &spec["template"]["spec"];
    let mut known = items(&pod["containers"])
        .iter()
        .chain(items(&pod["initContainers"]));
    if !container.is_null() && !known.any(|one| one["name"] == *container) {
        let why = "must be one of the container or initContainer names in the pod template";
        findings.invalid(format!("{at}.containerName"), container, why);
    }
    let values = items(&codes["values"]);
    if values.is_empty() {
        let why = "at least one value is required";
        findings.invalid(format!("{at}.values"), &codes["values"], why);
    }
    if values.len() > MOST_CODES {
        let why = format!("must have at most {MOST_CODES} items");
        findings.invalid(format!("{at}.values"), &values.len().into(), why);
    }
    let mut seen = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        let number = value.as_i64().unwrap_or(0);
        if codes["operator"] == "In" && number == 0 {
            let why = "must not be 0 for the In operator";
            findings.invalid(format!("{at}.values[{index}]"), value, why);
        }
        if !seen.insert(number) {
            findings.duplicate(format!("{at}.values[{index}]"), value);
        }
    }
    if !values.is_sorted_by_key(Value::as_i64) {
        findings.invalid(format!("{at}.values"), &codes["values"], "must be ordered");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_are_judged() {
        for (rule, expected) in [
            (
                json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}}),
                "[]",
            ),
            (
                json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}),
                "[]",
            ),
            (
                json!({"action": "Retry", "onExitCodes": {"operator": "In", "values": [1]}}),
                "spec.podFailurePolicy.rules[0].action: Unsupported value: \"Retry\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"",
            ),
            (
                json!({"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}),
                "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
            ),
            (
                json!({"action": "Count", "onExitCodes": {"operator": "In", "values": [0]}}),
                "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
            ),
            (
                json!({"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [2, 1]}}),
                "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1]: must be ordered",
            ),
            (
                json!({"action": "Count", "onExitCodes": {"operator": "In", "values": [1], "containerName": "x"}}),
                "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template",
            ),
            (
                json!({"action": "Count"}),
                "spec.podFailurePolicy.rules[0]: Invalid value: {\"action\":\"Count\"}: specifying one of OnExitCodes and OnPodConditions is required",
            ),
        ] {
            let spec = json!({
                "podFailurePolicy": {"rules": [rule]},
                "template": {"spec": {"containers": [{"name": "c"}]}},
            });
            let mut findings = Findings::default();
            validate(&spec, &mut findings);
            assert_eq!(findings.to_string(), expected);
        }
    }
}
