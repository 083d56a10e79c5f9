//! The last steps: into a pod of the node, or to the node itself.

use sealane_net::{Attachment, Protocol, names};

use super::{Step, Walk};
use crate::packet::{Ethernet, Packet};
use crate::service::{Masquerade, Origin};
use crate::trace::{Death, HopKind, Place, Stage};
use crate::{NodeView, PodView};

impl<'a> Walk<'a> {
    /// The node itself is meant.
    pub(super) fn take(&mut self, node: &'a NodeView, packet: &Packet) -> Result<Step<'a>, Death> {
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

    /// The node's own DNS server, before any Service of that address: what it is asked is neither tracked nor translated.
    pub(super) fn names(
        &mut self,
        node: &NodeView,
        origin: Origin,
        packet: &Packet,
    ) -> Option<Step<'a>> {
        let for_names = packet.destination_port == names::DNS_PORT
            && matches!(packet.protocol, Protocol::Tcp | Protocol::Udp)
            && self.world.settings.dns.contains(&packet.destination);
        if !for_names || origin == Origin::Outside {
            return None;
        }
        let stage = Stage::new(Place::Node(node.net.name.clone()), "dns")
            .line(
                "address",
                format!("{} dev {}", packet.destination, names::DNS_LINK),
            )
            .line("tracking", format!("none: nft table {}", names::DNS_TABLE))
            .line(
                "listens",
                "`sealane dns` of this node, whatever Services say".to_owned(),
            );
        self.there.push(stage.with(packet));
        let at = packet.target();
        Some(Step::Arrived(format!(
            "{at}  DNS server of node {}",
            node.net.name
        )))
    }

    /// Over the bridge into a pod of this node.
    pub(super) fn deliver(
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
    pub(super) fn near_end(&self) -> String {
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
