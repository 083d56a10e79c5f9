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

use std::net::{IpAddr, SocketAddr};

use sealane_net::{Attachment, Family, IpNet, Mtu, Route, names};
use sealane_objects::ObjectName;
use sealane_route::{RouteTable, Underlay, compile};
use sealane_ruleset::{NodeEgress, node_egress};

use crate::ask::{From, To};
use crate::packet::{Ethernet, Packet};
use crate::resolve::{self, Client};
use crate::service::{self, Masquerade, Origin, Served};
use crate::trace::{Death, Hop, HopKind, Outcome, Place, Stage, Trace};
use crate::{NodeView, PodView, Snapshot};

/// How a client is called whose address nobody gave (RFC 5737 §3).
const ANYBODY: [u8; 4] = [203, 0, 113, 9];
/// A packet that passes more nodes than this goes in circles.
const NODES_MAX: usize = 4;

/// Why there is no walk to tell: it is not the packet's fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// FROM names nothing.
    #[error("find {what}: there is none{hint}")]
    Absent {
        /// The sender.
        what: String,
        /// What there is.
        hint: String,
    },
    /// FROM cannot send.
    #[error("send from {what}: {why}")]
    Mute {
        /// The sender.
        what: String,
        /// Why not.
        why: String,
    },
}

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

fn place_of(from: &From) -> Place {
    match from {
        From::Pod(name) => Place::Pod(name.clone()),
        From::Node(name) => Place::Node(name.clone()),
        From::Outside(_) => Place::Outside,
    }
}

/// The sender's addresses.
fn addresses_of(world: &Snapshot, from: &From) -> Result<Vec<IpAddr>, TraceError> {
    match from {
        From::Outside(address) => Ok(vec![address.unwrap_or(IpAddr::from(ANYBODY))]),
        From::Node(name) => {
            let node = world.node(name).ok_or_else(|| TraceError::Absent {
                what: format!("node {name}"),
                hint: hint(world.nodes.iter().map(|node| node.net.name.clone())),
            })?;
            Ok(node.net.internal_ips.clone())
        }
        From::Pod(name) => {
            let what = format!("pod {name}");
            let pod = world.pod(name).ok_or_else(|| {
                let here = |pod: &&PodView| pod.net.name.namespace == name.namespace;
                let pods = world.pods.iter().filter(here);
                TraceError::Absent {
                    what: what.clone(),
                    hint: hint(pods.map(|pod| pod.net.name.to_string())),
                }
            })?;
            let why = if pod.net.finished {
                "it has ended".to_owned()
            } else if pod.net.pod_ips.is_empty() {
                let why = pod.not_ready.as_deref().unwrap_or("no reason is given");
                format!("it has no address: {why}")
            } else {
                return Ok(pod.net.pod_ips.clone());
            };
            Err(TraceError::Mute { what, why })
        }
    }
}

fn hint(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.take(5).collect();
    match names.len() {
        0 => String::new(),
        _ => format!("; there are {}", names.join(", ")),
    }
}

/// What was rewritten at a node, for the way back.
struct Rewrite {
    node: String,
    before: Packet,
    after: Packet,
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
        let source = own.iter().find(|own| own.is_ipv4() == target.0.is_ipv4());
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

    fn first_hop(&self, own: &[IpAddr]) -> Option<Hop> {
        let address = own.first().map(ToString::to_string).unwrap_or_default();
        let (kind, name) = match self.from {
            From::Pod(name) => (HopKind::Pod, name.name.clone()),
            // It is passed anyway.
            From::Node(_) => return None,
            From::Outside(_) => (HopKind::Outside, "outside".to_owned()),
        };
        Some(Hop {
            kind,
            name,
            address,
        })
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

    /// Out of the sender's network namespace.
    fn leave(&mut self, packet: &mut Packet) -> Result<Step<'a>, Death> {
        match self.from {
            From::Pod(name) => self.leave_pod(name, packet),
            From::Node(name) => {
                let node = self.world.node(name).ok_or_else(|| gone("node", name))?;
                Ok(Step::Node(node, Origin::Node))
            }
            From::Outside(_) => self.enter_from_outside(packet),
        }
    }

