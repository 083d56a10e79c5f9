//! What CNI plugins are told of a pod besides its name, as the kubelet and containerd do.
//!
//! Each plugin of a chain gets what it declares: ours the annotations, stock ones
//! `portMappings` and `bandwidth` (CNI conventions, Dynamic Plugin specific Fields).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod};
use sealane_cni::types::POD_ANNOTATIONS;
use sealane_objects::bandwidth;
use serde_json::{Map, Value, json};

/// Everything that some plugin may want to know.
pub fn of(pod: &Pod) -> Map<String, Value> {
    let none = BTreeMap::new();
    let annotations = pod.metadata.annotations.as_ref().unwrap_or(&none);
    let mut capabilities = Map::new();
    let mut tell = |name: &str, value: Value, empty: bool| {
        if !empty {
            capabilities.insert(name.to_owned(), value);
        }
    };
    tell(POD_ANNOTATIONS, json!(annotations), annotations.is_empty());
    let ports: Vec<Value> = containers(pod)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(port_mapping)
        .collect();
    tell("portMappings", json!(ports), ports.is_empty());
    let limits = limits(annotations);
    tell("bandwidth", json!(limits), limits.is_empty());
    capabilities
}

/// Those that run beside each other, sidecars among them.
fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.as_ref();
    let first = spec.and_then(|spec| spec.init_containers.as_ref());
    let sidecars = first
        .into_iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    sidecars.chain(spec.into_iter().flat_map(|spec| &spec.containers))
}

fn port_mapping(port: &ContainerPort) -> Option<Value> {
    let host_port = port.host_port.filter(|number| *number > 0)?;
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    Some(json!({
        "hostPort": host_port,
        "containerPort": port.container_port,
        "protocol": protocol.to_ascii_lowercase(),
        "hostIP": port.host_ip.as_deref().unwrap_or_default(),
    }))
}

/// Bits in a second, and bits at once, of which the stock plugin wants to know: a twentieth of a second's,
/// and at least a large packet. Nothing where one cannot be read: our plugin sees the annotations and refuses the pod.
fn limits(annotations: &BTreeMap<String, String>) -> Map<String, Value> {
    const LEAST_BURST: u64 = 8 * (16 << 10);
    const MOST_BURST: u64 = 8 * (32 << 20);
    let mut limits = Map::new();
    for (annotation, direction) in [
        (bandwidth::INGRESS, "ingress"),
        (bandwidth::EGRESS, "egress"),
    ] {
        let Some(text) = annotations.get(annotation) else {
            continue;
        };
        let Some(bits) = bandwidth::bits(text) else {
            return Map::new();
        };
        let burst = (bits / 20).clamp(LEAST_BURST, MOST_BURST);
        limits.insert(format!("{direction}Rate"), bits.into());
        limits.insert(format!("{direction}Burst"), burst.into());
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(pod: Value) -> Value {
        of(&serde_json::from_value(pod).unwrap()).into()
    }

    #[test]
    fn a_pod_that_wants_nothing_tells_nothing() {
        let pod =
            json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]}});
        assert_eq!(capabilities(pod), json!({}));
    }

    #[test]
    fn ports_of_the_host_are_told_of_containers_and_sidecars() {
        let pod = json!({"spec": {
            "initContainers": [
                {"name": "first", "ports": [{"containerPort": 1, "hostPort": 1}]},
                {"name": "side", "restartPolicy": "Always", "ports": [
                    {"containerPort": 53, "hostPort": 5353, "protocol": "UDP", "hostIP": "127.0.0.1"},
                ]},
            ],
            "containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 8080}]}],
        }});
        let expected = json!([
            {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""},
        ]);
        assert_eq!(capabilities(pod)["portMappings"], expected);
    }

    #[test]
    fn bandwidth_is_told_beside_the_annotations() {
        let told = |egress: Option<&str>| {
            let mut annotations = json!({bandwidth::INGRESS: "10M"});
            if let Some(text) = egress {
                annotations[bandwidth::EGRESS] = text.into();
            }
            let told = capabilities(json!({"metadata": {"annotations": annotations}}));
            assert_eq!(told[POD_ANNOTATIONS], annotations);
            told["bandwidth"].clone()
        };
        let expected = json!({"ingressRate": 10_000_000, "ingressBurst": 500_000});
        assert_eq!(told(None), expected);
        assert_eq!(told(Some("fast")), Value::Null);
    }
}
