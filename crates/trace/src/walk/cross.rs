//! Off the node: to another one, or out of the cluster, with the address that it leaves with.

use std::net::IpAddr;

use sealane_net::{Family, IpNet, Mtu, Route, names};
use sealane_route::{RouteTable, Underlay, compile};
use sealane_ruleset::{NodeEgress, node_egress};

use super::{Step, Walk};
use crate::packet::{Ethernet, Packet};
use crate::service::{Masquerade, Origin};
use crate::trace::{Death, HopKind, Place, Stage};
use crate::{NodeView, Snapshot};

impl<'a> Walk<'a> {
    /// Over the wire to another node.
    pub(super) fn cross_to(
        &mut self,
        node: &'a NodeView,
        other: &'a NodeView,
        packet: &mut Packet,
        masquerade: Option<Masquerade>,
    ) -> Result<Step<'a>, Death> {
        let place = Place::Node(node.net.name.clone());
        let table = routes(self.world, node, packet.source);
        let route = best(&table, packet.destination);
        let behind = other.has_pods_at(packet.destination);
        if behind && route.is_none() {
            let stage = Stage::new(place, "route");
            self.there.push(stage.with(packet));
            let problem = table.problems.iter().map(ToString::to_string);
            let problem = problem.filter(|text| text.contains(&other.net.name));
            return Err(Death::new(format!(
                "node {} has no route to the pods of node {}",
                node.net.name, other.net.name
            ))
            .of(format!("node {}", other.net.name))
            .because(problem));
        }
        self.masquerade(node, node.address(packet.destination), masquerade, packet);
        let tunnel = route
            .filter(|route| route.device.as_deref() == Some(names::VXLAN))
            .and_then(|_| {
                let of = |tunnel: &&sealane_route::Tunnel| tunnel.node == other.net.name;
                table.tunnels.iter().find(of)
            });
        packet.ethernet = Some(Ethernet {
            from: node.net.name.clone(),
            to: other.net.name.clone(),
        });
        let text = match route {
            Some(route) => route.to_string(),
            None => format!("{} dev {}", packet.destination, names::UPLINK),
        };
        let mut stage = Stage::new(place, "route").line("route", text);
        if let Some(tunnel) = tunnel {
            let from = node.address(tunnel.address).unwrap_or(packet.source);
            packet.datagram = Some((from, tunnel.address));
            let text = format!(
                "{} wraps it into UDP to {} port {}",
                names::VXLAN,
                tunnel.address,
                names::VXLAN_PORT
            );
            stage = stage.line("tunnel", text);
        }
        self.there.push(stage.with(packet));
        packet.datagram = None;
        packet.ethernet = None;
        if let Some(why) = &other.not_ready {
            let text = format!("node {} is not ready: {why}", other.net.name);
            self.notes.push(text);
        }
        Ok(Step::Node(other, Origin::Outside))
    }

    /// Out of the cluster, with the node's address.
    pub(super) fn go_out(
        &mut self,
        node: &'a NodeView,
        packet: &mut Packet,
        masquerade: Option<Masquerade>,
    ) -> Result<Step<'a>, Death> {
        let own = node.address(packet.destination);
        let egress = egress_rule(self.world, node, packet);
        self.masquerade(node, own, masquerade.or(egress), packet);
        let place = Place::Node(node.net.name.clone());
        packet.ethernet = Some(Ethernet {
            from: node.net.name.clone(),
            to: "next hop".to_owned(),
        });
        let mut ranges = self.world.settings.node_ranges.iter();
        let near = ranges.find(|range| range.contains(&packet.destination));
        let route = match near {
            Some(range) => format!("{range} dev {}", names::UPLINK),
            None => format!("default dev {}", names::UPLINK),
        };
        let stage = Stage::new(place, "route").line("route", route);
        self.there.push(stage.with(packet));
        packet.ethernet = None;
        self.hop(HopKind::Outside, "outside", Some(packet.destination));
        if near.is_some() {
            let at = packet.target();
            return Ok(Step::Arrived(format!(
                "{at}  beside the nodes, outside of the cluster"
            )));
        }
        if self.world.settings.internet == Some(false) {
            return Err(
                Death::new("this machine lets nothing of the nodes out: --no-internet")
                    .next("run `sealane up` without --no-internet"),
            );
        }
        self.notes
            .push("beyond the nodes nothing is known".to_owned());
        Ok(Step::Arrived(format!(
            "{}  outside of the cluster",
            packet.target()
        )))
    }

    pub(super) fn masquerade(
        &mut self,
        node: &NodeView,
        address: Option<IpAddr>,
        why: Option<Masquerade>,
        packet: &mut Packet,
    ) {
        let (Some(why), Some(address)) = (why, address) else {
            return;
        };
        if packet.source == address {
            return;
        }
        // The node has taken the frame off.
        packet.ethernet = None;
        let before = packet.clone();
        packet.source = address;
        // The kernel draws another one.
        packet.source_port = None;
        let stage = Stage::new(Place::Node(node.net.name.clone()), "masquerade");
        let stage = stage.line("why", why.why).line("rule", why.rule);
        self.there.push(stage.rewritten(before, packet));
    }
}

/// The routes of a node, as its agent computes them.
fn routes(world: &Snapshot, node: &NodeView, like: IpAddr) -> RouteTable {
    let nets: Vec<_> = world.nodes.iter().map(|node| node.net.clone()).collect();
    let address = node
        .address(like)
        .or(node.net.internal_ips.first().copied());
    let Some(address) = address else {
        return RouteTable::default();
    };
    let ranges = &world.settings.node_ranges;
    let on_link = if ranges.is_empty() {
        let addresses = nets.iter().flat_map(|net| &net.internal_ips);
        addresses.map(|address| IpNet::from(*address)).collect()
    } else {
        let own = |range: &&IpNet| node.net.internal_ips.iter().any(|ip| range.contains(ip));
        ranges.iter().filter(own).copied().collect()
    };
    let underlay = Underlay {
        routing: world.settings.routing,
        on_link,
        ..Underlay::of(address, Mtu::ETHERNET)
    };
    compile(&node.net.name, &nets, &underlay)
}

fn best(table: &RouteTable, to: IpAddr) -> Option<&Route> {
    let fitting = table
        .routes
        .iter()
        .filter(|route| route.table == Route::MAIN && route.destination.contains(&to));
    fitting.max_by_key(|route| route.destination.prefix_len())
}

/// The rule by which pods leave the cluster with their node's address, if the packet is a pod's.
fn egress_rule(world: &Snapshot, node: &NodeView, packet: &Packet) -> Option<Masquerade> {
    if !node.has_pods_at(packet.source) {
        return None;
    }
    let all = world.nodes.iter();
    let egress = NodeEgress {
        local_pods: node.pod_networks().collect(),
        cluster_pods: all.clone().flat_map(NodeView::pod_networks).collect(),
        nodes: all.flat_map(|node| node.net.internal_ips.clone()).collect(),
        ..NodeEgress::default()
    };
    let family = Family::from(packet.source);
    let table = node_egress(family, &egress)?;
    let chain = table
        .chains
        .iter()
        .find(|chain| chain.name == "postrouting")?;
    let rule = chain.rules.first()?;
    let rule = format!("{}, {}: {}", table.title(), chain.name, rule.text(family));
    Some(Masquerade {
        why: "pods leave the cluster with their node's address".to_owned(),
        rule,
    })
}
