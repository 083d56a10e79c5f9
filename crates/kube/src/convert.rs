//! From API objects to the words that decisions are made from.
//!
//! Total functions: what cannot be parsed is left out and logged, so that one
//! broken object harms itself alone.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use sealane_objects::{NodeNet, ObjectName, PodNet, bandwidth};

/// Which annotations are ours, besides those of bandwidth.
const ANNOTATIONS: &str = "sealane.io/";

/// The taint by which the cluster autoscaler says that it will delete a node.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

fn is_of_use(annotation: &str) -> bool {
    annotation.starts_with(ANNOTATIONS)
        || [bandwidth::INGRESS, bandwidth::EGRESS].contains(&annotation)
}

/// The network's view of a Node. `.spec.podCIDR` counts where `.spec.podCIDRs` is absent (servers before 1.16).
pub fn node_net(node: &Node) -> NodeNet {
    let name = node.name_any();
    let addresses = node
        .status
        .as_ref()
        .and_then(|status| status.addresses.as_ref());
    let internal = addresses
        .into_iter()
        .flatten()
        .filter(|address| address.type_ == "InternalIP");
    let internal_ips = internal
        .filter_map(|address| parse("node", &name, "address", &address.address))
        .collect();
    let pod_cidrs = pod_cidrs(node)
        .iter()
        .filter_map(|text| parse::<IpNet>("node", &name, "pod subnet", text))
        .map(|subnet| subnet.trunc())
        .collect();
    NodeNet {
        name,
        internal_ips,
        pod_cidrs,
        zone: node.labels().get("topology.kubernetes.io/zone").cloned(),
        // Of the pools, not of the Node.
        pod_ranges: Vec::new(),
        leaving: is_leaving(node),
    }
}

fn is_leaving(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let mut taints = taints.into_iter().flatten();
    node.metadata.deletion_timestamp.is_some() || taints.any(|taint| taint.key == TO_BE_DELETED)
}

fn pod_cidrs(node: &Node) -> &[String] {
    let Some(spec) = &node.spec else { return &[] };
    match (&spec.pod_cidrs, &spec.pod_cidr) {
        (Some(list), _) if !list.is_empty() => list,
        (_, Some(one)) if !one.is_empty() => std::slice::from_ref(one),
        _ => &[],
    }
}

/// The network's view of a Pod.
pub fn pod_net(pod: &Pod) -> PodNet {
    let name = ObjectName::new(pod.namespace().unwrap_or_default(), pod.name_any());
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let ips = status.and_then(|status| status.pod_ips.as_deref());
    let pod_ips: Vec<IpAddr> = ips
        .unwrap_or_default()
        .iter()
        .filter_map(|ip| parse("pod", &name, "address", &ip.ip))
        .collect();
    PodNet {
        uid: pod.uid().unwrap_or_default(),
        node_name: spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
        host_network: spec.and_then(|s| s.host_network).unwrap_or_default(),
        finished: matches!(phase, Some("Succeeded" | "Failed")),
        pod_ips,
        labels: pod.labels().clone(),
        annotations: pod
            .annotations()
            .iter()
            .filter(|(key, _)| is_of_use(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        name,
    }
}

pub(crate) fn parse<T: FromStr<Err: Display>>(
    kind: &str,
    name: &impl Display,
    what: &str,
    text: &str,
) -> Option<T> {
    text.parse()
        .inspect_err(|error| {
            tracing::warn!("{kind} {name}: its {what} {text:?} is ignored: {error}");
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_nodes_internal_addresses_and_subnets_of_both_families() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "node-1"},
            "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.7/24", "fd00:10:244::/64"]},
            "status": {"addresses": [
                {"type": "Hostname", "address": "node-1"},
                {"type": "InternalIP", "address": "172.29.0.2"},
                {"type": "ExternalIP", "address": "192.0.2.1"},
                {"type": "InternalIP", "address": "not an address"},
                {"type": "InternalIP", "address": "fd00::2"},
            ]},
        }))
        .unwrap();
        let net = node_net(&node);
        assert_eq!(
            serde_json::to_value(&net).unwrap(),
            json!({"name": "node-1", "internalIPs": ["172.29.0.2", "fd00::2"],
                   "podCIDRs": ["10.244.0.0/24", "fd00:10:244::/64"]})
        );
    }

    #[test]
    fn a_node_that_is_about_to_go() {
        let taints =
            |key: &str| json!({"spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}});
        let cases = [
            (json!({}), false),
            (taints("node.kubernetes.io/unschedulable"), false),
            (taints(TO_BE_DELETED), true),
            (
                json!({"metadata": {"deletionTimestamp": "2026-11-21T00:00:00Z"}}),
                true,
            ),
        ];
        for (node, expected) in cases {
            let node: Node = serde_json::from_value(node).unwrap();
            assert_eq!(node_net(&node).leaving, expected);
        }
    }

    #[test]
    fn the_old_single_subnet_counts_where_it_is_alone() {
        let cases = [
            (json!({"podCIDR": "10.0.0.0/24"}), vec!["10.0.0.0/24"]),
            (
                json!({"podCIDR": "10.0.0.0/24", "podCIDRs": []}),
                vec!["10.0.0.0/24"],
            ),
            (json!({"podCIDR": ""}), vec![]),
            (json!({}), vec![]),
        ];
        for (spec, expected) in cases {
            let node: Node =
                serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": spec})).unwrap();
            let subnets = node_net(&node).pod_cidrs;
            let text: Vec<_> = subnets.iter().map(ToString::to_string).collect();
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_pod_that_is_not_scheduled_and_one_that_is_done() {
        let pending: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "default", "uid": "u1"},
            "spec": {"containers": []},
        }))
        .unwrap();
        let net = pod_net(&pending);
        assert_eq!((net.node_name.as_str(), net.finished), ("", false));
        let done: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "default", "uid": "u1"},
            "spec": {"containers": [], "nodeName": "node-1", "hostNetwork": true},
            "status": {"phase": "Failed", "podIPs": [{"ip": "10.244.0.2"}]},
        }))
        .unwrap();
        let net = pod_net(&done);
        assert_eq!(net.node_name, "node-1");
        assert!(net.host_network && net.finished);
        assert_eq!(net.pod_ips, ["10.244.0.2".parse::<IpAddr>().unwrap()]);
    }
}
