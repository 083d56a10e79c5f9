//! A Node, cut down to what the supervisor needs.

use ipnet::IpNet;
use sealane_kube::k8s_openapi::api::core::v1::Node;
use sealane_kube::{Mirror, node_net};
use sealane_net::Route;
use sealane_objects::NodeNet;

use super::doubt::Doubt;
use crate::plan::Plan;
use crate::supervisor::snapshot::NodeState;

/// A Node, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its addresses and pod subnets.
    pub net: NodeNet,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// Why not, in its own words.
    pub reason: Option<String>,
}

impl View {
    /// Cuts a Node down.
    pub fn of(node: &Node) -> Self {
        let conditions = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref());
        let condition = conditions
            .unwrap_or_default()
            .iter()
            .find(|condition| condition.type_ == "Ready");
        let ready = condition.is_some_and(|condition| condition.status == "True");
        let reason = condition
            .and_then(|condition| condition.message.clone())
            .filter(|_| !ready);
        Self {
            net: node_net(node),
            ready,
            reason,
        }
    }
}

/// The nodes of the plan, whether they have registered or not.
pub fn node_states(
    plan: &Plan,
    mirror: &Mirror<View>,
    doubt: &Doubt,
    routes: &[Route],
) -> Vec<NodeState> {
    let state = |name: String| match mirror.get_cluster_wide(&name) {
        Some(view) => {
            let ready = view.ready && !doubt.holds(&name);
            let silent = (!ready).then(|| "has not reported yet".to_owned());
            NodeState {
                ready,
                reason: view.reason.clone().or(silent),
                routed: routed(&view.net, routes),
                name,
            }
        }
        None => NodeState {
            reason: Some("has not registered yet".to_owned()),
            name,
            ..NodeState::default()
        },
    };
    plan.node_plans()
        .into_iter()
        .map(|node| state(node.name))
        .collect()
}

fn routed(node: &NodeNet, routes: &[Route]) -> Vec<IpNet> {
    let has_route = |subnet: &&IpNet| routes.iter().any(|route| route.destination == **subnet);
    node.pod_cidrs.iter().filter(has_route).copied().collect()
}
