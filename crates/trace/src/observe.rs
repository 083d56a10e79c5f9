//! Reads the cluster through the API: once, all kinds at the same time.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, Pod, PodStatus, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{NetworkPolicy, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};

use sealane_objects::{ObjectName, PortMapping};
use serde::de::DeserializeOwned;

use crate::{NodeView, PodView, ServiceView, Settings, SliceView, Snapshot};

const ZONE: &str = "topology.kubernetes.io/zone";

/// Why the cluster could not be read.
#[derive(Debug, thiserror::Error)]
#[error("list {what}: {}", sealane_kube::explain(source))]
pub struct ObserveError {
    what: String,
    source: kube::Error,
}

/// Reads all that a walk can depend on.
///
/// # Errors
/// When a kind that is needed cannot be listed.
pub async fn observe(client: &Client, settings: Settings) -> Result<Snapshot, ObserveError> {
    let (nodes, pods, services, slices, cidrs, policies) = tokio::join!(
        list::<Node>(client),
        list::<Pod>(client),
        list::<Service>(client),
        list::<EndpointSlice>(client),
        // Older servers have none, and without them the walk is the same.
        list::<ServiceCIDR>(client),
        count_policies(client),
    );
    let ranges = cidrs.unwrap_or_default().into_iter();
    let ranges = ranges.filter_map(|cidr| cidr.spec?.cidrs).flatten();
    let mut nodes: Vec<_> = nodes?.iter().map(node).collect();
    nodes.sort_by(|a, b| a.net.name.cmp(&b.net.name));
    Ok(Snapshot {
        nodes,
        pods: pods?.iter().map(pod).collect(),
        services: services?.iter().map(service).collect(),
        slices: slices?.iter().map(slice).collect(),
        service_ranges: ranges.filter_map(|text| text.parse().ok()).collect(),
        policies,
        settings,
    })
}

async fn list<K>(client: &Client) -> Result<Vec<K>, ObserveError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let listed = api.list(&ListParams::default()).await;
    let listed = listed.map_err(|source| ObserveError {
        what: K::plural(&()).into_owned(),
        source,
    });
    Ok(listed?.items)
}

async fn count_policies(client: &Client) -> usize {
    let api: Api<NetworkPolicy> = Api::all(client.clone());
    let listed = api.list_metadata(&ListParams::default()).await;
    listed.map_or(0, |list| {
        let items: Vec<PartialObjectMeta<NetworkPolicy>> = list.items;
        items.len()
    })
}

fn node(node: &Node) -> NodeView {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref());
    let ready = conditions
        .unwrap_or_default()
        .iter()
        .find(|c| c.type_ == "Ready");
    let not_ready = match ready {
        Some(ready) if ready.status == "True" => None,
        Some(ready) => Some(words(ready.reason.as_deref(), ready.message.as_deref())),
        None => Some("its kubelet has not reported".to_owned()),
    };
    NodeView {
        net: sealane_kube::node_net(node),
        zone: node.labels().get(ZONE).map(|zone| zone.as_str().into()),
        not_ready,
    }
}

fn words(reason: Option<&str>, message: Option<&str>) -> String {
    let parts = [reason, message].into_iter().flatten();
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return "no reason is given".to_owned();
    }
    parts.join(": ")
}

fn pod(pod: &Pod) -> PodView {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let all = containers.flat_map(|container| container.ports.iter().flatten());
    let ports = all.clone().filter_map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP").parse().ok()?;
        let number = u16::try_from(port.container_port).ok()?;
        Some((port.name.clone().unwrap_or_default(), protocol, number))
    });
    let host_ports = all.filter_map(|port| {
        let host_ip = port.host_ip.as_deref().filter(|ip| !ip.is_empty());
        let host_ip = host_ip.map(str::parse::<IpAddr>).transpose().ok()?;
        Some(PortMapping {
            protocol: port.protocol.as_deref().unwrap_or("TCP").parse().ok()?,
            host_port: u16::try_from(port.host_port?).ok().filter(|n| *n > 0)?,
            container_port: u16::try_from(port.container_port).ok()?,
            host_ip: host_ip.filter(|ip| !ip.is_unspecified()),
        })
    });
    PodView {
        net: sealane_kube::pod_net(pod),
        labels: pod.labels().clone(),
        not_ready: pod.status.as_ref().map_or_else(
            || Some("no node has reported of it".to_owned()),
            |status| not_ready(pod, status),
        ),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        ports: ports.collect(),
        dns: sealane_kube::pod_dns(pod),
        host_ports: host_ports.collect(),
    }
}

