//! What an autoscaler gets when it says nothing, and what it may not say.

use serde_json::{Value, json};

use crate::check::{Findings, format};
use sealane_objects::Quantity;

/// Types of metrics, and where they have their particulars.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];
const MAX_WINDOW_SECONDS: i64 = 3600;
const MAX_PERIOD_SECONDS: i64 = 1800;

/// A target for the processor if there is no metric, and the rules of a behavior that says only some.
pub fn complete(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if items(spec.get("metrics").unwrap_or(&Value::Null)).is_empty() {
        let target = json!({ "type": "Utilization", "averageUtilization": 80 });
        let metric = json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } });
        spec.insert("metrics".into(), json!([metric]));
    }
    let Some(behavior) = spec.get_mut("behavior").filter(|one| one.is_object()) else {
        return;
    };
    let pods = json!({ "type": "Pods", "value": 4, "periodSeconds": 15 });
    let all = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
    for (direction, policies) in [("scaleUp", json!([pods, all])), ("scaleDown", json!([all]))] {
        let rules = &mut behavior[direction];
        if rules["selectPolicy"].is_null() {
            rules["selectPolicy"] = "Max".into();
        }
        if items(&rules["policies"]).is_empty() {
            rules["policies"] = policies;
        }
        if direction == "scaleUp" && rules["stabilizationWindowSeconds"].is_null() {
            rules["stabilizationWindowSeconds"] = 0.into();
        }
    }
}

/// Finds what is wrong with an autoscaler.
pub fn validate(object: &Value, findings: &mut Findings) {
    let spec = &object["spec"];
    reference("spec.scaleTargetRef", &spec["scaleTargetRef"], findings);
    let (min, max) = (&spec["minReplicas"], &spec["maxReplicas"]);
    if min.as_i64().is_some_and(|min| min < 1) {
        findings.invalid(
            "spec.minReplicas",
            min,
            "must be greater than or equal to 1",
        );
    }
    let most = max.as_i64().unwrap_or(0);
    if most < 1 {
        findings.invalid("spec.maxReplicas", max, "must be greater than 0");
    }
    if min.as_i64().is_some_and(|min| min > most) {
        let why = "must be greater than or equal to `minReplicas`";
        findings.invalid("spec.maxReplicas", max, why);
    }
    for (index, one) in items(&spec["metrics"]).iter().enumerate() {
        metric(&format!("spec.metrics[{index}]"), one, findings);
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = &spec["behavior"][direction];
        if !rules.is_null() {
            behavior(&format!("spec.behavior.{direction}"), rules, findings);
        }
    }
}

fn reference(at: &str, reference: &Value, findings: &mut Findings) {
    for part in ["kind", "name"] {
        match text(&reference[part]) {
            "" => findings.required(format!("{at}.{part}"), ""),
            name => {
                for why in format::path_segment(name) {
                    findings.invalid(format!("{at}.{part}"), &reference[part], why);
                }
            }
        }
    }
}

fn metric(at: &str, metric: &Value, findings: &mut Findings) {
    let kind = &metric["type"];
    if text(kind).is_empty() {
        return findings.required(format!("{at}.type"), "must specify a metric source type");
    }
    let Some((_, source)) = SOURCES.iter().find(|(name, _)| kind == name) else {
        let names = SOURCES.map(|(name, _)| name);
        return findings.unsupported(format!("{at}.type"), kind, &names);
    };
    for (_, other) in SOURCES {
        if other != *source && !metric[other].is_null() {
            let why = "must populate the given metric source only";
            findings.forbidden(format!("{at}.{other}"), why);
        }
    }
    let of = &metric[*source];
    let at = format!("{at}.{source}");
    if of.is_null() {
        return findings.required(at, "must populate information for the given metric source");
    }
    if source.ends_with("esource") {
        if text(&of["name"]).is_empty() {
            findings.required(format!("{at}.name"), "must specify a resource name");
        }
        if *source == "containerResource" && text(&of["container"]).is_empty() {
            findings.required(format!("{at}.container"), "must specify a container");
        }
    } else if text(&of["metric"]["name"]).is_empty() {
        findings.required(format!("{at}.metric.name"), "must specify a metric name");
    }
    if *source == "object" {
        reference(
            &format!("{at}.describedObject"),
            &of["describedObject"],
            findings,
        );
    }
    target(&format!("{at}.target"), &of["target"], source, findings);
}

fn target(at: &str, target: &Value, source: &str, findings: &mut Findings) {
    let kind = &target["type"];
    match text(kind) {
        "" => findings.required(format!("{at}.type"), "must specify a metric target type"),
        "Utilization" | "Value" | "AverageValue" => {}
        _ => findings.invalid(
            format!("{at}.type"),
            kind,
            "must be either Utilization, Value, or AverageValue",
        ),
    }
    for field in ["value", "averageValue"] {
        let amount = target[field].as_str().map(Quantity::parse);
        if amount.is_some_and(|amount| amount.is_none_or(|amount| amount.milli <= 0)) {
            findings.invalid(format!("{at}.{field}"), &target[field], "must be positive");
        }
    }
    let percent = &target["averageUtilization"];
    if percent.as_i64().is_some_and(|percent| percent < 1) {
        findings.invalid(
            format!("{at}.averageUtilization"),
            percent,
            "must be greater than 0",
        );
    }
    let (is_said, has) = (!percent.is_null(), |field: &str| !target[field].is_null());
    match source {
        "resource" | "containerResource" => match (is_said, has("averageValue")) {
            (false, false) => findings.required(
                format!("{at}.averageUtilization"),
                "must set either a target raw value or a target utilization",
            ),
            (true, true) => findings.forbidden(
                format!("{at}.averageValue"),
                "may not set both a target raw value and a target utilization",
            ),
            _ => {}
        },
        "pods" if !has("averageValue") => {
            let why = "must specify a positive target averageValue";
            findings.required(format!("{at}.averageValue"), why);
        }
        "object" | "external" if !has("value") && !has("averageValue") => findings.required(
            format!("{at}.averageValue"),
            "must set either a target value for metric or a per-pod target",
        ),
        _ => {}
    }
}

