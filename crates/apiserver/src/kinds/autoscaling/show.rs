//! An autoscaler in a table.

use serde_json::Value;

/// Metrics that are shown; of others only how many there are.
const SHOWN: usize = 2;

/// `Deployment/web`
pub fn reference(object: &Value) -> String {
    let target = &object["spec"]["scaleTargetRef"];
    format!("{}/{}", text(&target["kind"]), text(&target["name"]))
}

/// `cpu: 12%/50%, memory: <unknown>/100Mi + 1 more...`
pub fn targets(object: &Value) -> String {
    let specs = items(&object["spec"]["metrics"]);
    let current = items(&object["status"]["currentMetrics"]);
    let mut shown: Vec<String> = specs.iter().map(|spec| target(spec, current)).collect();
    if shown.is_empty() {
        return "<none>".into();
    }
    let more = shown.len().saturating_sub(SHOWN);
    shown.truncate(SHOWN);
    let shown = shown.join(", ");
    match more {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn target(spec: &Value, current: &[Value]) -> String {
    let (source, resource) = match text(&spec["type"]) {
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        _ => ("external", false),
    };
    let (spec, same) = (&spec[source], |one: &&Value| {
        let parts = ["name", "container", "metric", "describedObject"];
        !one[source].is_null()
            && parts
                .iter()
                .all(|part| one[source][*part] == spec[source][*part])
    });
    let is = current.iter().find(same).map(|one| &one[source]["current"]);
    let wanted = &spec["target"];
    let (field, unit, average) = match text(&wanted["type"]) {
        "Utilization" => ("averageUtilization", "%", ""),
        "AverageValue" if resource || source == "pods" => ("averageValue", "", ""),
        "AverageValue" => ("averageValue", "", " (avg)"),
        _ => ("value", "", ""),
    };
    let amount = |of: &Value| match &of[field] {
        Value::Null => "<unknown>".to_owned(),
        Value::String(text) => text.clone(),
        other => format!("{other}{unit}"),
    };
    let is = is.map_or("<unknown>".into(), amount);
    let pair = format!("{is}/{}{average}", amount(wanted));
    match resource {
        true => format!("{}: {pair}", text(&spec["name"])),
        false => pair,
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
    use serde_json::json;

    use super::*;

    #[test]
    fn targets_read_as_in_kubectl() {
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
        let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "100Mi"}}});
        let side = json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 5}}});
        let pods = json!({"type": "Pods", "pods": {"metric": {"name": "r"}, "target": {"type": "AverageValue", "averageValue": "1"}}});
        let current = json!([
            {"type": "Resource", "resource": {"name": "memory", "current": {"averageValue": "7"}}},
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12, "averageValue": "120m"}}},
        ]);
        for (metrics, expected) in [
            (json!([]), "<none>"),
            (json!([cpu]), "cpu: 12%/50%"),
            (json!([cpu, memory]), "cpu: 12%/50%, memory: 7/100Mi"),
            (json!([side, pods]), "cpu: <unknown>/5%, <unknown>/1"),
            (
                json!([cpu, memory, pods, side]),
                "cpu: 12%/50%, memory: 7/100Mi + 2 more...",
            ),
        ] {
            let object =
                json!({"spec": {"metrics": metrics}, "status": {"currentMetrics": current}});
            assert_eq!(targets(&object), expected);
        }
        let object = json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}});
        assert_eq!(reference(&object), "Deployment/web");
    }
}
