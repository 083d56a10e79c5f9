//! `autoscaling/v1`: one target of the processor has a field of its own there; everything else that
//! `v2` says stands in annotations, as upstream writes them, so that nothing is lost on the way.

use serde_json::{Map, Value, json};

use crate::object::metadata_mut;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// A `v1` object in the form of `v2`.
pub fn to_stored(object: &mut Value) {
    let mut said = take_annotations(object);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let percent = spec.remove("targetCPUUtilizationPercentage");
        let mut metrics = list(said.remove(METRICS));
        metrics
            .iter_mut()
            .for_each(|metric| newer(metric, "target"));
        if let Some(percent) = percent.filter(|percent| !percent.is_null()) {
            let target = json!({ "type": "Utilization", "averageUtilization": percent });
            let resource = json!({ "name": "cpu", "target": target });
            metrics.insert(0, json!({ "type": "Resource", "resource": resource }));
        }
        if !metrics.is_empty() {
            spec.insert("metrics".into(), metrics.into());
        }
        if let Some(behavior) = said.remove(BEHAVIOR).filter(Value::is_object) {
            spec.insert("behavior".into(), behavior);
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let percent = status.remove("currentCPUUtilizationPercentage");
        let mut current = list(said.remove(CURRENT));
        current
            .iter_mut()
            .for_each(|metric| newer(metric, "current"));
        let is_there = current.iter().any(is_cpu);
        if let Some(percent) = percent.filter(|percent| !percent.is_null() && !is_there) {
            let resource = json!({ "name": "cpu", "current": { "averageUtilization": percent } });
            current.insert(0, json!({ "type": "Resource", "resource": resource }));
        }
        if !current.is_empty() {
            status.insert("currentMetrics".into(), current.into());
        }
        if let Some(conditions) = said.remove(CONDITIONS).filter(Value::is_array) {
            status.insert("conditions".into(), conditions);
        }
    }
}

/// A `v2` object in the form of `v1`.
pub fn to_served(object: &mut Value) {
    let mut said: Vec<(&str, Value)> = Vec::new();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let mut metrics = list(spec.remove("metrics"));
        let percent = |metric: &Value| metric["resource"]["target"]["averageUtilization"].clone();
        let cpu = metrics
            .iter()
            .position(|metric| is_cpu(metric) && !percent(metric).is_null());
        if let Some(cpu) = cpu {
            let percent = percent(&metrics.remove(cpu));
            spec.insert("targetCPUUtilizationPercentage".into(), percent);
        }
        metrics
            .iter_mut()
            .for_each(|metric| older(metric, "target"));
        if !metrics.is_empty() {
            said.push((METRICS, metrics.into()));
        }
        if let Some(behavior) = spec.remove("behavior") {
            said.push((BEHAVIOR, behavior));
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let mut current = list(status.remove("currentMetrics"));
        let cpu = current.iter().find(|metric| is_cpu(metric));
        let percent = cpu.map(|cpu| cpu["resource"]["current"]["averageUtilization"].clone());
        if let Some(percent) = percent.filter(|percent| !percent.is_null()) {
            status.insert("currentCPUUtilizationPercentage".into(), percent);
        }
        current
            .iter_mut()
            .for_each(|metric| older(metric, "current"));
        if !current.is_empty() {
            said.push((CURRENT, current.into()));
        }
        if let Some(conditions) = status.remove("conditions") {
            said.push((CONDITIONS, conditions));
        }
        status.entry("currentReplicas").or_insert(0.into());
    }
    if !said.is_empty() {
        let annotations = metadata_mut(object)
            .entry("annotations")
            .or_insert_with(|| json!({}));
        for (name, value) in said {
            annotations[name] = value.to_string().into();
        }
    }
}

fn take_annotations(object: &mut Value) -> Map<String, Value> {
    let metadata = metadata_mut(object);
    let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    else {
        return Map::new();
    };
    let mut said = Map::new();
    for name in [METRICS, CURRENT, CONDITIONS, BEHAVIOR] {
        let text = annotations.remove(name);
        let read = text.and_then(|text| serde_json::from_str(text.as_str()?).ok());
        if let Some(value) = read {
            said.insert(name.into(), value);
        }
    }
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    said
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

/// Where a metric of a resource has its particulars.
fn source(metric: &mut Value) -> Option<&mut Map<String, Value>> {
    let name = match metric["type"].as_str()? {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return None,
    };
    metric.get_mut(name)?.as_object_mut()
}

/// The names that `v1` has for members of a target, or of what is now.
const NAMES: [(&str, &str, &str); 2] = [
    (
        "averageUtilization",
        "targetAverageUtilization",
        "currentAverageUtilization",
    ),
    ("averageValue", "targetAverageValue", "currentAverageValue"),
];

fn older(metric: &mut Value, part: &str) {
    let Some(source) = source(metric) else {
        return;
    };
    let Some(Value::Object(mut members)) = source.remove(part) else {
        return;
    };
    for (newer, target, current) in NAMES {
        if let Some(value) = members.remove(newer) {
            let name = if part == "target" { target } else { current };
            source.insert(name.into(), value);
        }
    }
}

fn newer(metric: &mut Value, part: &str) {
    let Some(source) = source(metric).filter(|source| !source.contains_key(part)) else {
        return;
    };
    let mut members = Map::new();
    for (newer, target, current) in NAMES {
        let name = if part == "target" { target } else { current };
        if let Some(value) = source.remove(name) {
            members.insert(newer.into(), value);
        }
    }
    if part == "target" {
        let utilization = members.contains_key("averageUtilization");
        let kind = if utilization {
            "Utilization"
        } else {
            "AverageValue"
        };
        members.insert("type".into(), kind.into());
    }
    source.insert(part.into(), members.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_the_versions() {
        let resource = |name: &str, part: Value| json!({"type": "Resource", "resource": {"name": name, "target": part}});
        let stored = json!({
            "metadata": {"name": "h", "annotations": {"mine": "stays"}},
            "spec": {
                "maxReplicas": 3,
                "metrics": [
                    resource("cpu", json!({"type": "Utilization", "averageUtilization": 50})),
                    resource("memory", json!({"type": "AverageValue", "averageValue": "1Mi"})),
                    {"type": "Pods", "pods": {"metric": {"name": "r"}}},
                ],
                "behavior": {"scaleUp": {"stabilizationWindowSeconds": 3}},
            },
            "status": {
                "currentReplicas": 1, "desiredReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7, "averageValue": "70m"}}}],
                "conditions": [{"type": "AbleToScale", "status": "True"}],
            },
        });
        let mut served = stored.clone();
        to_served(&mut served);
        assert_eq!(
            served["spec"],
            json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 50})
        );
        assert_eq!(
            served["status"],
            json!({"currentReplicas": 1, "desiredReplicas": 2, "currentCPUUtilizationPercentage": 7})
        );
        let metrics = served["metadata"]["annotations"][METRICS].as_str().unwrap();
        assert!(
            metrics.contains("\"targetAverageValue\":\"1Mi\""),
            "{metrics}"
        );
        to_stored(&mut served);
        assert_eq!(served, stored);
    }
}
