//! Resources of containers: a pod's class of service and its containers' limits.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity;

/// What a container may take, in the units of cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// `limits.memory`.
    pub memory_bytes: Option<u64>,
    /// `limits.cpu`.
    pub cpu_millis: Option<u64>,
    /// `requests.cpu`, which defaults to `limits.cpu`.
    pub cpu_request_millis: Option<u64>,
}

/// A container's limits; an unreadable quantity is no limit, since the API has validated it.
pub fn allowance(container: &Container) -> Allowance {
    let cpu_millis = limit(container, "cpu").and_then(quantity::millis);
    Allowance {
        memory_bytes: limit(container, "memory").and_then(quantity::units),
        cpu_millis,
        cpu_request_millis: request(container, "cpu")
            .and_then(quantity::millis)
            .or(cpu_millis),
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort` (Kubernetes docs, "Pod Quality of Service Classes").
pub fn qos_class(spec: &PodSpec) -> &'static str {
    let all = || {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    };
    let asks = |container: &Container| {
        ["cpu", "memory"].iter().any(|resource| {
            positive(limit(container, resource)) || positive(request(container, resource))
        })
    };
    let guaranteed = |container: &Container| {
        ["cpu", "memory"].iter().all(|resource| {
            let limit = limit(container, resource);
            let request = request(container, resource).or(limit);
            positive(limit)
                && limit.and_then(quantity::millis) == request.and_then(quantity::millis)
        })
    };
    match (all().any(asks), all().all(guaranteed)) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn limit<'a>(container: &'a Container, resource: &str) -> Option<&'a Quantity> {
    container.resources.as_ref()?.limits.as_ref()?.get(resource)
}

fn request<'a>(container: &'a Container, resource: &str) -> Option<&'a Quantity> {
    container
        .resources
        .as_ref()?
        .requests
        .as_ref()?
        .get(resource)
}

fn positive(quantity: Option<&Quantity>) -> bool {
    quantity
        .and_then(quantity::millis)
        .is_some_and(|amount| amount > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(resources: Value) -> Container {
        serde_json::from_value(json!({"name": "a", "resources": resources})).unwrap()
    }

    #[test]
    fn limits_become_numbers() {
        let cases = [
            (json!({}), Allowance::default()),
            (
                json!({"limits": {"cpu": "500m", "memory": "64Mi"}}),
                Allowance {
                    memory_bytes: Some(64 << 20),
                    cpu_millis: Some(500),
                    cpu_request_millis: Some(500),
                },
            ),
            (
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "0.25", "memory": "1Gi"}}),
                Allowance {
                    memory_bytes: None,
                    cpu_millis: Some(1000),
                    cpu_request_millis: Some(250),
                },
            ),
        ];
        for (resources, expected) in cases {
            assert_eq!(
                allowance(&container(resources.clone())),
                expected,
                "{resources}"
            );
        }
    }

    #[test]
    fn classes_follow_requests_and_limits() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let cases = [
            (vec![json!({})], "BestEffort"),
            (vec![full.clone()], "Guaranteed"),
            (vec![full.clone(), json!({})], "Burstable"),
            (vec![json!({"requests": {"cpu": "1"}})], "Burstable"),
            (
                vec![json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})],
                "Burstable",
            ),
            (
                vec![
                    json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}}),
                ],
                "Guaranteed",
            ),
        ];
        for (containers, expected) in cases {
            let spec = PodSpec {
                containers: containers.iter().cloned().map(container).collect(),
                ..PodSpec::default()
            };
            assert_eq!(qos_class(&spec), expected, "{containers:?}");
        }
    }
}
