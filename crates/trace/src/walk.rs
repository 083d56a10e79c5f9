//! The walk: from the sender through nodes to whoever takes the packet, and back.
//!
//! ```text
//!   leave ──► node: Service? ──► node: where to? ──┬─► pod of this node
//!             rewrite              route           ├─► other node ──► (from outside: Service?) …
//!                                                  └─► outside, masqueraded
//! ```
//!
//! Each step adds a stage and changes the packet; the first that cannot go on ends it with the
//! object at fault. The way back is told from what was rewritten on the way there, as connection
//! tracking does it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sealane_net::{Family, IpNet};

pub use self::leave::TraceError;
use self::leave::{addresses_of, place_of};
use crate::ask::{From, To};
use crate::packet::Packet;
use crate::resolve::{self, Client};
use crate::service::{self, Masquerade, Origin, Served};
use crate::trace::{Death, Hop, HopKind, Outcome, Place, Stage, Trace};
use crate::{NodeView, Snapshot};

mod arrive;
mod cross;
mod leave;
mod relay;

/// A packet that passes more nodes than this goes in circles.
const NODES_MAX: usize = 4;

/// What is known of a packet that was sent: without it, what could be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The endpoint that a node chose.
    pub endpoint: Option<SocketAddr>,
    /// The sender's port.
    pub source_port: Option<u16>,
}

/// Follows a packet through the cluster.
///
/// # Errors
/// When FROM is nobody who could send.
pub fn trace(
    world: &Snapshot,
    from: &From,
    to: &To,
    asked: (&str, &str),
    known: Known,
) -> Result<Trace, TraceError> {
    let own = addresses_of(world, from)?;
    let mut walk = Walk {
        world,
        from,
        known,
        there: Vec::new(),
        back: Vec::new(),
        hops: Vec::new(),
        notes: notes(world),
        rewrites: Vec::new(),
    };
    let client = Client {
        from,
        families: &own,
    };
    let outcome = match resolve::resolve(world, &client, to) {
        Err(death) => {
            let start = place_of(from);
            walk.hops.extend(walk.first_hop(&own));
            if let From::Node(name) = from {
                walk.hop(HopKind::Node, name, own.first().copied());
            }
            walk.there.push(Stage::new(start, "name"));
            Outcome::Dies(death)
        }
        Ok(target) => {
            if !target.lines.is_empty() {
                let mut stage = Stage::new(place_of(from), "name");
                stage.lines = target.lines;
                let at = SocketAddr::new(target.address, target.port);
                walk.there.push(stage.line("sends to", at.to_string()));
            }
            walk.run(&own, (target.address, target.port), to)
        }
    };
    let Walk {
        there,
        back,
        hops,
        notes,
        ..
    } = walk;
    Ok(Trace {
        from: asked.0.to_owned(),
        to: asked.1.to_owned(),
        outcome,
        hops,
        there,
        back,
        notes,
        live: None,
    })
}

fn notes(world: &Snapshot) -> Vec<String> {
    let mut notes = Vec::new();
    if world.policies > 0 {
        notes.push(format!(
            "{} NetworkPolicies are there; nothing enforces them yet, and they are not looked at",
            world.policies
        ));
    }
    if world.settings.node_ranges.is_empty() && world.nodes.len() > 1 {
        notes.push("all nodes are taken to share a link; if not, give --node-cidr".to_owned());
    }
    notes
}

/// What was rewritten at a node, for the way back.
struct Rewrite {
    node: String,
    by: By,
    before: Packet,
    after: Packet,
}

/// Who rewrites.
#[derive(Clone, Copy)]
enum By {
    /// The kernel, which keeps what was where.
    Tracking,
    /// A listener of the agent, which makes a connection of its own.
    Relay,
}

struct Walk<'a> {
    world: &'a Snapshot,
    from: &'a From,
    known: Known,
    there: Vec<Stage>,
    back: Vec<Stage>,
    hops: Vec<Hop>,
    notes: Vec<String>,
    rewrites: Vec<Rewrite>,
}

/// Where a packet is after a step.
enum Step<'a> {
    /// It has come to a node; whether from one of its pods or itself, or over the wire.
    Node(&'a NodeView, Origin),
    /// Somebody has it.
    Arrived(String),
}