fn behavior(at: &str, rules: &Value, findings: &mut Findings) {
    let window = &rules["stabilizationWindowSeconds"];
    let at_window = format!("{at}.stabilizationWindowSeconds");
    if window.as_i64().is_some_and(|window| window < 0) {
        findings.invalid(at_window, window, "must be greater than or equal to zero");
    } else if window
        .as_i64()
        .is_some_and(|window| window > MAX_WINDOW_SECONDS)
    {
        let why = format!("must be less than or equal to {MAX_WINDOW_SECONDS}");
        findings.invalid(at_window, window, why);
    }
    let tolerance = rules["tolerance"].as_str().map(Quantity::parse);
    if tolerance.is_some_and(|amount| amount.is_none_or(|amount| amount.milli < 0)) {
        let why = "must be greater or equal to 0";
        findings.invalid(format!("{at}.tolerance"), &rules["tolerance"], why);
    }
    let select = &rules["selectPolicy"];
    let choices = ["Disabled", "Max", "Min"];
    if !select.is_null() && !choices.contains(&text(select)) {
        findings.unsupported(format!("{at}.selectPolicy"), select, &choices);
    }
    for (index, policy) in items(&rules["policies"]).iter().enumerate() {
        let at = format!("{at}.policies[{index}]");
        let kinds = ["Percent", "Pods"];
        if !kinds.contains(&text(&policy["type"])) {
            findings.unsupported(format!("{at}.type"), &policy["type"], &kinds);
        }
        for field in ["value", "periodSeconds"] {
            if policy[field].as_i64().unwrap_or(0) <= 0 {
                findings.invalid(
                    format!("{at}.{field}"),
                    &policy[field],
                    "must be greater than zero",
                );
            }
        }
        let period = &policy["periodSeconds"];
        if period
            .as_i64()
            .is_some_and(|period| period > MAX_PERIOD_SECONDS)
        {
            let why = format!("must be less than or equal to {MAX_PERIOD_SECONDS}");
            findings.invalid(format!("{at}.periodSeconds"), period, why);
        }
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(spec: Value) -> String {
        let mut object = json!({ "spec": spec });
        complete(&mut object);
        let mut findings = Findings::default();
        validate(&object, &mut findings);
        findings.to_string()
    }

    #[test]
    fn what_cannot_be_is_said_in_known_words() {
        let reference = json!({"kind": "Deployment", "name": "web"});
        let with = |more: Value| {
            let mut spec = json!({"scaleTargetRef": reference, "maxReplicas": 3});
            for (name, value) in more.as_object().unwrap() {
                spec[name] = value.clone();
            }
            spec
        };
        let metric = |target: Value| {
            with(
                json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]}),
            )
        };
        for (spec, expected) in [
            (with(json!({})), "[]"),
            (
                with(json!({"maxReplicas": 0})),
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
            ),
            (
                with(json!({"minReplicas": 4})),
                "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
            ),
            (
                with(json!({"minReplicas": 0})),
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
            ),
            (
                with(json!({"scaleTargetRef": {"kind": "Deployment"}})),
                "spec.scaleTargetRef.name: Required value",
            ),
            (
                metric(json!({"type": "Utilization"})),
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set \
                 either a target raw value or a target utilization",
            ),
            (
                metric(json!({"type": "Utilization", "averageUtilization": 0})),
                "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be \
                 greater than 0",
            ),
            (
                with(json!({"metrics": [{"type": "Resource"}]})),
                "spec.metrics[0].resource: Required value: must populate information for the given \
                 metric source",
            ),
            (
                with(json!({"metrics": [{"type": "Magic"}]})),
                "spec.metrics[0].type: Unsupported value: \"Magic\": supported values: \
                 \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
            ),
            (
                with(json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}})),
                "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be \
                 less than or equal to 3600",
            ),
            (
                with(
                    json!({"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 5}]}}}),
                ),
                "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
            ),
        ] {
            assert_eq!(found(spec.clone()), expected, "{spec}");
        }
    }

    #[test]
    fn a_behavior_is_completed() {
        let mut object = json!({"spec": {"behavior": {"scaleUp": {"selectPolicy": "Min"}}}});
        complete(&mut object);
        let behavior = &object["spec"]["behavior"];
        assert_eq!(behavior["scaleUp"]["stabilizationWindowSeconds"], 0);
        assert_eq!(behavior["scaleUp"]["selectPolicy"], "Min");
        assert_eq!(behavior["scaleUp"]["policies"][0]["value"], 4);
        assert_eq!(behavior["scaleDown"]["policies"][0]["value"], 100);
        assert_eq!(
            behavior["scaleDown"]["stabilizationWindowSeconds"],
            Value::Null
        );
        assert_eq!(
            object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
            80
        );
    }
}
