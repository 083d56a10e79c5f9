//! `spec.successPolicy` of a Job: which indexes are enough.

use serde_json::{Value, json};

use super::{indexes, items, text};
use crate::check::Findings;

const MOST_RULES: usize = 20;

/// Finds what is wrong with the policy of a Job's spec.
pub fn validate(spec: &Value, findings: &mut Findings) {
    let policy = &spec["successPolicy"];
    if policy.is_null() {
        return;
    }
    if spec["completionMode"] != "Indexed" {
        let why = "requires indexed completion mode";
        return findings.invalid("spec.successPolicy", policy, why);
    }
    let rules = items(&policy["rules"]);
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        findings.required("spec.successPolicy.rules", why);
    }
    if rules.len() > MOST_RULES {
        let why = format!("must have at most {MOST_RULES} items");
        findings.invalid("spec.successPolicy.rules", &rules.len().into(), why);
    }
    let completions = spec["completions"].as_i64().unwrap_or(0);
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("spec.successPolicy.rules[{index}]");
        one(&at, rule, completions, findings);
    }
}

fn one(at: &str, rule: &Value, completions: i64, findings: &mut Findings) {
    let (chosen, count) = (&rule["succeededIndexes"], &rule["succeededCount"]);
    if chosen.is_null() && count.is_null() {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        return findings.required(at, why);
    }
    let mut most = completions;
    if !chosen.is_null() {
        match indexes::count(text(chosen), completions) {
            Ok(number) => most = number,
            Err(why) => {
                let why = format!("error parsing succeededIndexes: {why}");
                findings.invalid(format!("{at}.succeededIndexes"), chosen, why);
            }
        }
    }
    let field = format!("{at}.succeededCount");
    match count.as_i64() {
        Some(number) if number < 0 => {
            findings.invalid(field, count, "must be greater than or equal to 0");
        }
        Some(number) if number > most => {
            let of = match chosen.is_null() {
                true => format!("{completions} (the number of specified completions)"),
                false => format!(
                    "{most} (the number of indexes in the specified succeededIndexes field)"
                ),
            };
            findings.invalid(
                field,
                &json!(number),
                format!("must be less than or equal to {of}"),
            );
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_judged() {
        for (rules, expected) in [
            (json!([{"succeededIndexes": "0,2"}]), "[]"),
            (json!([{"succeededCount": 3}]), "[]"),
            (
                json!([]),
                "spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified",
            ),
            (
                json!([{}]),
                "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified",
            ),
            (
                json!([{"succeededIndexes": "0-3"}]),
                "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-3\": error parsing succeededIndexes: too large index: 3",
            ),
            (
                json!([{"succeededIndexes": "0,2", "succeededCount": 3}]),
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
            ),
        ] {
            let spec = json!({
                "completionMode": "Indexed", "completions": 3, "successPolicy": {"rules": rules},
            });
            let mut findings = Findings::default();
            validate(&spec, &mut findings);
            assert_eq!(findings.to_string(), expected);
        }
    }
}