impl<'a> Walk<'a> {
    fn run(&mut self, own: &[IpAddr], target: (IpAddr, u16), to: &To) -> Outcome {
        let like = |own: &&IpAddr| own.is_ipv4() == target.0.is_ipv4();
        // From where Linux sends to any of these.
        let loopback = match target.0 {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let source = match target.0.is_loopback() {
            true => Some(&loopback),
            false => own.iter().find(like),
        };
        self.hops.extend(self.first_hop(own));
        let Some(source) = source else {
            let family = Family::from(target.0);
            let who = place_of(self.from);
            let why = format!("{who} has no {family} address to send from");
            return Outcome::Dies(Death::new(why).of(who.to_string()).next(
                "send to an address of the other family, or give the nodes ranges of both (.spec.podCIDRs)",
            ));
        };
        let mut packet = Packet {
            source_port: self.known.source_port,
            ..Packet::new(to.protocol, *source, target)
        };
        let mut step = self.leave(&mut packet);
        for _ in 0..=NODES_MAX {
            step = match step {
                Err(death) => return Outcome::Dies(death),
                Ok(Step::Arrived(at)) => {
                    self.way_back(&packet);
                    return Outcome::Arrives { at };
                }
                Ok(Step::Node(node, origin)) => self.at_node(node, origin, &mut packet),
            };
        }
        Outcome::Dies(Death::new("it goes in circles between the nodes"))
    }

    fn hop(&mut self, kind: HopKind, name: &str, address: Option<IpAddr>) {
        if self.hops.last().is_none_or(|last| last.name != name) {
            self.hops.push(Hop {
                kind,
                name: name.to_owned(),
                address: address.map(|a| a.to_string()).unwrap_or_default(),
            });
        }
    }

    /// Through a node: what its rules make of the packet, then where its routes lead.
    fn at_node(
        &mut self,
        node: &'a NodeView,
        origin: Origin,
        packet: &mut Packet,
    ) -> Result<Step<'a>, Death> {
        self.hop(HopKind::Node, &node.net.name, node.address(packet.source));
        if let Some(why) = &node.not_ready {
            let text = format!("node {} is not ready: {why}", node.net.name);
            self.notes.push(text);
        }
        if let Some(step) = self.names(node, origin, packet) {
            return Ok(step);
        }
        if let Some(step) = self.pass_on(node, origin, packet) {
            return Ok(step);
        }
        let before = Packet {
            ethernet: None,
            datagram: None,
            ..packet.clone()
        };
        let Served {
            stage,
            packet: after,
            masquerade,
            death,
        } = service::serve(self.world, node, origin, packet, self.known.endpoint);
        let is_served = stage.is_some();
        self.there.extend(stage);
        if let Some(death) = death {
            return Err(death);
        }
        if let Some(after) = after {
            *packet = after;
        }
        let next = self.route(node, origin, packet, is_served, masquerade)?;
        let after = Packet {
            ethernet: None,
            datagram: None,
            ..packet.clone()
        };
        if before != after {
            self.rewrites.push(Rewrite {
                node: node.net.name.clone(),
                by: By::Tracking,
                before,
                after,
            });
        }
        Ok(next)
    }

    fn route(
        &mut self,
        node: &'a NodeView,
        origin: Origin,
        packet: &mut Packet,
        is_served: bool,
        masquerade: Option<Masquerade>,
    ) -> Result<Step<'a>, Death> {
        let address = packet.destination;
        if node.net.internal_ips.contains(&address) || address.is_loopback() {
            return self.take(node, packet);
        }
        let behind = self.world.node_behind(address);
        if behind.is_some_and(|other| other.net.name == node.net.name) {
            return self.deliver(node, origin, packet, is_served, masquerade);
        }
        if let Some(other) = behind {
            return self.cross_to(node, other, packet, masquerade);
        }
        if let Some(other) = self.world.node_at(address) {
            return self.cross_to(node, other, packet, masquerade);
        }
        let within = |range: &IpNet| range.contains(&address);
        if self.world.service_ranges.iter().any(within) && !is_served {
            let stage = Stage::new(Place::Node(node.net.name.clone()), "Service");
            self.there.push(stage.with(packet));
            return Err(Death::new(format!(
                "{address} is in the range of cluster addresses, and no Service has it"
            ))
            .next("kubectl get services -A -o wide"));
        }
        self.go_out(node, packet, masquerade)
    }

    /// The answer: each node that has rewritten the packet undoes it.
    fn way_back(&mut self, arrived: &Packet) {
        let Some(last) = self.there.last() else {
            return;
        };
        let mut packet = arrived.answer();
        let stage = Stage::new(last.place.clone(), "answer");
        self.back.push(stage.with(&packet));
        for Rewrite {
            node,
            by,
            before,
            after,
        } in self.rewrites.iter().rev()
        {
            let was = packet.clone();
            packet = Packet {
                ethernet: None,
                ..before.answer()
            };
            let (title, label) = match by {
                By::Tracking => ("conntrack", "undoes"),
                By::Relay => ("listener", "passes"),
            };
            let stage = Stage::new(Place::Node(node.clone()), title).line(
                label,
                format!(
                    "{} → {} is {} → {} again",
                    after.target(),
                    after.source,
                    before.target(),
                    before.source
                ),
            );
            self.back.push(stage.rewritten(was, &packet));
        }
        let stage = Stage::new(place_of(self.from), "socket");
        self.back.push(stage.with(&packet));
    }
}

fn gone(kind: &str, name: &impl std::fmt::Display) -> Death {
    Death::new(format!("there is no {kind} {name}"))
        .of(format!("{kind} {name}"))
        .next(format!("kubectl get {kind}s -A"))
}
