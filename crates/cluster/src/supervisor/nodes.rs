//! Nodes as the API shows them, and this machine's routes to their pods.
//!
//! The watch is the supervisor's only view of the cluster. It tells when the
//! cluster is ready, and which pod subnet is behind which node. This machine is
//! a client of the cluster, not a part of it; the routes are a convenience, so
//! that `curl POD-IP` works where a person would try it first.

use std::pin::pin;

use futures::StreamExt;
use ipnet::IpNet;
use sealane_kube::k8s_openapi::api::core::v1::Node;
use sealane_kube::{Access, Api, Change, Filter, Mirror, client, node_net, watch_as};
use sealane_net::{Ranges, Route, names};
use sealane_netlink::Netlink;
use sealane_objects::NodeNet;
use sealane_route::{compile, diff};
use tokio::sync::mpsc;

use super::Event;
use super::snapshot::NodeState;
use crate::layout::Layout;
use crate::plan::Plan;

/// A Node, cut down to what the supervisor needs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    net: NodeNet,
    ready: bool,
    reason: Option<String>,
}

/// Follows the Nodes for as long as `events` is listened to.
///
/// # Errors
/// When there is no usable kubeconfig, or no netlink socket.
pub async fn follow(layout: Layout, plan: Plan, events: mpsc::Sender<Event>) -> anyhow::Result<()> {
    let client = client(&Access::from_kubeconfig(layout.kubeconfig()), "supervisor").await?;
    let netlink = Netlink::in_current()?;
    let mut changes = pin!(watch_as(Api::<Node>::all(client), &Filter::all(), |node| {
        view(&node)
    }));
    let mut mirror = Mirror::default();
    while let Some(change) = changes.next().await {
        if is_news(&mirror, &change) {
            mirror.apply(change);
            let routed = set_routes(&netlink, &plan, &mirror).await;
            let states = node_states(&plan, &mirror, &routed);
            if events.send(Event::Nodes(states)).await.is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// Heartbeats change a Node every few seconds and matter to nobody here.
fn is_news(mirror: &Mirror<View>, change: &Change<View>) -> bool {
    match change {
        Change::Applied(name, view) => mirror.get(name) != Some(view),
        Change::Reset(_) | Change::Deleted(..) => true,
    }
}

fn view(node: &Node) -> View {
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
    View {
        net: node_net(node),
        ready,
        reason,
    }
}

/// Brings this machine's routes to what the Nodes say. Returns those in place.
async fn set_routes(netlink: &Netlink, plan: &Plan, mirror: &Mirror<View>) -> Vec<Route> {
    let link = plan.name.machine_link();
    let observed = match netlink.routes_of(names::ROUTE_PROTOCOL).await {
        Ok(routes) => routes
            .into_iter()
            .filter(|route| route.device.as_deref() == Some(&link))
            .collect(),
        Err(error) => {
            tracing::warn!("{error}");
            Vec::new()
        }
    };
    let mut desired = desired_routes(plan, mirror);
    for change in diff(&observed, &desired) {
        let (route, done) = match change {
            sealane_route::Change::Set(route) => (route.clone(), netlink.set_route(&route).await),
            sealane_route::Change::Delete(route) => {
                (route.clone(), netlink.delete_route(&route).await.map(drop))
            }
        };
        if let Err(error) = done {
            tracing::warn!("{error}");
            desired.retain(|other| *other != route);
        }
    }
    desired
}

/// One route for each pod subnet. Only inside the cluster's own ranges: a Node
/// object is written by users, and must not redirect this machine's traffic.
fn desired_routes(plan: &Plan, mirror: &Mirror<View>) -> Vec<Route> {
    let nodes: Vec<NodeNet> = mirror.values().map(|view| view.net.clone()).collect();
    let link = plan.name.machine_link();
    let inside = |route: &Route| {
        contains(&plan.cluster_cidr, &route.destination)
            && route
                .gateway
                .is_some_and(|gateway| plan.node_cidr.contains(gateway))
    };
    let table = compile("", &nodes);
    for problem in &table.problems {
        tracing::warn!("{problem}");
    }
    table
        .routes
        .into_iter()
        .filter(inside)
        .map(|route| route.dev(link.clone()))
        .collect()
}

fn contains(ranges: &Ranges, network: &IpNet) -> bool {
    ranges.iter().any(|range| range.contains(network))
}

fn node_states(plan: &Plan, mirror: &Mirror<View>, routes: &[Route]) -> Vec<NodeState> {
    let state = |name: String| match mirror.get_cluster_wide(&name) {
        Some(view) => NodeState {
            ready: view.ready,
            reason: view
                .reason
                .clone()
                .or_else(|| (!view.ready).then(|| "has not reported yet".to_owned())),
            routed: routed(&view.net, routes),
            name,
        },
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

#[cfg(test)]
mod tests {
    use sealane_objects::ObjectName;

    use super::*;
    use crate::plan::{Asked, Observed, resolve};

    fn node(name: &str, ip: &str, subnet: &str, ready: bool) -> (ObjectName, View) {
        let net = NodeNet {
            name: name.to_owned(),
            internal_ips: vec![ip.parse().unwrap()],
            pod_cidrs: vec![subnet.parse().unwrap()],
        };
        (
            ObjectName::new("", name),
            View {
                net,
                ready,
                reason: None,
            },
        )
    }

    fn mirror(nodes: Vec<(ObjectName, View)>) -> Mirror<View> {
        let mut mirror = Mirror::default();
        mirror.apply(Change::Reset(nodes));
        mirror
    }

    #[test]
    fn a_route_for_each_node_and_none_that_leads_out_of_the_cluster() {
        let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
        let mirror = mirror(vec![
            node("node-1", "172.29.0.2", "10.244.0.0/24", true),
            node("forged-gateway", "192.0.2.9", "10.244.7.0/24", true),
            node("forged-subnet", "172.29.0.9", "8.8.8.0/24", true),
        ]);
        let routes: Vec<String> = desired_routes(&plan, &mirror)
            .iter()
            .map(Route::to_string)
            .collect();
        assert_eq!(routes.len(), 1, "{routes:?}");
        assert!(
            routes[0].starts_with("10.244.0.0/24 via 172.29.0.2 dev sealane0"),
            "{routes:?}"
        );
    }

    #[test]
    fn nodes_are_shown_whether_they_have_registered_or_not() {
        let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
        let mirror = mirror(vec![node("node-1", "172.29.0.2", "10.244.0.0/24", true)]);
        let states = node_states(&plan, &mirror, &desired_routes(&plan, &mirror));
        assert!(states[0].ready && states[0].reason.is_none());
        assert_eq!(states[0].routed, ["10.244.0.0/24".parse().unwrap()]);
        assert_eq!(states[1].reason.as_deref(), Some("has not registered yet"));
    }

    #[test]
    fn a_heartbeat_is_no_news() {
        let (name, view) = node("node-1", "172.29.0.2", "10.244.0.0/24", true);
        let mirror = mirror(vec![(name.clone(), view.clone())]);
        assert!(!is_news(
            &mirror,
            &Change::Applied(name.clone(), view.clone())
        ));
        assert!(is_news(
            &mirror,
            &Change::Applied(
                name,
                View {
                    ready: false,
                    ..view
                }
            )
        ));
    }
}
