//! This machine's routes to the pods of each node.

use ipnet::IpNet;
use sealane_kube::Mirror;
use sealane_net::{Ranges, Route, names};
use sealane_netlink::Netlink;
use sealane_objects::NodeNet;
use sealane_route::{Change, Routing, Underlay, compile, diff};

use super::View;
use crate::plan::Plan;

/// Brings this machine's routes to what the Nodes say. Returns those in place.
pub async fn set_routes(netlink: &Netlink, plan: &Plan, mirror: &Mirror<View>) -> Vec<Route> {
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
            Change::Set(route) => (route.clone(), netlink.set_route(&route).await),
            Change::Delete(route) => (route.clone(), netlink.delete_route(&route).await.map(drop)),
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
pub fn desired_routes(plan: &Plan, mirror: &Mirror<View>) -> Vec<Route> {
    let nodes: Vec<NodeNet> = mirror.values().map(|view| view.net.clone()).collect();
    let link = plan.name.machine_link();
    let inside = |route: &Route| {
        contains(&plan.cluster_cidr, &route.destination)
            && route
                .gateway
                .is_some_and(|gateway| plan.node_cidr.contains(gateway))
    };
    let table = compile("", &nodes, &underlay(plan));
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

/// This machine is on the nodes' link, and outside their overlay.
fn underlay(plan: &Plan) -> Underlay {
    let unspecified = std::net::Ipv4Addr::UNSPECIFIED.into();
    let own = plan.machine_addresses().first().map(IpNet::addr);
    Underlay {
        routing: Routing::Direct,
        on_link: plan.node_cidr.iter().collect(),
        ..Underlay::of(own.unwrap_or(unspecified), plan.mtu)
    }
}

fn contains(ranges: &Ranges, network: &IpNet) -> bool {
    ranges.iter().any(|range| range.contains(network))
}
