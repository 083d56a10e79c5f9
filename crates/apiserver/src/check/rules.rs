//! Rules of the kind table and how they are checked.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{FieldPath, Findings, Place, format};

/// A field path and what must hold there.
#[derive(Debug)]
pub struct Rule(pub &'static str, pub Check);

/// What must hold of a field. All but [`Check::Required`] and [`Check::RequiredWith`] hold of an
/// absent field.
#[derive(Debug)]
pub enum Check {
    /// It is there and not empty.
    Required,
    /// As [`Check::Required`], with words of advice.
    RequiredWith(&'static str),
    /// A text in one of the formats of [`mod@format`], which returns what is wrong.
    Format(fn(&str) -> Vec<String>),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A number within these bounds, both included.
    Range(i64, i64),
    /// A number that is not negative.
    NonNegative,
    /// No two elements of the list at the parent have the same value here.
    Unique,
    /// A list with at most so many elements.
    MaxItems(usize),
    /// A quantity that is not negative.
    Quantity,
}

/// Checks all rules against an object.
pub fn run(rules: &[Rule], object: &Value, findings: &mut Findings) {
    for Rule(path, check) in rules {
        let path = FieldPath::of(path);
        match check {
            Check::Unique => unique(path, object, findings),
            check => path.visit(object, |place, value| one(check, place, value, findings)),
        }
    }
}

fn one(check: &Check, place: &Place<'_>, value: Option<&Value>, findings: &mut Findings) {
    let Some(value) = value.filter(|value| !is_empty(value)) else {
        match check {
            Check::Required => findings.required(place.to_string(), ""),
            Check::RequiredWith(advice) => findings.required(place.to_string(), advice),
            _ => {}
        }
        return;
    };
    match (check, value) {
        (Check::Format(wrong), Value::String(text)) => {
            wrong(text)
                .into_iter()
                .for_each(|why| findings.invalid(place.to_string(), value, why));
        }
        (Check::OneOf(supported), Value::String(text)) if !supported.contains(&text.as_str()) => {
            findings.unsupported(place.to_string(), value, supported);
        }
        (Check::Range(low, high), Value::Number(number)) if !within(number, *low, *high) => {
            let why = format!("must be between {low} and {high}, inclusive");
            findings.invalid(place.to_string(), value, why);
        }
        (Check::NonNegative, Value::Number(number)) if !within(number, 0, i64::MAX) => {
            findings.invalid(
                place.to_string(),
                value,
                "must be greater than or equal to 0",
            );
        }
        (Check::MaxItems(max), Value::Array(items)) if items.len() > *max => {
            findings.invalid(
                place.to_string(),
                value,
                format!("must have at most {max} items"),
            );
        }
        (Check::Quantity, Value::String(text)) => {
            if let Some(why) = format::quantity(text) {
                findings.invalid(place.to_string(), value, why);
            }
        }
        _ => {}
    }
}

/// An empty text, list or map is as good as none; a number or boolean never is.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn within(number: &serde_json::Number, low: i64, high: i64) -> bool {
    number
        .as_i64()
        .is_some_and(|number| (low..=high).contains(&number))
}

/// Values must differ among the elements of one list; lists of different parents are apart, which
/// shows in the place up to the last `[`.
fn unique(path: &FieldPath, object: &Value, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    path.visit(object, |place, value| {
        let Some(value) = value.filter(|value| !is_empty(value)) else {
            return;
        };
        let field = place.to_string();
        let list = field
            .rsplit_once('[')
            .map_or("", |(list, _)| list)
            .to_owned();
        if !seen.insert((list, value.to_string())) {
            findings.duplicate(field, value);
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_check_says_what_is_wrong() {
        let object = json!({
            "empty": [], "name": "Aa", "policy": "x", "port": 70000, "grace": -1, "zero": 0,
            "items": [{"n": "a"}, {"n": "b"}, {"n": "a"}], "size": "1Qi",
        });
        let rules = [
            (Rule("empty", Check::Required), "empty: Required value"),
            (
                Rule("missing", Check::RequiredWith("say which")),
                "missing: Required value: say which",
            ),
            (Rule("zero", Check::Required), ""),
            (Rule("absent.child", Check::Required), ""),
            (
                Rule("policy", Check::OneOf(&["y", "z"])),
                "policy: Unsupported value: \"x\": supported values: \"y\", \"z\"",
            ),
            (
                Rule("port", Check::Range(1, 65535)),
                "port: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ),
            (
                Rule("grace", Check::NonNegative),
                "grace: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                Rule("items[].n", Check::Unique),
                "items[2].n: Duplicate value: \"a\"",
            ),
            (Rule("items[].x", Check::Unique), ""),
        ];
        for (rule, expected) in rules {
            let mut findings = Findings::default();
            let shown = format!("{rule:?}");
            run(&[rule], &object, &mut findings);
            let found = if findings.is_empty() {
                String::new()
            } else {
                findings.to_string()
            };
            assert_eq!(found, expected, "{shown}");
        }
    }

    #[test]
    fn lists_of_different_parents_are_apart() {
        let object = json!({"c": [{"p": [{"n": 1}]}, {"p": [{"n": 1}]}]});
        let mut findings = Findings::default();
        run(&[Rule("c[].p[].n", Check::Unique)], &object, &mut findings);
        assert!(findings.is_empty(), "{findings}");
    }
}