    fn leave_pod(&mut self, name: &ObjectName, packet: &mut Packet) -> Result<Step<'a>, Death> {
        let pod = self.world.pod(name).ok_or_else(|| gone("pod", name))?;
        let node = self.world.node(&pod.net.node_name);
        let node = node.ok_or_else(|| gone("node", &pod.net.node_name))?;
        let place = Place::Pod(name.clone());
        if pod.net.host_network {
            let stage = Stage::new(place, "socket");
            let stage = stage.line(
                "network",
                format!("its node's: hostNetwork, {}", node.net.name),
            );
            self.there.push(stage.with(packet));
            return Ok(Step::Node(node, Origin::Node));
        }
        let subnet = node
            .pod_networks()
            .find(|range| range.contains(&packet.destination) && range.contains(&packet.source));
        let routed = self.world.settings.attachment == Attachment::Routed;
        let gateway = match packet.source {
            _ if !routed => node.gateway(packet.source),
            IpAddr::V4(_) => Some(IpAddr::V4(names::ROUTED_GATEWAY_V4)),
            IpAddr::V6(_) => Some(IpAddr::V6(names::ROUTED_GATEWAY_V6)),
        };
        let gateway = gateway.ok_or_else(|| {
            Death::new(format!(
                "node {} has no pod subnet of this family",
                node.net.name
            ))
            .of(format!("node {}", node.net.name))
        })?;
        let (route, to) = match subnet {
            Some(subnet) if !routed => (
                format!("{subnet} dev {}", names::UPLINK),
                match self.world.pod_at(packet.destination) {
                    Some(other) => other.net.name.name.clone(),
                    None => packet.destination.to_string(),
                },
            ),
            _ => (
                format!("default via {gateway} dev {}", names::UPLINK),
                self.near_end(),
            ),
        };
        packet.ethernet = Some(Ethernet {
            from: name.name.clone(),
            to,
        });
        let stage = Stage::new(place, names::UPLINK).line("route", route);
        self.there.push(stage.with(packet));
        Ok(Step::Node(node, Origin::Pod))
    }

    /// A client beyond the nodes can send to nodes, to what they serve, and, if its routers know
    /// them, to pods.
    fn enter_from_outside(&mut self, packet: &mut Packet) -> Result<Step<'a>, Death> {
        let (world, address) = (self.world, packet.destination);
        let stage = Stage::new(Place::Outside, "route");
        if let Some(node) = world.node_at(address) {
            let text = format!("{address} is node {}", node.net.name);
            self.there.push(stage.line("route", text).with(packet));
            return Ok(Step::Node(node, Origin::Outside));
        }
        if let Some(node) = world.node_behind(address) {
            let text = format!(
                "{address} by node {}, if the client has this route",
                node.net.name
            );
            self.there.push(stage.line("route", text).with(packet));
            return Ok(Step::Node(node, Origin::Outside));
        }
        let service = world.service_at(address);
        let is_balanced =
            |service: &&crate::ServiceView| service.net.load_balancer_ips.contains(&address);
        if let Some(service) = service.filter(is_balanced) {
            let node = world.nodes.iter().find(|node| node.not_ready.is_none());
            let node = node.ok_or_else(|| {
                Death::new("no node is ready to take it").next("kubectl get nodes")
            })?;
            let name = &service.name;
            let text = format!(
                "{address} is of the load balancer of service {name}; it may choose any node, such as {}",
                node.net.name
            );
            self.there.push(stage.line("route", text).with(packet));
            return Ok(Step::Node(node, Origin::Outside));
        }
        self.there.push(stage.with(packet));
        let within = |range: &IpNet| range.contains(&address);
        if service.is_some() || world.service_ranges.iter().any(within) {
            return Err(Death::new(format!(
                "{address} is a cluster address: nodes serve it to their pods and themselves, nobody outside has a route to it"
            ))
            .next("use a node port or a load balancer's address, or trace from a pod"));
        }
        Err(Death::new(format!(
            "{address} is no address of the cluster"
        )))
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
        if node.net.internal_ips.contains(&address) {
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

    /// The node itself is meant.
    fn take(&mut self, node: &'a NodeView, packet: &Packet) -> Result<Step<'a>, Death> {
        let place = Place::Node(node.net.name.clone());
        let port = packet.destination_port;
        let of = |pod: &&PodView| {
            pod.net.host_network
                && pod.net.node_name == node.net.name
                && pod
                    .ports
                    .iter()
                    .any(|(_, protocol, number)| (*protocol, *number) == (packet.protocol, port))
        };
        let listener = self.world.pods.iter().find(of);
        let at = packet.target();
        let mut stage = Stage::new(place, "socket").with(packet);
        let text = match listener {
            Some(pod) => {
                let text = format!("{at}  pod {} with hostNetwork", pod.net.name);
                stage = stage.line("listens", text.clone());
                text
            }
            None => {
                let text = format!("no Service has {at}; a process of the node has to listen");
                stage = stage.line("listens", text);
                format!("{at}  node {}", node.net.name)
            }
        };
        self.there.push(stage);
        Ok(Step::Arrived(text))
    }

    /// Over the bridge into a pod of this node.
    fn deliver(
        &mut self,
        node: &'a NodeView,
        origin: Origin,
        packet: &mut Packet,
        is_served: bool,
        masquerade: Option<Masquerade>,
    ) -> Result<Step<'a>, Death> {
        let place = Place::Node(node.net.name.clone());
        let routed = self.world.settings.attachment == Attachment::Routed;
        let bridged =
            origin == Origin::Pod && !is_served && !routed && self.is_local_source(node, packet);
        let link = self.near_end();
        let range = node
            .pod_networks()
            .find(|range| range.contains(&packet.destination));
        let range = match range.filter(|_| !routed) {
            Some(range) => range.to_string(),
            None => packet.destination.to_string(),
        };
        let Some(pod) = self.world.pod_at(packet.destination) else {
            let stage = Stage::new(place, "route").line("route", format!("{range} dev {link}"));
            self.there.push(stage.with(packet));
            return Err(Death::new(format!(
                "no pod has {}, an address of node {}'s pods",
                packet.destination, node.net.name
            ))
            .next("kubectl get pods -A -o wide"));
        };
        // On the bridge, or on `lo` and told by the routes to routed pods.
        let own = node.gateway(packet.destination);
        self.masquerade(node, own, masquerade, packet);
        let name = &pod.net.name;
        if !bridged {
            packet.ethernet = Some(Ethernet {
                from: link.clone(),
                to: name.name.clone(),
            });
        }
        let stage = if bridged {
            let stage = Stage::new(place, names::POD_BRIDGE);
            stage.line("bridge", "both pods are on it: the frame passes as it is")
        } else {
            Stage::new(place, "route").line("route", format!("{range} dev {link}"))
        };
        let stage = stage.line(
            "link",
            format!(
                "veth {}… to {} of {name}",
                names::POD_LINK_PREFIX,
                names::UPLINK
            ),
        );
        self.there.push(stage.with(packet));
        self.hop(HopKind::Pod, &name.name, Some(packet.destination));
        Ok(self.enter_pod(pod, packet))
    }

    /// What pods of a node are attached to.
    fn near_end(&self) -> String {
        match self.world.settings.attachment {
            Attachment::Bridge => names::POD_BRIDGE.to_owned(),
            Attachment::Routed => format!("{}…", names::POD_LINK_PREFIX),
        }
    }

    fn is_local_source(&self, node: &NodeView, packet: &Packet) -> bool {
        node.has_pods_at(packet.source)
    }

    fn enter_pod(&mut self, pod: &PodView, packet: &mut Packet) -> Step<'a> {
        packet.ethernet = None;
        let name = &pod.net.name;
        let port = packet.destination_port;
        let declared = |(_, protocol, number): &&(String, _, u16)| {
            (*protocol, *number) == (packet.protocol, port)
        };
        let stage = Stage::new(Place::Pod(name.clone()), "socket").with(packet);
        let stage = match pod.ports.iter().find(declared) {
            Some((word, ..)) if !word.is_empty() => {
                stage.line("listens", format!("port {port}, which it calls {word}"))
            }
            Some(_) => stage.line("listens", format!("port {port}, which it declares")),
            None => stage.line(
                "listens",
                format!(
                    "no container declares {port}/{}; one has to listen all the same",
                    packet.protocol
                ),
            ),
        };
        self.there.push(stage);
        self.notes.extend(undeclared(pod, packet));
        if let Some(why) = &pod.not_ready {
            self.notes.push(format!("pod {name} is not ready: {why}"));
        }
        Step::Arrived(format!(
            "{}  pod {name} on {}",
            packet.target(),
            pod.net.node_name
        ))
    }

    /// Over the wire to another node.
    fn cross_to(
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
    fn go_out(
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

    fn masquerade(
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
            before,
            after,
        } in self.rewrites.iter().rev()
        {
            let was = packet.clone();
            packet = Packet {
                ethernet: None,
                ..before.answer()
            };
            let stage = Stage::new(Place::Node(node.clone()), "conntrack").line(
                "undoes",
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

/// A pod that declares ports, and not this one: a wrong `targetPort`, more often than not.
fn undeclared(pod: &PodView, packet: &Packet) -> Option<String> {
    let (port, protocol) = (packet.destination_port, packet.protocol);
    let is_it = |(_, p, number): &(String, _, u16)| (*p, *number) == (protocol, port);
    if pod.ports.is_empty() || pod.ports.iter().any(is_it) {
        return None;
    }
    let ports = crate::blame::ports_of(pod);
    let name = &pod.net.name;
    Some(format!(
        "pod {name} declares {ports} and not {port}/{protocol}: if nobody listens there, correct the targetPort"
    ))
}

fn gone(kind: &str, name: &impl std::fmt::Display) -> Death {
    Death::new(format!("there is no {kind} {name}"))
        .of(format!("{kind} {name}"))
        .next(format!("kubectl get {kind}s -A"))
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
