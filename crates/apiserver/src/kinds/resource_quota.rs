//! ResourceQuota: how much of what a namespace may have.

use k8s_openapi::api::core::v1 as core;
use sealane_objects::Quantity;
use serde_json::Value;

use super::{
    Kind, PLAIN,
    column::{AGE, Cell, NAME, column},
    typed,
};
use crate::check::{Findings, format};

pub static RESOURCE_QUOTA: Kind = Kind {
    kind: "ResourceQuota",
    plural: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    status: true,
    decode: typed::<core::ResourceQuota>,
    complete: |object| {
        for (holder, list) in [("spec", "hard"), ("status", "hard"), ("status", "used")] {
            if let Some(list) = object.get_mut(holder).and_then(|part| part.get_mut(list)) {
                crate::object::normalize(list);
            }
        }
    },
    defaults: &[("status", "{}")],
    validate,
    validate_update: |new, old, findings| {
        let scopes = |object: &Value| {
            let mut scopes: Vec<String> = texts(&object["spec"]["scopes"]);
            scopes.sort_unstable();
            scopes
        };
        if scopes(new) != scopes(old) {
            let value = &new["spec"]["scopes"];
            findings.invalid("spec.scopes", value, "field is immutable");
        }
    },
    columns: &[
        NAME,
        column(
            "Request",
            Cell::Of(|object, _| used(object, false).into()),
            "What is used, and may be, of all but limits.",
        ),
        column(
            "Limit",
            Cell::Of(|object, _| used(object, true).into()),
            "What is used, and may be, of limits.",
        ),
        AGE,
    ],
    ..PLAIN
};

/// Names without a domain that a quota may have.
const STANDARD: [&str; 18] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services",
    "services.loadbalancers",
];
const SCOPES: [&str; 6] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
];
const CONFLICTS: [(&str, &str); 2] = [
    ("BestEffort", "NotBestEffort"),
    ("Terminating", "NotTerminating"),
];

/// `pods: 1/2, requests.cpu: 100m/1`
fn used(object: &Value, limits: bool) -> String {
    let status = &object["status"];
    let hard = status["hard"].as_object().into_iter().flatten();
    let shown = hard.filter(|(name, _)| name.starts_with("limits.") == limits);
    let shown = shown.map(|(name, hard)| {
        let used = status["used"][name].as_str().unwrap_or("0");
        format!("{name}: {used}/{}", hard.as_str().unwrap_or("0"))
    });
    let mut shown: Vec<String> = shown.collect();
    shown.sort_unstable();
    shown.join(", ")
}

fn validate(object: &Value, findings: &mut Findings) {
    let spec = &object["spec"];
    for (name, amount) in spec["hard"].as_object().into_iter().flatten() {
        let at = format!("spec.hard[{name}]");
        for why in format::qualified_name(name) {
            findings.invalid(at.as_str(), &name.as_str().into(), why);
        }
        let is_huge = name
            .trim_start_matches("requests.")
            .starts_with("hugepages-");
        let is_known = name.contains('/') || is_huge || name == "services.nodeports";
        if !is_known && !STANDARD.contains(&name.as_str()) {
            let why = "must be a standard resource for quota";
            findings.invalid(at.as_str(), &name.as_str().into(), why);
        }
        let text = amount.as_str().unwrap_or("");
        match Quantity::parse(text) {
            None => findings.invalid(at, amount, format::quantity(text).unwrap_or_default()),
            Some(number) if number.milli < 0 => {
                findings.invalid(at, amount, "must be greater than or equal to 0");
            }
            Some(number) if is_count(name) && number.milli % 1000 != 0 => {
                findings.invalid(at, amount, "must be an integer");
            }
            Some(_) => {}
        }
    }
    scopes(spec, findings);
    selector(spec, findings);
}

fn is_count(name: &str) -> bool {
    name.starts_with("count/")
        || name.starts_with("services")
        || name.ends_with('s') && !name.contains('.')
}

