//! The rules that a packet to a Service meets on a node: the walk of crate ruleset through the
//! program that the node's agent would load, or of crate iptables through its chains.

use std::net::{IpAddr, SocketAddr};

use sealane_iptables::walk as chains;
use sealane_net::{Family, ProxyMode};
use sealane_ruleset::Hook;
use sealane_ruleset::services::{self, Flow, Image, Outcome, ServiceProgram, World};
use sealane_service::ServiceTable;

use crate::NodeView;
use crate::packet::Packet;
use crate::service::Origin;

/// What the rules make of a packet.
#[derive(Default)]
pub(crate) struct Walked {
    /// Each rule that did something before the packet was routed: `chain: text`.
    pub texts: Vec<String>,
    /// Where it goes on to.
    pub to: Option<SocketAddr>,
    /// The rule by which it leaves with the node's address.
    pub masquerade: Option<String>,
}

/// A packet that comes to a node.
pub(crate) struct Coming<'a> {
    pub table: &'a ServiceTable,
    pub node: &'a NodeView,
    pub origin: Origin,
    pub packet: &'a Packet,
    pub mode: ProxyMode,
}

impl Coming<'_> {
    /// Walks the packet through the rules. Of several endpoints the one that is known is chosen, else the first.
    pub(crate) fn walk(&self, known: Option<SocketAddr>) -> Walked {
        let (walked, count) = self.choosing(0);
        if known.is_none() || walked.to == known {
            return walked;
        }
        let others = (1..count).map(|nth| self.choosing(nth).0);
        let mut found = others.filter(|other| other.to == known);
        found.next().unwrap_or(walked)
    }

    /// The walk to one of the endpoints, and how many there are.
    fn choosing(&self, nth: usize) -> (Walked, usize) {
        match self.mode {
            ProxyMode::Nftables => self.tables(nth),
            ProxyMode::Iptables => self.chains(nth),
            ProxyMode::None => (Walked::default(), 0),
        }
    }

    fn local_addresses(&self) -> Vec<IpAddr> {
        let (node, packet) = (self.node, self.packet);
        let gateways = [packet.destination, packet.source].map(|like| node.gateway(like));
        let local = node.net.internal_ips.iter().copied();
        let loopback = Some(packet.source).filter(IpAddr::is_loopback);
        let local = local.chain(gateways.into_iter().flatten());
        local.chain(loopback).collect()
    }

    fn tables(&self, nth: usize) -> (Walked, usize) {
        let packet = self.packet;
        let family = Family::from(packet.destination);
        let pods: Vec<_> = self.node.pod_networks().collect();
        let (program, _) =
            ServiceProgram::restore(family, &Image::default(), &pods, self.table.iter());
        let loaded = program.loaded();
        let world = World {
            local_addresses: self.local_addresses(),
        };
        let flow = Flow {
            origin: match self.origin {
                Origin::Node => services::Origin::Node,
                Origin::Pod | Origin::Outside => services::Origin::Link,
            },
            source: packet.source,
            destination: packet.destination,
            port: packet.destination_port,
            protocol: packet.protocol,
            mark: 0,
        };
        let mut count = 1;
        let mut choose = |modulus: u32| {
            count = modulus as usize;
            nth as u32
        };
        let trace = services::walk(&loaded, &world, &flow, &mut choose);
        let mut walked = Walked::default();
        for step in &trace.steps {
            let text = loaded.rule_text(step).unwrap_or_default();
            let text = format!("{}: {text}", step.chain);
            if step.effect.starts_with("jump ") {
                continue;
            }
            if step.hook != Hook::Postrouting {
                walked.texts.push(text);
            } else if step.effect == "masquerade" {
                walked.masquerade = Some(format!("{}, {text}", loaded.table.title()));
            }
        }
        if let Outcome::Passed {
            destination, port, ..
        } = trace.outcome
        {
            walked.to = Some(SocketAddr::new(destination, port));
        }
        (walked, count)
    }

    fn chains(&self, nth: usize) -> (Walked, usize) {
        let packet = self.packet;
        let choices = sealane_iptables::Choices {
            pods: self.node.pod_networks().collect(),
            node: self.node.net.internal_ips.clone(),
            ..sealane_iptables::Choices::new(Family::from(packet.destination))
        };
        let program = sealane_iptables::compile(self.table.iter(), &choices);
        let flow = chains::Flow {
            from_node: self.origin == Origin::Node,
            source: packet.source,
            destination: packet.destination,
            port: packet.destination_port,
            protocol: packet.protocol,
        };
        let (mut count, mut passed) = (1, 0);
        // The first of them takes one in `count`, the last is behind all that choose.
        let mut choose = |chance: f64| {
            if passed == 0 {
                count = (1.0 / chance).round() as usize;
            }
            passed += 1;
            passed > nth
        };
        let trace = chains::walk(&program, &self.local_addresses(), &flow, &mut choose);
        let mut walked = Walked::default();
        for step in &trace.steps {
            let text = format!("{}: {}", step.table.word(), step.rule);
            if !step.is_routed || step.target() == "DROP" || step.target() == "REJECT" {
                walked.texts.push(text);
            } else if step.target() == "MASQUERADE" {
                walked.masquerade = Some(text);
            }
        }
        if let chains::Outcome::Passed { to, .. } = trace.outcome {
            walked.to = Some(to);
        }
        (walked, count)
    }
}
