//! The ways to other nodes, and whether anybody is there. Nothing is sent: what the kernel has noticed counts.

use std::net::IpAddr;

use sealane_net::{IpNet, Route, names};
use sealane_objects::NodeNet;

use crate::finding::Finding;
use crate::snapshot::Snapshot;

pub fn judge(s: &Snapshot) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(links(s));
    found.extend(silent(s));
    for peer in s.peers() {
        found.extend(unreachable(s, peer));
        for subnet in &peer.pod_cidrs {
            found.extend(way(s, peer, subnet));
        }
    }
    found.extend(stale(s));
    found
}

/// Links that are down, or not where they belong.
fn links(s: &Snapshot) -> Vec<Finding> {
    let mut found = Vec::new();
    let uplink = s.uplink().map(|link| link.name.clone());
    for link in &s.links {
        let carries = Snapshot::is_ours(&link.name) || uplink.as_ref() == Some(&link.name);
        if carries && !link.up {
            found.push(
                Finding::error("link-down", format!("link {} is down", link.name))
                    .because("nothing passes it")
                    .next(format!("ip link set {} up", link.name)),
            );
        }
    }
    let bridge = s.link(names::POD_BRIDGE).map(|link| link.index);
    let pods = s.links.iter().filter(|l| names::is_pod_link(&l.name));
    // A pod that is attached by a route has one, whatever new pods get.
    let has_route = |name: &str| s.routes.iter().any(|r| r.device.as_deref() == Some(name));
    let loose =
        pods.filter(|link| bridge.is_some() && link.master != bridge && !has_route(&link.name));
    found.extend(loose.map(|link| {
        Finding::error(
            "link-not-on-bridge",
            format!(
                "link {} of a pod is no port of {}",
                link.name,
                names::POD_BRIDGE
            ),
        )
        .because("the pod has no network")
        .next(format!(
            "ip link set {} master {}",
            link.name,
            names::POD_BRIDGE
        ))
    }));
    found
}

/// Neighbours whose Ethernet address was asked for in vain, as far as packets of ours go there.
fn silent(s: &Snapshot) -> Vec<Finding> {
    let failed = |address: IpAddr| {
        s.neighbours
            .iter()
            .any(|n| n.failed && n.address == address)
    };
    let mut found = Vec::new();
    for peer in s.peers() {
        for ip in peer.internal_ips.iter().filter(|ip| failed(**ip)) {
            found.push(
                Finding::error("node-silent", format!("{} at {ip} does not say its Ethernet address (neighbour FAILED)", peer.name))
                    .because("its pods are not reached: the node is off, has another address, or something between filters")
                    .next(format!("ping -c1 {ip}; ip neighbour show {ip}; kubectl get node {}", peer.name)),
            );
        }
    }
    let gateway = s.routes.iter().find(|r| crate::snapshot::is_default(r));
    if let Some(ip) = gateway
        .and_then(|route| route.gateway)
        .filter(|ip| failed(*ip))
    {
        found.push(
            Finding::error(
                "gateway-silent",
                format!(
                    "the default gateway {ip} does not say its Ethernet address (neighbour FAILED)"
                ),
            )
            .because("neither the node nor its pods reach anybody outside")
            .next("ip route show default; is the gateway's address right, and its cable plugged?"),
        );
    }
    found
}

fn unreachable(s: &Snapshot, peer: &NodeNet) -> Option<Finding> {
    let ip = peer.internal_ips.first()?;
    s.route_to(*ip).is_none().then(|| {
        Finding::error(
            "node-route",
            format!("there is no route to {ip}, the address of {}", peer.name),
        )
        .because("neither the node nor its pods are reached")
        .next(format!(
            "ip route get {ip}; a default route or one to the nodes' network is missing"
        ))
    })
}

/// Whether packets to a peer's pods go to that peer.
fn way(s: &Snapshot, peer: &NodeNet, subnet: &IpNet) -> Option<Finding> {
    // Without an address there is no way, which the agent itself tells.
    peer.internal_ips.first()?;
    let finding = |seen: String| {
        Finding::error("peer-route", seen)
            .because(format!("pods of this node do not reach those of {}", peer.name))
            .next("sealane agent sets its routes again by itself within a second: is it running, ready and connected to the API server?")
    };
    let ours = |route: &&Route| {
        route.table == Route::MAIN
            && route.destination == *subnet
            && route.protocol == names::ROUTE_PROTOCOL
    };
    let Some(route) = s.routes.iter().find(ours) else {
        return Some(finding(format!(
            "there is no route to {subnet}, the pods of {}",
            peer.name
        )));
    };
    let through_overlay = route.device.as_deref() == Some(names::VXLAN);
    let to_peer = route
        .gateway
        .is_some_and(|ip| peer.internal_ips.contains(&ip));
    (!through_overlay && !to_peer)
        .then(|| finding(format!("{route} does not lead to {}", peer.name)))
}

/// Routes of ours to nodes that are gone.
fn stale(s: &Snapshot) -> Vec<Finding> {
    let Some(nodes) = &s.nodes else { return vec![] };
    let known = |net: &IpNet| nodes.iter().any(|node| node.pod_cidrs.contains(net));
    let ours = |route: &&Route| {
        route.table == Route::MAIN
            && route.protocol == names::ROUTE_PROTOCOL
            && route.gateway.is_some()
            && !known(&route.destination)
    };
    let stale = s.routes.iter().filter(ours);
    stale
        .map(|route| {
            Finding::warning(
                "stale-route",
                format!("{route} leads to pods of no node that there is"),
            )
            .because("a node that gets this subnet next is not reached")
            .next(format!(
                "the agent removes it when it runs; by hand: ip route delete {}",
                route.destination
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::stage::{after, ours};
    use super::*;

    #[test]
    fn silence_and_wrong_ways_are_told() {
        assert_eq!(after(|s| s.neighbours[0].failed = true), ["node-silent"]);
        let gateway = |s: &mut Snapshot| {
            s.neighbours[0].failed = true;
            s.neighbours[0].address = "172.29.0.1".parse().unwrap();
        };
        assert_eq!(after(gateway), ["gateway-silent"]);
        assert_eq!(after(|s| drop(s.routes.remove(3))), ["peer-route"]);
        let wrong = |s: &mut Snapshot| s.routes[3].gateway = "172.29.0.99".parse().ok();
        assert_eq!(after(wrong), ["peer-route"]);
        assert_eq!(after(|s| drop(s.routes.remove(0))), ["node-route"]);
        let old = |s: &mut Snapshot| s.routes.push(ours("10.244.9.0/24", "172.29.0.9", "eth0"));
        assert_eq!(after(old), ["stale-route"]);
        assert_eq!(after(|s| s.nodes = None), [""; 0]);
    }

    #[test]
    fn links_that_carry_nothing_are_told() {
        assert_eq!(after(|s| s.links[1].up = false), ["link-down"]);
        assert_eq!(after(|s| s.links[3].master = None), ["link-not-on-bridge"]);
    }
}
