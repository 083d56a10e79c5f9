//! LimitRange: what pods of a namespace get that say nothing, and what they may not ask for.

use k8s_openapi::api::core::v1 as core;
use sealane_objects::Quantity;
use sealane_quota::limit_range::complete;
use serde_json::{Map, Value};

use super::{
    Kind, PLAIN,
    column::{Cell, NAME, column},
    typed,
};
use crate::check::{Findings, format};

pub static LIMIT_RANGE: Kind = Kind {
    kind: "LimitRange",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    decode: typed::<core::LimitRange>,
    complete,
    validate,
    columns: &[
        NAME,
        column(
            "Created At",
            Cell::Path("metadata.creationTimestamp"),
            "When the object was made.",
        ),
    ],
    ..PLAIN
};

const LISTS: [&str; 5] = [
    "max",
    "min",
    "default",
    "defaultRequest",
    "maxLimitRequestRatio",
];

/// What must not be more than what: list, its name, the other list, its name.
const ORDER: [(&str, &str, &str, &str); 6] = [
    ("min", "min", "max", "max"),
    ("min", "min", "defaultRequest", "default request"),
    ("defaultRequest", "default request", "max", "max"),
    (
        "defaultRequest",
        "default request",
        "default",
        "default limit",
    ),
    ("min", "min", "default", "default"),
    ("default", "default", "max", "max"),
];

fn validate(object: &Value, findings: &mut Findings) {
    let limits = object["spec"]["limits"].as_array();
    let mut seen = Vec::new();
    for (index, limit) in limits.into_iter().flatten().enumerate() {
        let at = format!("spec.limits[{index}]");
        let kind = limit["type"].as_str().unwrap_or("");
        validate_type(&at, kind, &limit["type"], findings);
        if seen.contains(&kind) {
            findings.duplicate(format!("{at}.type"), &limit["type"]);
        }
        seen.push(kind);
        for list in LISTS {
            amounts(&format!("{at}.{list}"), &limit[list], findings);
        }
        if kind == "Pod" {
            for list in ["default", "defaultRequest"] {
                if limit[list].as_object().is_some_and(|list| !list.is_empty()) {
                    let why = "may not be specified when `type` is 'Pod'";
                    findings.forbidden(format!("{at}.{list}"), why);
                }
            }
        }
        for (low, low_name, high, high_name) in ORDER {
            for (name, bound) in entries(&limit[low]) {
                let other = limit[high][name].as_str().and_then(Quantity::parse);
                if let (Some(bound), Some(other)) = (bound, other)
                    && bound.milli > other.milli
                {
                    let why = format!(
                        "{low_name} value {bound} is greater than {high_name} value {other}"
                    );
                    findings.invalid(format!("{at}.{low}[{name}]"), &limit[low][name], why);
                }
            }
        }
        for (name, ratio) in entries(&limit["maxLimitRequestRatio"]) {
            if let Some(ratio) = ratio.filter(|ratio| ratio.milli < 1000) {
                let (at, value) = (
                    format!("{at}.maxLimitRequestRatio[{name}]"),
                    &limit["maxLimitRequestRatio"][name],
                );
                findings.invalid(at, value, format!("ratio {ratio} is less than 1"));
            }
        }
    }
}

fn validate_type(at: &str, kind: &str, value: &Value, findings: &mut Findings) {
    let at = format!("{at}.type");
    match kind {
        "" => findings.required(at, ""),
        "Pod" | "Container" | "PersistentVolumeClaim" => {}
        kind if kind.contains('/') => {
            for why in format::qualified_name(kind) {
                findings.invalid(at.as_str(), value, why);
            }
        }
        _ => findings.invalid(
            at,
            value,
            "must be a standard limit type or fully qualified",
        ),
    }
}

fn amounts(at: &str, list: &Value, findings: &mut Findings) {
    for (name, amount) in entries(list) {
        let at = format!("{at}[{name}]");
        for why in format::qualified_name(name) {
            findings.invalid(at.as_str(), &name.into(), why);
        }
        match amount {
            None => {
                let why = format::quantity(list[name].as_str().unwrap_or(""));
                findings.invalid(at, &list[name], why.unwrap_or_default());
            }
            Some(amount) if amount.milli < 0 => {
                let why = "must be greater than or equal to 0";
                findings.invalid(at, &list[name], why);
            }
            Some(_) => {}
        }
    }
}

fn entries(list: &Value) -> impl Iterator<Item = (&str, Option<Quantity>)> {
    let entries = list.as_object().into_iter().flat_map(Map::iter);
    entries.map(|(name, amount)| (name.as_str(), amount.as_str().and_then(Quantity::parse)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_contradicts_itself_is_said() {
        let found = |limits: Value| {
            let mut object = json!({"spec": {"limits": limits}});
            complete(&mut object);
            let mut findings = Findings::default();
            validate(&object, &mut findings);
            findings.to_string()
        };
        let container = |lists: Value| {
            let mut limit = json!({"type": "Container"});
            for (name, list) in lists.as_object().unwrap() {
                limit[name] = list.clone();
            }
            json!([limit])
        };
        for (limits, expected) in [
            (
                container(json!({"max": {"cpu": "1"}, "min": {"cpu": "100m"}})),
                "[]",
            ),
            (
                container(
                    json!({"max": {"cpu": "1"}, "min": {"cpu": "2"}, "default": {"cpu": "3"}, "defaultRequest": {"cpu": "2"}}),
                ),
                "[spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max \
                 value 1, spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request \
                 value 2 is greater than max value 1, spec.limits[0].default[cpu]: Invalid value: \
                 \"3\": default value 3 is greater than max value 1]",
            ),
            (
                container(json!({"maxLimitRequestRatio": {"cpu": "500m"}})),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
            ),
            (
                json!([{"type": "Pod", "default": {"cpu": "1"}}]),
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
            (
                json!([{"type": "Thing"}]),
                "spec.limits[0].type: Invalid value: \"Thing\": must be a standard limit type or fully qualified",
            ),
            (
                json!([{"type": "Pod"}, {"type": "Pod"}]),
                "spec.limits[1].type: Duplicate value: \"Pod\"",
            ),
        ] {
            assert_eq!(found(limits), expected);
        }
    }
}
