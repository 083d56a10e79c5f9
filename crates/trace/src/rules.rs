//! The rules that a packet to a Service meets on a node: the walk of crate ruleset through the
//! program that the node's agent would load.

use std::net::IpAddr;

use sealane_net::Family;
use sealane_ruleset::Hook;
use sealane_ruleset::services::{self, Flow, Image, Outcome, ServiceProgram, World};
use sealane_service::ServiceTable;

use crate::NodeView;
use crate::packet::Packet;
use crate::service::Origin;

/// What the rules make of a packet.
pub(crate) struct Walked {
    /// Each rule that did something before the packet was routed: `chain: text`.
    pub texts: Vec<String>,
    /// Where it goes on to.
    pub to: Option<(IpAddr, u16)>,
    /// The rule by which it leaves with the node's address.
    pub masquerade: Option<String>,
}

/// Walks the packet through the rules. Of several endpoints the first is chosen.
pub(crate) fn walk(
    table: &ServiceTable,
    node: &NodeView,
    origin: Origin,
    packet: &Packet,
) -> Walked {
    let family = Family::from(packet.destination);
    let pods: Vec<_> = node.pod_networks().collect();
    let (program, _) = ServiceProgram::restore(family, &Image::default(), &pods, table.iter());
    let loaded = program.loaded();
    let gateways = [packet.destination, packet.source].map(|like| node.gateway(like));
    let local = node.net.internal_ips.iter().copied();
    let world = World {
        local_addresses: local.chain(gateways.into_iter().flatten()).collect(),
    };
    let flow = Flow {
        origin: match origin {
            Origin::Node => services::Origin::Node,
            Origin::Pod | Origin::Outside => services::Origin::Link,
        },
        source: packet.source,
        destination: packet.destination,
        port: packet.destination_port,
        protocol: packet.protocol,
        mark: 0,
    };
    let trace = services::walk(&loaded, &world, &flow, &mut |_| 0);
    let mut walked = Walked {
        texts: Vec::new(),
        to: None,
        masquerade: None,
    };
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
        walked.to = Some((destination, port));
    }
    walked
}
