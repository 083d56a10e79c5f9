//! Resources of containers: a pod's class of service and its containers' limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use sealane_runtime::Limits;

use crate::quantity;

type Resources = BTreeMap<String, Quantity>;

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

/// What a pod's cgroup gets: limits of the pod's own (`spec.resources`), and the weight of what
/// it or its containers ask for, so that pods share the processors as they have asked.
pub fn pod_limits(spec: &PodSpec) -> Limits {
    let of = |list: fn(&ResourceRequirements) -> &Option<Resources>, resource: &str| {
        let resources = spec.resources.as_ref()?;
        list(resources).as_ref()?.get(resource)
    };
    let limit = |resource| of(|resources| &resources.limits, resource);
    let requested = of(|resources| &resources.requests, "cpu").and_then(quantity::millis);
    let cpu_millis = limit("cpu").and_then(quantity::millis);
    let positive = |amount: &u64| *amount > 0;
    Limits {
        memory_bytes: limit("memory").and_then(quantity::units).filter(positive),
        cpu_millis: cpu_millis.filter(positive),
        cpu_shares_millis: Some(requested.or(cpu_millis).unwrap_or_else(|| cpu_of_all(spec))),
        pids: None,
    }
}

/// What the containers ask for together: sidecars and containers, or one init container.
fn cpu_of_all(spec: &PodSpec) -> u64 {
    let cpu = |container: &Container| allowance(container).cpu_request_millis.unwrap_or(0);
    let init = || spec.init_containers.iter().flatten();
    let stays = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars: u64 = init().filter(stays).map(cpu).sum();
    let main: u64 = spec.containers.iter().map(cpu).sum();
    let first = init().map(cpu).max().unwrap_or(0);
    first.max(sidecars + main)
}

/// `Guaranteed`, `Burstable` or `BestEffort` (Kubernetes docs, "Pod Quality of Service Classes").
pub fn qos_class(spec: &PodSpec) -> &'static str {
    // What the pod says as a whole goes before what its containers say.
    let whole = spec.resources.as_ref().map(|resources| Container {
        resources: Some(resources.clone()),
        ..Container::default()
    });
    let whole = whole.filter(|whole| {
        let resources = ["cpu", "memory"];
        (resources.iter()).any(|name| limit(whole, name).or(request(whole, name)).is_some())
    });
    let all = || {
        let parts = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten());
        parts.filter(|_| whole.is_none()).chain(&whole)
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

    #[test]
    fn a_pod_weighs_what_it_asks_for() {
        let pod = |spec: Value| -> PodSpec { serde_json::from_value(spec).unwrap() };
        let asks =
            |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
        for (spec, expected) in [
            (json!({"containers": [{"name": "a"}]}), 0),
            (
                json!({"containers": [asks("a", "100m"), asks("b", "1")]}),
                1100,
            ),
            (
                json!({"containers": [asks("a", "100m")], "initContainers": [asks("i", "2")]}),
                2000,
            ),
            (
                json!({"containers": [asks("a", "1")], "resources": {"limits": {"cpu": "3"}}}),
                3000,
            ),
        ] {
            let limits = pod_limits(&pod(spec.clone()));
            assert_eq!(limits.cpu_shares_millis, Some(expected), "{spec}");
        }
        let whole = json!({"containers": [{"name": "a"}], "resources": {"limits": {"memory": "64Mi", "cpu": "1"}}});
        let whole = pod(whole);
        assert_eq!(pod_limits(&whole).memory_bytes, Some(64 << 20));
        assert_eq!(pod_limits(&whole).cpu_millis, Some(1000));
        assert_eq!(qos_class(&whole), "Guaranteed");
    }
}