/// The nearest cause that the status tells: the state of a container before its condition.
fn not_ready(pod: &Pod, status: &PodStatus) -> Option<String> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let find = |kind: &str| conditions.iter().find(|c| c.type_ == kind);
    let ready = find("Ready");
    if ready.is_some_and(|ready| ready.status == "True") {
        return None;
    }
    if let Some(refused) = find("PodScheduled").filter(|c| c.status == "False") {
        let why = words(refused.reason.as_deref(), refused.message.as_deref());
        return Some(format!("not scheduled: {why}"));
    }
    for container in status.container_statuses.iter().flatten() {
        let name = &container.name;
        let state = container.state.as_ref();
        if let Some(waiting) = state.and_then(|s| s.waiting.as_ref()) {
            let why = words(waiting.reason.as_deref(), waiting.message.as_deref());
            return Some(format!("container {name} waits: {why}"));
        }
        if let Some(ended) = state.and_then(|s| s.terminated.as_ref()) {
            let code = ended.exit_code;
            return Some(format!("container {name} has ended with exit code {code}"));
        }
        if !container.ready {
            let probe = pod
                .spec
                .iter()
                .flat_map(|spec| &spec.containers)
                .any(|c| c.name == *name && c.readiness_probe.is_some());
            let started = container.started.unwrap_or(true);
            return Some(match (started, probe) {
                (false, _) => format!("container {name} has not passed its startup probe"),
                (true, true) => format!("container {name} runs, its readiness probe fails"),
                (true, false) => format!("container {name} runs and is not ready"),
            });
        }
    }
    let phase = status.phase.as_deref().unwrap_or("Unknown");
    Some(match ready {
        Some(ready) => words(ready.reason.as_deref(), ready.message.as_deref()),
        None => format!("phase {phase}"),
    })
}

fn service(service: &Service) -> ServiceView {
    let spec = service.spec.clone().unwrap_or_default();
    let target = |port: &k8s_openapi::api::core::v1::ServicePort| match &port.target_port {
        Some(IntOrString::String(name)) => Some(name.clone()),
        _ => None,
    };
    ServiceView {
        name: name(service),
        net: sealane_kube::service_net(service),
        kind: spec.type_.unwrap_or_else(|| "ClusterIP".to_owned()),
        headless: spec.cluster_ip.as_deref() == Some("None"),
        selector: spec
            .selector
            .unwrap_or_default()
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        external_name: spec.external_name.unwrap_or_default(),
        target_names: spec.ports.iter().flatten().map(target).collect(),
    }
}

fn slice(slice: &EndpointSlice) -> SliceView {
    let endpoints = sealane_kube::slice_dns(slice).endpoints.into_iter();
    let hostnames = endpoints.filter_map(|endpoint| Some((endpoint.address, endpoint.hostname?)));
    SliceView {
        name: name(slice),
        net: sealane_kube::slice_net(slice),
        hostnames: hostnames.collect(),
    }
}

fn name(object: &impl ResourceExt) -> ObjectName {
    ObjectName::new(object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use sealane_net::Protocol;
    use serde_json::json;

    use super::*;

    fn pod_of(status: serde_json::Value) -> PodView {
        let object = json!({
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {"containers": [{
                "name": "c", "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {"tcpSocket": {"port": 8080}},
            }]},
            "status": status,
        });
        pod(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_pod_says_why_it_is_not_ready() {
        let unready = json!({"type": "Ready", "status": "False", "reason": "ContainersNotReady"});
        for (status, expected) in [
            (
                json!({"conditions": [{"type": "Ready", "status": "True"}]}),
                None,
            ),
            (
                json!({"conditions": [unready], "containerStatuses": [
                    {"name": "c", "ready": false, "started": true, "image": "", "imageID": "", "restartCount": 0, "state": {"running": {}}},
                ]}),
                Some("container c runs, its readiness probe fails"),
            ),
            (
                json!({"conditions": [unready], "containerStatuses": [
                    {"name": "c", "ready": false, "image": "", "imageID": "", "restartCount": 0,
                     "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}},
                ]}),
                Some("container c waits: CrashLoopBackOff: back-off 10s"),
            ),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no nodes"}]}),
                Some("not scheduled: no nodes"),
            ),
            (json!({"phase": "Pending"}), Some("phase Pending")),
        ] {
            assert_eq!(
                pod_of(status.clone()).not_ready.as_deref(),
                expected,
                "{status}"
            );
        }
        assert_eq!(
            pod_of(json!({})).ports,
            [("http".to_owned(), Protocol::Tcp, 8080)]
        );
    }
}
