//! Addresses that mean two things.

use std::net::IpAddr;

use sealane_net::{IpNet, Route, names};
use sealane_objects::NodeNet;

use crate::finding::Finding;
use crate::snapshot::Snapshot;

pub fn judge(s: &Snapshot) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(foreign_networks(s));
    found.extend(ranges(s));
    found.extend(s.nodes.iter().flat_map(|nodes| between_nodes(nodes)));
    found.extend(not_here(s));
    found
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// What pods and Services are called, with the range.
fn reserved(s: &Snapshot) -> Vec<(String, IpNet)> {
    let name = |node: &NodeNet| format!("pods of {}", node.name);
    let nodes = s.nodes.iter().flatten();
    let subnets = nodes.flat_map(|node| node.pod_cidrs.iter().map(move |net| (name(node), *net)));
    let mut all: Vec<(String, IpNet)> = subnets.collect();
    if all.is_empty() {
        let own = s.pod_subnets();
        all.extend(own.into_iter().map(|net| ("pods of this node".into(), net)));
    }
    all.extend(s.services.iter().map(|net| ("Services".into(), *net)));
    all
}

/// Routes of others that lead into our ranges: the longer prefix wins.
fn foreign_networks(s: &Snapshot) -> Vec<Finding> {
    let is_foreign = |route: &&Route| {
        route.protocol != names::ROUTE_PROTOCOL
            && route.destination.prefix_len() > 0
            && !route.device.as_deref().is_some_and(Snapshot::is_ours)
    };
    let mut found = Vec::new();
    let reserved = reserved(s);
    for route in s.routes.iter().filter(is_foreign) {
        let hit = reserved
            .iter()
            .find(|(_, net)| overlap(net, &route.destination));
        let Some((what, net)) = hit else { continue };
        let device = route.device.as_deref().unwrap_or("a gateway");
        let wins = route.destination.prefix_len() >= net.prefix_len();
        let seen = format!("route {route} and the addresses of {what}, {net}, overlap");
        found.push(if wins {
            Finding::error("address-conflict", seen)
                .because(format!("packets to them go to {device} instead"))
                .next(format!("give the network behind {device} other addresses, or: ip route delete {}", route.destination))
        } else {
            Finding::warning("address-conflict", seen)
                .because(format!("hosts behind {device} that have such an address are not reached from this node or its pods"))
                .next("choose ranges for the cluster that the site does not use, or number that network anew")
        });
    }
    found
}

/// Nodes' addresses inside the ranges of pods or Services.
fn ranges(s: &Snapshot) -> Vec<Finding> {
    let nodes = s.nodes.iter().flatten();
    let all = nodes.flat_map(|node| node.internal_ips.iter().map(move |ip| (node, ip)));
    let reserved = reserved(s);
    let mut found: Vec<Finding> = all
        .filter_map(|(node, ip)| {
            let (what, net) = reserved.iter().find(|(_, net)| net.contains(ip))?;
            Some(
                Finding::error("address-conflict", format!("{} has address {ip}, which is one of {what}, {net}", node.name))
                    .because("packets to the node go into the range of pods or Services, or the other way round")
                    .next("choose --cluster-cidr and --service-cluster-ip-range apart from the nodes' network"),
            )
        })
        .collect();
    for (what, net) in reserved.iter().filter(|(what, _)| what != "Services") {
        if let Some(services) = s.services.iter().find(|other| overlap(net, other)) {
            found.push(
                Finding::error(
                    "address-conflict",
                    format!("addresses of {what}, {net}, and of Services, {services}, overlap"),
                )
                .because("a pod may get the address of a Service and is then not reached")
                .next("choose --service-cluster-ip-range apart from --cluster-cidr"),
            );
        }
    }
    found
}

/// Two nodes that claim the same.
fn between_nodes(nodes: &[NodeNet]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        for other in &nodes[place + 1..] {
            for ip in node
                .internal_ips
                .iter()
                .filter(|ip| other.internal_ips.contains(ip))
            {
                found.push(
                    Finding::error("duplicate-node-address", format!("{} and {} both have InternalIP {ip}", node.name, other.name))
                        .because("what is meant for pods of the one goes to the other")
                        .next(format!("kubectl get nodes -o wide; delete the Node that is gone, or correct --node-ip of its kubelet ({} or {})", node.name, other.name)),
                );
            }
            for (a, b) in pairs(&node.pod_cidrs, &other.pod_cidrs) {
                if overlap(a, b) {
                    found.push(
                        Finding::error("duplicate-pod-subnet", format!("{} has pod subnet {a}, {} has {b}", node.name, other.name))
                            .because("two pods may have the same address, and one of them is not reached")
                            .next(format!("drain and delete the younger Node, so that it gets another subnet: kubectl delete node {}", other.name)),
                    );
                }
            }
        }
    }
    found
}

fn pairs<'a>(
    left: &'a [IpNet],
    right: &'a [IpNet],
) -> impl Iterator<Item = (&'a IpNet, &'a IpNet)> {
    left.iter()
        .flat_map(move |a| right.iter().map(move |b| (a, b)))
}

/// The node's own address must be on one of its links.
fn not_here(s: &Snapshot) -> Option<Finding> {
    let node = s.this_node()?;
    let here = |ip: &IpAddr| s.addresses.iter().any(|a| a.address.addr() == *ip);
    let ip = node.internal_ips.first().filter(|ip| !here(ip))?;
    Some(
        Finding::error("node-address", format!("Node {} has InternalIP {ip}, which no link here has", node.name))
            .because("other nodes send this node's pods' packets to an address that is not here")
            .next(format!("is this the node's network namespace? Then: kubectl get node {} -o wide, and correct --node-ip of its kubelet", node.name)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::stage::{after, foreign, node};
    use super::*;

    #[test]
    fn one_address_for_two_things_is_told() {
        let with_route =
            |to: &'static str| after(move |s| s.routes.push(foreign(to, "docker0", None)));
        assert_eq!(with_route("192.168.0.0/16"), [""; 0]);
        // Longer than the pods' route, so it wins; and shorter.
        assert_eq!(with_route("10.244.2.128/25"), ["address-conflict"]);
        assert_eq!(with_route("10.0.0.0/8"), ["address-conflict"]);
        assert_eq!(with_route("10.96.0.0/16"), ["address-conflict"]);
        let services = |s: &mut Snapshot| s.services = vec!["10.244.0.0/20".parse().unwrap()];
        assert!(after(services).contains(&"address-conflict"));
    }

    #[test]
    fn two_nodes_with_one_address_or_subnet_are_told() {
        let same_ip = |s: &mut Snapshot| {
            let nodes = s.nodes.as_mut().unwrap();
            nodes.push(NodeNet {
                internal_ips: nodes[1].internal_ips.clone(),
                pod_cidrs: vec![],
                ..node(9)
            });
        };
        assert_eq!(after(same_ip), ["duplicate-node-address"]);
        let same_subnet = |s: &mut Snapshot| {
            let nodes = s.nodes.as_mut().unwrap();
            nodes[2].pod_cidrs = nodes[1].pod_cidrs.clone();
        };
        assert_eq!(
            after(same_subnet),
            ["duplicate-pod-subnet", "peer-route", "stale-route"]
        );
    }

    #[test]
    fn a_node_is_where_its_address_is() {
        let moved = |s: &mut Snapshot| {
            s.nodes.as_mut().unwrap()[0].internal_ips = vec!["172.29.0.77".parse().unwrap()];
        };
        assert_eq!(after(moved), ["node-address"]);
    }
}
