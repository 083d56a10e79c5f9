//! Node ports at `::1`: no rule leads on from there, so the agent listens and calls in the client's place.

use std::net::{IpAddr, Ipv6Addr};

use super::{By, Rewrite, Step, Walk};
use crate::NodeView;
use crate::packet::Packet;
use crate::service::{self, Origin};
use crate::trace::{Place, Stage};

impl<'a> Walk<'a> {
    /// To one of the node's own addresses, from there: a connection of its own, which the rules see.
    pub(super) fn pass_on(
        &mut self,
        node: &'a NodeView,
        origin: Origin,
        packet: &mut Packet,
    ) -> Option<Step<'a>> {
        let from_here = origin == Origin::Node;
        if !from_here || packet.destination != IpAddr::V6(Ipv6Addr::LOCALHOST) {
            return None;
        }
        let (port, target) = service::behind_localhost(self.world, node, packet)?;
        let before = packet.clone();
        packet.source_port = None;
        packet.source = target.ip();
        packet.destination = target.ip();
        packet.destination_port = target.port();
        let stage = Stage::new(Place::Node(node.net.name.clone()), "listener")
            .line(
                "listens",
                format!("the agent, at {} for {port}", before.target()),
            )
            .line("calls", format!("{target}, by a connection of its own"));
        self.there.push(stage.rewritten(before.clone(), packet));
        self.rewrites.push(Rewrite {
            node: node.net.name.clone(),
            by: By::Relay,
            before,
            after: packet.clone(),
        });
        Some(Step::Node(node, Origin::Node))
    }
}
