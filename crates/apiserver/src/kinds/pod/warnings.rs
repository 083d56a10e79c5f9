//! What people are told of pods, and of templates of pods, that may not do what they want.

use serde_json::Value;

use crate::{check::format, object::Quantity};

/// Warnings about a new pod.
pub fn of_pod(pod: &Value, said: &mut Vec<String>) {
    let name = text(&pod["metadata"]["name"]);
    let wrong = format::dns_label(name);
    if !wrong.is_empty() && text(&pod["spec"]["hostname"]).is_empty() {
        said.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising \
             behavior; a DNS label is recommended: [{}]",
            wrong.join(" ")
        ));
    }
    of_pod_spec("spec", &pod["spec"], said);
}

/// Warnings about an object that makes pods of a template.
pub fn of_workload(object: &Value, said: &mut Vec<String>) {
    let wrong = format::dns_label(text(&object["metadata"]["name"]));
    if !wrong.is_empty() {
        said.push(format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in \
             surprising behavior; a DNS label is recommended: [{}]",
            wrong.join(" ")
        ));
    }
    of_pod_spec(
        "spec.template.spec",
        &object["spec"]["template"]["spec"],
        said,
    );
}

/// Warnings about the spec of a pod at `at`.
pub fn of_pod_spec(at: &str, spec: &Value, said: &mut Vec<String>) {
    for part in ["initContainers", "containers"] {
        for (index, container) in items(&spec[part]).iter().enumerate() {
            of_container(&format!("{at}.{part}[{index}]"), container, said);
        }
    }
    if spec["terminationGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds < 0)
    {
        said.push(format!(
            "{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and \
             will be treated as 1"
        ));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, alias) in items(&spec["hostAliases"]).iter().enumerate() {
        let ip = text(&alias["ip"]);
        if seen.contains(&ip) {
            said.push(format!("{at}.hostAliases[{index}].ip: duplicate ip {ip:?}"));
        }
        seen.push(ip);
    }
}

fn of_container(at: &str, container: &Value, said: &mut Vec<String>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, variable) in items(&container["env"]).iter().enumerate() {
        let name = text(&variable["name"]);
        if seen.contains(&name) {
            said.push(format!(
                "{at}.env[{index}]: hides previous definition of {name:?}, which may be dropped \
                 when using apply"
            ));
        }
        seen.push(name);
    }
    let ports = items(&container["ports"]);
    for (index, port) in ports.iter().enumerate() {
        let same = |other: &Value| {
            ["containerPort", "protocol", "hostPort", "hostIP"]
                .iter()
                .all(|part| other[*part] == port[*part])
        };
        if let Some(first) = ports[..index].iter().position(same) {
            said.push(format!(
                "{at}.ports[{index}]: duplicate port definition with {at}.ports[{first}]"
            ));
        }
    }
    for list in ["limits", "requests"] {
        let memory = &container["resources"][list]["memory"];
        let amount = memory.as_str().and_then(Quantity::parse);
        if amount.is_some_and(|amount| amount.milli % 1000 != 0) {
            said.push(format!(
                "{at}.resources.{list}[memory]: fractional byte value {memory} is invalid, must \
                 be an integer"
            ));
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
    use serde_json::json;

    use super::*;

    #[test]
    fn people_are_warned_of_what_may_surprise_them() {
        let pod = json!({
            "metadata": {"name": "a.b"},
            "spec": {
                "containers": [{
                    "env": [{"name": "A"}, {"name": "B"}, {"name": "A"}],
                    "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}],
                    "resources": {"requests": {"memory": "500m"}},
                }],
            },
        });
        let mut said = Vec::new();
        of_pod(&pod, &mut said);
        assert_eq!(
            said,
            [
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
                "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
                "spec.containers[0].resources.requests[memory]: fractional byte value \"500m\" is invalid, must be an integer",
            ]
        );
        let template = json!({
            "metadata": {"name": "a"},
            "spec": {"template": {"spec": {"hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}]}}},
        });
        let mut said = Vec::new();
        of_workload(&template, &mut said);
        assert_eq!(
            said,
            ["spec.template.spec.hostAliases[1].ip: duplicate ip \"1.1.1.1\""]
        );
    }
}
