//! The parts of API objects that controllers decide from.
//!
//! Watches cut objects down to these as they arrive, so that a standing
//! cluster costs a few hundred bytes an object.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, PodCondition};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use sealane_objects::{Demand, Resources, Taint};
use serde::Serialize;

use crate::facts::PodFacts;
use crate::lifecycle::PRESSURES;
use crate::pools::Pools;

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Truth {
    True,
    False,
    Unknown,
}

/// A Node, as the controllers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    pub uid: String,
    pub version: String,
    pub labels: BTreeMap<String, String>,
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNet>,
    /// `.spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    pub taints: Vec<Taint>,
    /// The Ready condition; none while the node has never reported.
    pub ready: Option<Truth>,
    /// The latest `lastHeartbeatTime` of any condition.
    pub heartbeat: Option<Timestamp>,
    /// Types of the conditions that the node reports.
    pub conditions: Vec<String>,
    /// `.status.allocatable` without pods.
    pub allocatable: Resources,
    /// Taints for conditions that hold, but for Ready.
    pub pressures: Vec<&'static str>,
    /// `.status.allocatable.pods`
    pub max_pods: Option<usize>,
}

impl NodeView {
    pub fn of(node: Node) -> Self {
        let pod_cidrs = sealane_kube::node_net(&node).pod_cidrs;
        let status = node.status.as_ref();
        let conditions = status
            .and_then(|s| s.conditions.as_deref())
            .unwrap_or_default();
        let (allocatable, max_pods) = sealane_kube::allocatable(&node);
        Self {
            uid: node.uid().unwrap_or_default(),
            version: node.resource_version().unwrap_or_default(),
            pod_cidrs,
            unschedulable: node
                .spec
                .as_ref()
                .and_then(|s| s.unschedulable)
                .unwrap_or(false),
            taints: sealane_kube::taints(&node),
            ready: conditions.iter().find(|c| c.type_ == "Ready").map(truth),
            heartbeat: latest_heartbeat(conditions),
            conditions: conditions.iter().map(|c| c.type_.clone()).collect(),
            allocatable,
            pressures: PRESSURES
                .into_iter()
                .filter(|(kind, _)| {
                    conditions
                        .iter()
                        .any(|c| c.type_ == *kind && truth(c) == Truth::True)
                })
                .map(|(_, taint)| taint)
                .collect(),
            max_pods,
            labels: node.metadata.labels.unwrap_or_default(),
        }
    }
}

fn truth(condition: &NodeCondition) -> Truth {
    match condition.status.as_str() {
        "True" => Truth::True,
        "False" => Truth::False,
        _ => Truth::Unknown,
    }
}

fn latest_heartbeat(conditions: &[NodeCondition]) -> Option<Timestamp> {
    let times = conditions
        .iter()
        .filter_map(|c| c.last_heartbeat_time.as_ref());
    times.map(|time| time.0).max()
}

/// A Pod, as the controllers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodView {
    pub uid: String,
    pub version: String,
    /// `.spec.nodeName`, once it is set.
    pub node: Option<String>,
    /// `.spec.schedulerName`
    pub scheduler: String,
    /// What it asks of its place; pods of one template share it.
    #[serde(skip)]
    pub demand: Arc<Demand>,
    /// `.spec.schedulingGates` is not empty: it is not to be placed yet.
    pub gated: bool,
    /// `.metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `.status.phase` is `Succeeded` or `Failed`.
    pub finished: bool,
    /// The message of condition PodScheduled=False, when it is that.
    pub refused: Option<String>,
    /// `.status.nominatedNodeName`: where room is being made for it.
    pub nominated: Option<String>,
    /// What those look at who keep pods or send traffic to them.
    #[serde(skip)]
    pub facts: Arc<PodFacts>,
}

impl PodView {
    pub fn of(pod: Pod, pools: &mut Pools) -> Self {
        let net = sealane_kube::pod_net(&pod);
        let version = pod.resource_version().unwrap_or_default();
        let facts = Arc::new(PodFacts::of(&pod, pools));
        let status = pod.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let spec = pod.spec.unwrap_or_default();
        let demand = sealane_kube::demand(&spec, &net.name.namespace, &facts.labels);
        Self {
            uid: net.uid,
            version,
            node: Some(net.node_name).filter(|name| !name.is_empty()),
            scheduler: spec
                .scheduler_name
                .unwrap_or_else(|| "default-scheduler".to_owned()),
            demand: pools.demands.share(demand),
            gated: spec.scheduling_gates.is_some_and(|gates| !gates.is_empty()),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            finished: net.finished,
            refused: conditions
                .into_iter()
                .find(is_refusal)
                .map(|c| c.message.unwrap_or_default()),
            nominated: status.nominated_node_name.filter(|node| !node.is_empty()),
            facts,
        }
    }
}

fn is_refusal(condition: &PodCondition) -> bool {
    condition.type_ == "PodScheduled" && condition.status == "False"
}

/// A node's heartbeat: when the node last renewed its Lease, by the node's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LeaseView {
    pub renewed: Option<Timestamp>,
}

impl LeaseView {
    pub fn of(lease: Lease) -> Self {
        let renewed = lease.spec.and_then(|spec| spec.renew_time);
        Self {
            renewed: renewed.map(|time| time.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_has_just_registered() {
        let node = serde_json::from_value(json!({
            "metadata": {"name": "node-1", "uid": "u", "resourceVersion": "7", "labels": {"zone": "a"}},
            "status": {
                "allocatable": {"pods": "110"},
                "conditions": [
                    {"type": "MemoryPressure", "status": "False", "lastHeartbeatTime": "2026-11-21T00:00:00Z"},
                    {"type": "Ready", "status": "False", "lastHeartbeatTime": "2026-11-21T00:00:05Z"},
                ],
            },
        }))
        .unwrap();
        let view = NodeView::of(node);
        assert_eq!(view.ready, Some(Truth::False));
        assert_eq!(view.max_pods, Some(110));
        assert_eq!(
            view.heartbeat,
            Some("2026-11-21T00:00:05Z".parse().unwrap())
        );
        assert!(view.pod_cidrs.is_empty() && !view.unschedulable);
        assert_eq!(view.labels["zone"], "a");
    }

    #[test]
    fn a_pod_that_was_refused_once() {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "default", "uid": "u", "resourceVersion": "9"},
            "spec": {"containers": [], "nodeSelector": {"zone": "a"}},
            "status": {"conditions": [
                {"type": "PodScheduled", "status": "False", "message": "no nodes"},
            ]},
        }))
        .unwrap();
        let view = PodView::of(pod, &mut Pools::default());
        assert_eq!(view.refused.as_deref(), Some("no nodes"));
        assert_eq!(view.scheduler, "default-scheduler");
        assert_eq!(
            (view.node, view.finished, view.deleting),
            (None, false, false)
        );
    }
}
