//! Who sends, and how the packet comes to the first node.

use std::net::IpAddr;

use sealane_net::{Attachment, IpNet, names};
use sealane_objects::ObjectName;

use super::{Step, Walk, gone};
use crate::ask::From;
use crate::packet::{Ethernet, Packet};
use crate::service::Origin;
use crate::trace::{Death, Hop, HopKind, Place, Stage};
use crate::{PodView, Snapshot};

/// How a client is called whose address nobody gave (RFC 5737 §3).
const ANYBODY: [u8; 4] = [203, 0, 113, 9];

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

impl<'a> Walk<'a> {
    pub(super) fn first_hop(&self, own: &[IpAddr]) -> Option<Hop> {
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

    /// Out of the sender's network namespace.
    pub(super) fn leave(&mut self, packet: &mut Packet) -> Result<Step<'a>, Death> {
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
        if packet.destination.is_loopback() {
            let at = packet.target();
            self.there.push(Stage::new(place, "lo").with(packet));
            return Ok(Step::Arrived(format!("{at}  pod {name} itself")));
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
}

pub(super) fn place_of(from: &From) -> Place {
    match from {
        From::Pod(name) => Place::Pod(name.clone()),
        From::Node(name) => Place::Node(name.clone()),
        From::Outside(_) => Place::Outside,
    }
}

/// The sender's addresses.
pub(super) fn addresses_of(world: &Snapshot, from: &From) -> Result<Vec<IpAddr>, TraceError> {
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
