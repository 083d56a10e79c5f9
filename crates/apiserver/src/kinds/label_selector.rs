//! Label selectors within objects (`meta/v1 LabelSelector`): what is wrong with one, what it
//! matches, how it reads.

use serde_json::Value;

use crate::check::{self, Findings, format};

/// Whether it says nothing at all.
pub fn is_empty(selector: &Value) -> bool {
    let members = selector["matchLabels"]
        .as_object()
        .map_or(0, |map| map.len());
    members + expressions(selector).len() == 0
}

/// Finds what is wrong with the selector at `field`.
pub fn validate(field: &str, selector: &Value, findings: &mut Findings) {
    check::labels(
        &format!("{field}.matchLabels"),
        &selector["matchLabels"],
        findings,
    );
    for (index, expression) in expressions(selector).iter().enumerate() {
        validate_expression(
            &format!("{field}.matchExpressions[{index}]"),
            expression,
            findings,
        );
    }
}

fn validate_expression(at: &str, expression: &Value, findings: &mut Findings) {
    let values = items(&expression["values"]);
    match expression["operator"].as_str().unwrap_or("") {
        "In" | "NotIn" if values.is_empty() => findings.required(
            format!("{at}.values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        ),
        "Exists" | "DoesNotExist" if !values.is_empty() => findings.forbidden(
            format!("{at}.values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => findings.invalid(
            format!("{at}.operator"),
            &expression["operator"],
            "not a valid selector operator",
        ),
    }
    let key = expression["key"].as_str().unwrap_or("");
    for why in format::qualified_name(key) {
        findings.invalid(format!("{at}.key"), &key.into(), why);
    }
    for (index, value) in values.iter().enumerate() {
        for why in format::label_value(value.as_str().unwrap_or("")) {
            findings.invalid(format!("{at}.values[{index}]"), value, why);
        }
    }
}

/// Whether an object with these labels is selected; by an empty selector, every one is.
pub fn matches(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object().into_iter().flatten();
    wanted.into_iter().all(|(key, value)| labels[key] == *value)
        && expressions(selector)
            .iter()
            .all(|expression| holds(expression, labels))
}

fn holds(expression: &Value, labels: &Value) -> bool {
    let value = &labels[expression["key"].as_str().unwrap_or("")];
    let listed = items(&expression["values"]).contains(value);
    match expression["operator"].as_str().unwrap_or("") {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => !value.is_null(),
        "DoesNotExist" => value.is_null(),
        _ => false,
    }
}

/// The selector as kubectl's users type it: `app=web,tier in (a,b)`; empty if it is.
pub fn text(selector: &Value) -> String {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let labels = labels.map(|(key, value)| (key.as_str(), format!("{key}={}", word(value))));
    let expressions = expressions(selector).iter().map(|expression| {
        let key = word(&expression["key"]);
        let mut values: Vec<&str> = items(&expression["values"]).iter().map(word).collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match word(&expression["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.into(),
        };
        (key, text)
    });
    let mut parts: Vec<(&str, String)> = labels.chain(expressions).collect();
    // As kubectl has them: by key, whatever is said of it.
    parts.sort_by_key(|(key, _)| *key);
    let parts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
    parts.join(",")
}

fn expressions(selector: &Value) -> &[Value] {
    items(&selector["matchExpressions"])
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_match_and_read_as_kubectl_writes_them() {
        let selector = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "zone", "operator": "DoesNotExist"},
                {"key": "tier", "operator": "In", "values": ["b", "a"]},
                {"key": "age", "operator": "NotIn", "values": ["old"]},
                {"key": "name", "operator": "Exists"},
            ],
        });
        assert_eq!(
            text(&selector),
            "age notin (old),app=web,name,tier in (a,b),!zone"
        );
        let labels = json!({"app": "web", "tier": "a", "name": "x"});
        assert!(matches(&selector, &labels));
        for (key, value) in [("app", "x"), ("tier", "c"), ("age", "old"), ("zone", "z")] {
            let mut other = labels.clone();
            other[key] = value.into();
            assert!(!matches(&selector, &other), "{key}={value}");
        }
        assert!(is_empty(&json!({})) && matches(&json!({}), &labels));
        assert_eq!(text(&json!({})), "");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let found = |expression: Value| {
            let mut findings = Findings::default();
            validate(
                "s",
                &json!({"matchExpressions": [expression]}),
                &mut findings,
            );
            findings.to_string()
        };
        for (expression, expected) in [
            (
                json!({"key": "a", "operator": "In"}),
                "s.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ),
            (
                json!({"key": "a", "operator": "Exists", "values": ["x"]}),
                "s.matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
            (
                json!({"key": "a", "operator": "Like", "values": ["x"]}),
                "s.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator",
            ),
        ] {
            assert_eq!(found(expression), expected);
        }
    }
}