fn scopes(spec: &Value, findings: &mut Findings) {
    let scopes = texts(&spec["scopes"]);
    let value = &spec["scopes"];
    for scope in &scopes {
        check_scope("spec.scopes", scope, value, spec, findings);
    }
    for (one, other) in CONFLICTS {
        let has = |name: &str| scopes.iter().any(|scope| scope == name);
        if has(one) && has(other) {
            findings.invalid("spec.scopes", value, "conflicting scopes");
        }
    }
}

fn check_scope(at: &str, scope: &str, value: &Value, spec: &Value, findings: &mut Findings) {
    if !SCOPES.contains(&scope) {
        return findings.invalid(at, value, "unsupported scope");
    }
    let mut names = spec["hard"].as_object().into_iter().flatten();
    let fits = |name: &str| match scope {
        "BestEffort" => name == "pods",
        _ => sealane_quota::usage::is_of_pods(name),
    };
    if names.any(|(name, _)| !fits(name)) {
        findings.invalid(at, value, "unsupported scope applied to resource");
    }
}

fn selector(spec: &Value, findings: &mut Findings) {
    let all = spec["scopeSelector"]["matchExpressions"].as_array();
    for (index, one) in all.into_iter().flatten().enumerate() {
        let at = format!("spec.scopeSelector.matchExpressions[{index}]");
        let (scope, operator) = (&one["scopeName"], &one["operator"]);
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        check_scope(
            &format!("{at}.scopeName"),
            &text(scope),
            scope,
            spec,
            findings,
        );
        let values = texts(&one["values"]);
        match text(operator).as_str() {
            "In" | "NotIn" if values.is_empty() => findings.required(
                format!("{at}.values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
            "Exists" | "DoesNotExist" if !values.is_empty() => findings.invalid(
                format!("{at}.values"),
                &one["values"],
                "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => findings.invalid(
                format!("{at}.operator"),
                operator,
                "not a valid selector operator",
            ),
        }
        if text(scope) != "PriorityClass" && text(operator) != "Exists" {
            let why = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                       ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                       ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            findings.invalid(format!("{at}.operator"), operator, why);
        }
    }
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quota_is_judged() {
        let found = |spec: Value| {
            let mut findings = Findings::default();
            validate(&json!({ "spec": spec }), &mut findings);
            findings.to_string()
        };
        let select = |operator: &str, values: Value| json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
        for (spec, expected) in [
            (
                json!({"hard": {"pods": "1", "limits.cpu": "1500m", "count/jobs.batch": "3", "services.nodeports": "0"}}),
                "[]",
            ),
            (
                json!({"hard": {"wheels": "1"}}),
                "spec.hard[wheels]: Invalid value: \"wheels\": must be a standard resource for quota",
            ),
            (
                json!({"hard": {"pods": "1500m"}}),
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
            ),
            (
                json!({"hard": {"pods": "-1"}}),
                "spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"hard": {"secrets": "1"}, "scopes": ["Terminating"]}),
                "spec.scopes: Invalid value: [\"Terminating\"]: unsupported scope applied to resource",
            ),
            (
                json!({"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}),
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            ),
            (select("In", json!(["high"])), "[]"),
            (
                select("In", json!([])),
                "spec.scopeSelector.matchExpressions[0].values: Required value: must be at least one \
                 value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
        ] {
            assert_eq!(found(spec), expected);
        }
    }

    #[test]
    fn what_is_used_reads_as_in_kubectl() {
        let object = json!({"status": {
            "hard": {"pods": "2", "cpu": "1", "limits.cpu": "2"}, "used": {"pods": "1", "cpu": "100m"},
        }});
        assert_eq!(used(&object, false), "cpu: 100m/1, pods: 1/2");
        assert_eq!(used(&object, true), "limits.cpu: 0/2");
    }
}
