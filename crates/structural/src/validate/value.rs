//! Types and limits, as `k8s.io/kube-openapi/pkg/validation/validate` judges and words them.

use serde_json::{Map, Value};

use crate::correlate::old_item;
use crate::formats::Format;
use crate::node::{Additional, Limits, Node, Type};
use crate::path::Path;
use crate::problem::Problem;

/// Finds what is wrong with a value and all below it.
pub(super) fn check(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    let before = problems.len();
    check_new(node, value, old, at, problems);
    // Looked at only when something is wrong: comparing costs as much as judging.
    if problems.len() > before && old == Some(value) {
        problems.truncate(before);
    }
}

fn check_new(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    if !right_type(node, value, at, problems) {
        return;
    }
    let limits = node.limits.as_deref();
    if value.is_null() {
        if let Some(limits) = limits {
            one_of_these(limits, value, at, problems);
        }
        return;
    }
    if let Some(limits) = limits {
        combined(limits, value, at, problems);
    }
    match value {
        Value::String(text) => {
            if let Some(limits) = limits {
                check_text(limits, text, at, problems);
            }
        }
        Value::Number(_) => {
            if let Some(limits) = limits {
                check_number(node, limits, value, at, problems);
            }
        }
        Value::Array(items) => check_items(node, items, old, at, problems),
        _ => {}
    }
    if let Some(limits) = limits {
        one_of_these(limits, value, at, problems);
    }
    if let Value::Object(map) = value {
        check_members(node, map, old, at, problems);
    }
}

/// The name of a value's type.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_of(kind: Type, value: &Value) -> bool {
    match (kind, value) {
        (Type::Object, Value::Object(_))
        | (Type::Array, Value::Array(_))
        | (Type::String, Value::String(_))
        | (Type::Number, Value::Number(_))
        | (Type::Boolean, Value::Bool(_)) => true,
        (Type::Integer, Value::Number(number)) => {
            !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => false,
    }
}

fn right_type(node: &Node, value: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) -> bool {
    let types = node.types();
    let right = types.is_empty()
        || (value.is_null() && node.nullable)
        || types.iter().any(|kind| is_of(*kind, value));
    if !right {
        let expected: Vec<&str> = types.iter().map(|kind| kind.name()).collect();
        let actual = type_name(value);
        let detail = format!(
            "{at} in body must be of type {}: {actual:?}",
            expected.join(",")
        );
        problems.push(Problem::wrong_type(at, actual, detail));
    }
    right
}

/// `anyOf`, `oneOf`, `allOf` and `not`.
fn combined(limits: &Limits, value: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let judge = |node: &Node| {
        let mut found = Vec::new();
        check(node, value, None, at, &mut found);
        found
    };
    let path = at.to_string_if(
        !limits.any_of.is_empty()
            || !limits.one_of.is_empty()
            || !limits.all_of.is_empty()
            || limits.not.is_some(),
    );
    let whole = |detail: String| Problem::invalid("", "", detail);
    if !limits.any_of.is_empty() {
        let failures: Vec<Vec<Problem>> = limits.any_of.iter().map(|node| judge(node)).collect();
        if failures.iter().all(|found| !found.is_empty()) {
            problems.push(whole(format!(
                "{path:?} must validate at least one schema (anyOf)"
            )));
            problems.extend(nearest(failures));
        }
    }
    if !limits.one_of.is_empty() {
        let failures: Vec<Vec<Problem>> = limits.one_of.iter().map(|node| judge(node)).collect();
        let valid = failures.iter().filter(|found| found.is_empty()).count();
        if valid != 1 {
            let found = match valid {
                0 => "Found none valid".to_owned(),
                valid => format!("Found {valid} valid alternatives"),
            };
            problems.push(whole(format!(
                "{path:?} must validate one and only one schema (oneOf). {found}"
            )));
        }
        if valid == 0 {
            problems.extend(nearest(failures));
        }
    }
    if !limits.all_of.is_empty() {
        let failures: Vec<Vec<Problem>> = limits.all_of.iter().map(|node| judge(node)).collect();
        let failed = failures.iter().filter(|found| !found.is_empty()).count();
        problems.extend(failures.into_iter().flatten());
        if failed > 0 {
            let none = if failed == limits.all_of.len() {
                ". None validated"
            } else {
                ""
            };
            problems.push(whole(format!(
                "{path:?} must validate all the schemas (allOf){none}"
            )));
        }
    }
    if limits
        .not
        .as_ref()
        .is_some_and(|node| judge(node).is_empty())
    {
        problems.push(whole(format!(
            "{path:?} must not validate the schema (not)"
        )));
    }
}

/// What is wrong by the schema that comes nearest.
fn nearest(failures: Vec<Vec<Problem>>) -> Vec<Problem> {
    failures
        .into_iter()
        .min_by_key(Vec::len)
        .unwrap_or_default()
}

fn check_text(limits: &Limits, text: &str, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let length = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let longer = |max: i64| i64::try_from(text.len()).unwrap_or(i64::MAX) > max && length() > max;
    if let Some(max) = limits.max_length.filter(|max| longer(*max)) {
        problems.push(Problem::too_long(at, max));
    } else if let Some(min) = limits.min_length.filter(|min| length() < *min) {
        let detail = format!("{at} in body should be at least {min} chars long");
        problems.push(Problem::invalid(at, text, detail));
    } else if let Some(pattern) = &limits.pattern {
        let source = &pattern.source;
        let why = match pattern.is_match(text) {
            Ok(true) => None,
            Ok(false) => Some(format!("{at} in body should match '{source}'")),
            Err(why) => Some(format!(
                "{at} in body should match '{source}, but pattern is invalid: {why}'"
            )),
        };
        problems.extend(why.map(|why| Problem::invalid(at, text, why)));
    }
    if let Some(Format::Text(format)) = limits
        .format
        .filter(|format| matches!(format, Format::Text(one) if !(one.judge)(text)))
    {
        let detail = format!("{at} in body must be of type {}: {text:?}", format.name);
        problems.push(Problem::wrong_type(at, text, detail));
    }
}

