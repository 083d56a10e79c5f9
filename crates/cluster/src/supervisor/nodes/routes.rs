//! This machine's routes to the pods of each node: its pod subnets, and its blocks of named pools.

use std::net::IpAddr;

use ipnet::IpNet;
use sealane_kube::Mirror;
use sealane_net::{Ranges, Route, names};
use sealane_netlink::Netlink;
use sealane_objects::{NodeNet, PoolNet};
use sealane_route::{Change, Routing, Underlay, compile, diff};

use super::View;
use crate::plan::Plan;

/// Brings this machine's routes to what the Nodes say. Returns those in place.
pub async fn set_routes(
    netlink: &Netlink,
    plan: &Plan,
    mirror: &Mirror<View>,
    pools: &Mirror<PoolNet>,
) -> Vec<Route> {
    let link = plan.name.machine_link();
    let routes = netlink.routes().await.unwrap_or_else(|error| {
        tracing::warn!("{error}");
        Vec::new()
    });
    let is_ours = |route: &Route| {
        route.protocol == names::ROUTE_PROTOCOL && route.device.as_deref() == Some(&link)
    };
    let (observed, others): (Vec<Route>, Vec<Route>) = routes.into_iter().partition(is_ours);
    let blocks = Blocks::of(plan, pools, &others);
    let mut desired = desired_routes(plan, mirror, &blocks);
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

/// Blocks of pools that this machine may send to a node.
///
/// A pool is written by users, and must not redirect this machine's traffic:
/// only private addresses count, of which neither the cluster nor another route
/// of this machine has any.
#[derive(Default)]
pub struct Blocks(Vec<(String, IpNet)>);

impl Blocks {
    /// `others` are the machine's routes that are not ours.
    pub fn of(plan: &Plan, pools: &Mirror<PoolNet>, others: &[Route]) -> Self {
        let elsewhere = others.iter().map(|route| route.destination);
        let mut taken: Vec<IpNet> = elsewhere.filter(|net| net.prefix_len() > 0).collect();
        for ranges in [&plan.cluster_cidr, &plan.node_cidr, &plan.service_cidr] {
            taken.extend(ranges.iter());
        }
        let is_free = |block: &IpNet| {
            is_private(block)
                && !taken
                    .iter()
                    .any(|net| net.contains(block) || block.contains(net))
        };
        let mut blocks = Vec::new();
        for pool in pools.values() {
            for (node, of_node) in &pool.blocks {
                let inside = of_node
                    .iter()
                    .filter(|block| pool.ranges.iter().any(|range| range.contains(*block)));
                blocks.extend(inside.map(|block| (node.clone(), *block)));
            }
        }
        blocks.retain(|(_, block)| is_free(block));
        Self(blocks)
    }

    fn of_node(&self, node: &str) -> Vec<IpNet> {
        let blocks = self.0.iter().filter(|(of, _)| of == node);
        blocks.map(|(_, block)| *block).collect()
    }

    fn has(&self, network: &IpNet) -> bool {
        self.0.iter().any(|(_, block)| block == network)
    }
}

/// RFC 1918, RFC 6598 (shared), RFC 2544 (benchmarks), RFC 4193.
fn is_private(network: &IpNet) -> bool {
    let within = |net: [u8; 4], length| match network.network() {
        IpAddr::V4(first) => {
            let bits = u32::from(first) ^ u32::from_be_bytes(net);
            network.prefix_len() >= length && bits.leading_zeros() >= u32::from(length)
        }
        IpAddr::V6(_) => false,
    };
    let six = match network.network() {
        IpAddr::V4(_) => false,
        IpAddr::V6(first) => network.prefix_len() >= 7 && first.is_unique_local(),
    };
    six || within([10, 0, 0, 0], 8)
        || within([172, 16, 0, 0], 12)
        || within([192, 168, 0, 0], 16)
        || within([100, 64, 0, 0], 10)
        || within([198, 18, 0, 0], 15)
}

/// One route for each pod subnet. Only inside the cluster's own ranges: a Node
/// object is written by users, and must not redirect this machine's traffic.
pub fn desired_routes(plan: &Plan, mirror: &Mirror<View>, blocks: &Blocks) -> Vec<Route> {
    let with_blocks = |view: &View| NodeNet {
        pod_ranges: blocks.of_node(&view.net.name),
        ..view.net.clone()
    };
    let nodes: Vec<NodeNet> = mirror.values().map(with_blocks).collect();
    let link = plan.name.machine_link();
    let inside = |route: &Route| {
        (contains(&plan.cluster_cidr, &route.destination) || blocks.has(&route.destination))
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
