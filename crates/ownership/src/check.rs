//! Whether an applied configuration fits its type.

use std::fmt;

use serde_json::Value;

use crate::{Element, Form, Listing, Of, Scalar, Shape, list::element_of};

/// Problems that are told at once.
const TOLD_MAX: usize = 20;

/// What does not fit, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Problems(Vec<(String, String)>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(path, why): &(String, String)| match path.as_str() {
            "" => why.clone(),
            path => format!("{path}: {why}"),
        };
        match self.0.as_slice() {
            [one] => f.write_str(&shown(one)),
            many => {
                let lines: Vec<String> = many.iter().map(shown).collect();
                write!(f, "errors:\n  {}", lines.join("\n  "))
            }
        }
    }
}

/// Checks types, that all fields are declared, and that no element is there twice.
///
/// # Errors
///
/// All that is wrong.
pub(crate) fn check<'a, S: Shape<'a>>(of: Of<S>, value: &Value) -> Result<(), Problems> {
    let mut problems = Problems::default();
    walk(of, value, "", &mut problems);
    if problems.0.is_empty() {
        Ok(())
    } else {
        problems.0.truncate(TOLD_MAX);
        Err(problems)
    }
}

fn walk<'a, S: Shape<'a>>(of: Of<S>, value: &Value, path: &str, problems: &mut Problems) {
    let mut wrong = |why: String| problems.0.push((path.to_owned(), why));
    match (of.form(value), value) {
        (Form::Scalar(Scalar::Opaque), _) | (_, Value::Null) => {}
        (Form::Scalar(scalar), value) => {
            if let Some(why) = misfit(scalar, value) {
                wrong(why);
            }
        }
        (Form::Map { .. }, Value::Object(fields)) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                match of.declared(name) {
                    Some(member) => walk(member.of, value, &path, problems),
                    None => {
                        let why = "field not declared in schema".to_owned();
                        problems.0.push((path, why));
                    }
                }
            }
        }
        (Form::List(listing), Value::Array(items)) => elements(of, listing, items, path, problems),
        (Form::Map { .. }, value) => wrong(format!("expected map, got &{{{}}}", shown(value))),
        (Form::List(_), value) => wrong(format!("expected list, got &{{{}}}", shown(value))),
    }
}

fn elements<'a, S: Shape<'a>>(
    of: Of<S>,
    listing: Listing,
    items: &[Value],
    path: &str,
    problems: &mut Problems,
) {
    let mut seen = std::collections::BTreeSet::<Element>::new();
    for (at, item) in items.iter().enumerate() {
        let step = if listing == Listing::Whole {
            format!("[{at}]")
        } else {
            match element_of(of, listing, item) {
                Ok(element) => {
                    let step = element.to_string();
                    if !seen.insert(element) {
                        let why = format!("duplicate entries for key {step}");
                        problems.0.push((path.to_owned(), why));
                    }
                    step
                }
                Err(why) => {
                    let why = format!("element {at}: {why}");
                    problems.0.push((path.to_owned(), why));
                    return;
                }
            }
        };
        walk(of.element(), item, &format!("{path}{step}"), problems);
    }
}

/// Why this is no such value, in the words that kube-apiserver has from Go.
fn misfit(scalar: Scalar, value: &Value) -> Option<String> {
    let (fits, wanted) = match scalar {
        Scalar::Number => (value.is_number(), "numeric (int or float)"),
        Scalar::Text => (value.is_string(), "string"),
        Scalar::Bool => (value.is_boolean(), "boolean"),
        Scalar::Any => (!value.is_object() && !value.is_array(), "any scalar"),
        Scalar::Opaque => (true, ""),
    };
    let got = match scalar {
        Scalar::Number => match value {
            Value::String(_) => "string".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Array(_) => "[]interface {}".to_owned(),
            _ => "map[string]interface {}".to_owned(),
        },
        Scalar::Text => format!("&value.valueUnstructured{{Value:{}}}", shown(value)),
        _ => format!("&{{{}}}", shown(value)),
    };
    (!fits).then(|| format!("expected {wanted}, got {got}"))
}

/// A value as Go prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}:{}", shown(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::THING;

    #[test]
    fn what_does_not_fit_is_named_as_kubernetes_does() {
        for (value, why) in [
            (
                json!({"nothing": 1}),
                ".nothing: field not declared in schema",
            ),
            (
                json!({"count": "x"}),
                ".count: expected numeric (int or float), got string",
            ),
            (
                json!({"text": 1}),
                ".text: expected string, got &value.valueUnstructured{Value:1}",
            ),
            (json!({"on": "yes"}), ".on: expected boolean, got &{yes}"),
            (
                json!({"items": {"a": [1, "b"]}}),
                ".items: expected list, got &{map[a:[1 b]]}",
            ),
            (json!({"labels": "x"}), ".labels: expected map, got &{x}"),
            (
                json!({"items": [{"name": "a"}, {"name": "a"}]}),
                r#".items: duplicate entries for key [name="a"]"#,
            ),
            (
                json!({"ports": [{"port": 1}, {"port": 1, "protocol": "TCP"}]}),
                r#".ports: duplicate entries for key [port=1,protocol="TCP"]"#,
            ),
            (
                json!({"items": [{"value": 1}]}),
                r#".items: element 0: associative list with keys has an element that omits all key fields ["name"] (and doesn't have default values for any key fields)"#,
            ),
            (
                json!({"items": [{"name": "a", "nothing": 1}]}),
                r#".items[name="a"].nothing: field not declared in schema"#,
            ),
            (
                json!({"tags": [{}]}),
                ".tags: element 0: associative list without keys has an element that's a map type",
            ),
            (
                json!({"text": 1, "x": 2}),
                "errors:\n  .text: expected string, got &value.valueUnstructured{Value:1}\n  .x: field not declared in schema",
            ),
        ] {
            assert_eq!(check(THING, &value).unwrap_err().to_string(), why);
        }
        for fine in [
            json!({}),
            json!({"text": null, "items": null, "labels": {"a": "b"}}),
            json!({"anything": {"a": [{"b": 1}]}, "whole": {"x": 1}}),
            json!({"ports": [{"port": 1}, {"port": 1, "protocol": "UDP"}], "tags": ["a", "b"]}),
        ] {
            assert_eq!(check(THING, &fine), Ok(()), "{fine}");
        }
    }
}