fn check_number(
    node: &Node,
    limits: &Limits,
    value: &Value,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    let number = value.as_f64().unwrap_or_default();
    let fits = match limits.format {
        Some(Format::Int32) => number >= f64::from(i32::MIN) && number <= f64::from(i32::MAX),
        Some(Format::Float) => is_single(number),
        _ => true,
    };
    if let Some(format) = limits.format.filter(|_| !fits) {
        let kind = node.kind.map_or("", Type::name);
        let format = format.name();
        let detail = format!("Checked value must be of type {kind} with format {format}");
        problems.push(Problem::invalid("", "", detail));
    }
    let mut say = |detail: String| problems.push(Problem::invalid(at, value.clone(), detail));
    if let Some(factor) = limits.multiple_of {
        if factor <= 0.0 {
            say(format!(
                "factor MultipleOf declared for {at} must be positive: {factor}"
            ));
        } else if !is_multiple(value, factor) {
            say(format!("{at} in body should be a multiple of {factor}"));
        }
    }
    if let Some(max) = limits.maximum {
        if limits.exclusive_maximum && number >= max {
            say(format!("{at} in body should be less than {max}"));
        } else if number > max {
            say(format!(
                "{at} in body should be less than or equal to {max}"
            ));
        }
    }
    if let Some(min) = limits.minimum {
        if limits.exclusive_minimum && number <= min {
            say(format!("{at} in body should be greater than {min}"));
        } else if number < min {
            say(format!(
                "{at} in body should be greater than or equal to {min}"
            ));
        }
    }
}

fn is_multiple(value: &Value, factor: f64) -> bool {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a factor of whole numbers is one"
    )]
    if let (Some(value), true) = (value.as_i64(), factor.fract() == 0.0) {
        return value % (factor as i64).max(1) == 0;
    }
    let number = value.as_f64().unwrap_or_default();
    let times = if factor < 1.0 {
        1.0 / factor * number
    } else {
        number / factor
    };
    (times - times.round()).abs() < 1e-9
}

fn check_items(
    node: &Node,
    items: &[Value],
    old: Option<&Value>,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    if let Some(member) = &node.items {
        for (index, item) in items.iter().enumerate() {
            let old = old.and_then(|old| old_item(&node.list, old, item));
            check(member, item, old, &at.index(index), problems);
        }
    }
    let Some(limits) = node.limits.as_deref() else {
        return;
    };
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if let Some(min) = limits.min_items.filter(|min| count < *min) {
        let detail = format!("{at} in body should have at least {min} items");
        problems.push(Problem::invalid(at, count, detail));
    }
    if let Some(max) = limits.max_items.filter(|max| count > *max) {
        problems.push(Problem::too_many(at, items.len(), max));
    }
    if limits.unique_items && super::keyed_lists::doubles(items.iter()).next().is_some() {
        let detail = format!("{at} in body shouldn't contain duplicates");
        problems.push(Problem::invalid(at, "", detail));
    }
}

fn one_of_these(limits: &Limits, value: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let these = &limits.one_of_these;
    let same = |one: &Value| one == value || (one.is_number() && one.as_f64() == value.as_f64());
    if these.is_empty() || these.iter().any(same) {
        return;
    }
    let names = these.iter().map(|one| match one {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    problems.push(Problem::not_supported(at, value.clone(), names));
}

fn check_members(
    node: &Node,
    map: &Map<String, Value>,
    old: Option<&Value>,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    let count = i64::try_from(map.len()).unwrap_or(i64::MAX);
    let limits = node.limits.as_deref();
    if let Some(min) = limits
        .and_then(|limits| limits.min_properties)
        .filter(|min| count < *min)
    {
        let detail = format!("{at} in body should have at least {min} properties");
        problems.push(Problem::invalid(at, count, detail));
    }
    if let Some(max) = limits
        .and_then(|limits| limits.max_properties)
        .filter(|max| count > *max)
    {
        problems.push(Problem::too_many(at, map.len(), max));
    }
    for (name, value) in map {
        let place = at.field(name);
        match (node.properties.get(name.as_str()), &node.additional) {
            (Some(property), _) | (None, Some(Additional::Schema(property))) => {
                // The type is what the request's path says, whatever stood there before.
                let fixed = node.root && (name == "apiVersion" || name == "kind");
                let old = old.filter(|_| !fixed).and_then(|old| old.get(name));
                check(property, value, old, &place, problems);
            }
            (None, Some(Additional::Allowed(false))) => {
                let detail = format!("{at}.{name} in body is a forbidden property");
                problems.push(Problem::invalid(at, name.as_str(), detail));
            }
            _ => {}
        }
    }
    for name in limits.iter().flat_map(|limits| &limits.required) {
        if !map.contains_key(name.as_ref()) {
            problems.push(Problem::required(at.field(name), ""));
        }
    }
}

/// Whether a number is in the range of single precision.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what is too large becomes infinite"
)]
fn is_single(number: f64) -> bool {
    (number as f32).is_finite()
}
