//! What a node makes of a packet to a Service: the rules that it meets, by the walk through the
//! encoded program, and the reasons for them, by the table that it was made from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sealane_net::{Family, IpNet, ProxyMode};
use sealane_objects::TrafficPolicy;
use sealane_service::{
    Endpoint, Frontend, Kind, NodeFacts, PodPorts, PortKey, Problem, ServicePort, ServiceTable,
    Way, pod_with_ports,
};

use crate::endpoints::{called, none_ready, others};
use crate::packet::Packet;
use crate::resolve::no_port;
use crate::rules::Coming;
use crate::trace::{Death, Place, Stage};
use crate::{NodeView, Snapshot};

/// How a packet came to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From one of its pods.
    Pod,
    /// From a process of the node.
    Node,
    /// Over the wire.
    Outside,
}

/// What became of the packet.
#[derive(Default)]
pub(crate) struct Served {
    /// None if no Service is meant.
    pub stage: Option<Stage>,
    /// With the endpoint as its destination.
    pub packet: Option<Packet>,
    /// Why it leaves with the node's address, if it does.
    pub masquerade: Option<Masquerade>,
    /// Why it goes no further.
    pub death: Option<Death>,
}

/// Why a packet leaves a node with the node's address.
pub(crate) struct Masquerade {
    /// In words.
    pub why: String,
    /// The rule.
    pub rule: String,
}

impl Served {
    fn dead(stage: Option<Stage>, death: Death) -> Self {
        Self {
            stage,
            death: Some(death),
            ..Self::default()
        }
    }
}

/// Of several endpoints the one that is `known` to be chosen is told, else the first.
pub(crate) fn serve(
    world: &Snapshot,
    node: &NodeView,
    origin: Origin,
    packet: &Packet,
    known: Option<SocketAddr>,
) -> Served {
    let table = table_of(world, node);
    let frontend = Frontend {
        address: packet.destination,
        protocol: packet.protocol,
        port: packet.destination_port,
    };
    let Some((port, kind)) = find(&table, &frontend) else {
        return Served {
            death: unserved(world, &table, &frontend),
            ..Served::default()
        };
    };
    let (way, policy) = way_of(&port, kind, origin);
    let mode = world.settings.proxy_mode;
    if mode == ProxyMode::None {
        return Served::dead(None, unprogrammed(node, &port));
    }
    let coming = Coming {
        table: &table,
        node,
        origin,
        packet,
        mode,
    };
    let rules = coming.walk(known);
    let place = Place::Node(node.net.name.clone());
    let stage = match pod_with_ports(&port.key.service) {
        Some(pod) => {
            Stage::new(place, "host port").line("port", format!("{frontend} of pod {pod}"))
        }
        None => Stage::new(place, "Service").line(
            "service",
            format!("{}, {}", port.key, words(kind, &frontend)),
        ),
    };
    let stage = stage.lines("rule", rules.texts);
    let list = match way {
        _ if !is_let_in(&port, kind, origin, packet) => {
            return Served::dead(Some(stage), shut_out(&port, packet));
        }
        Way::Endpoints(list) => list,
        Way::Drop => return Served::dead(Some(stage), elsewhere(world, node, &port, kind)),
        Way::Refuse => return Served::dead(Some(stage), nobody(world, &port)),
    };
    // Rules and table are of one mind, unless one of them is wrong.
    let meant = |one: &&Endpoint| rules.to == Some(SocketAddr::new(one.address, one.port));
    let Some(chosen) = list.iter().find(meant) else {
        let why = format!("the rules of {} do not lead to an endpoint", port.key);
        return Served::dead(Some(stage), Death::new(why));
    };
    let stage = tell(stage, world, node, &port, list, chosen, policy);
    let before = Packet {
        ethernet: None,
        ..packet.clone()
    };
    let after = Packet {
        destination: chosen.address,
        destination_port: chosen.port,
        ..before.clone()
    };
    Served {
        stage: Some(stage.rewritten(before, &after)),
        masquerade: rules.masquerade.map(|rule| Masquerade {
            why: why_masqueraded(kind, origin, packet, chosen).to_owned(),
            rule,
        }),
        packet: Some(after),
        death: None,
    }
}

/// The Service whose node port at `::1` the node's agent listens at for a packet, and whom it calls.
pub(crate) fn behind_localhost(
    world: &Snapshot,
    node: &NodeView,
    packet: &Packet,
) -> Option<(PortKey, SocketAddr)> {
    let settings = &world.settings;
    let chosen = settings.node_port_addresses.has(packet.destination, &[]);
    if !chosen || settings.proxy_mode == ProxyMode::None {
        return None;
    }
    let table = table_of(world, node);
    let meant = |port: &ServicePort| {
        let target = port.behind_localhost()?;
        let asked = (packet.protocol, packet.destination_port);
        (asked == (port.key.protocol, target.port())).then_some(target)
    };
    let mut found = table.iter().filter_map(|port| {
        let target = meant(port)?;
        Some(((*port.key).clone(), target))
    });
    found.next()
}

fn unprogrammed(node: &NodeView, port: &ServicePort) -> Death {
    let object = format!("node {}", node.net.name);
    Death::new(format!(
        "{} is served by nobody on {}: its agent runs with --proxy-mode none",
        port.key, node.net.name
    ))
    .of(object)
    .next("start the agents with --proxy-mode nftables or iptables, or kube-proxy beside them")
}

fn nobody(world: &Snapshot, port: &ServicePort) -> Death {
    let service = world.service(&port.key.service);
    service.map_or_else(
        || {
            Death::new(format!("{} has no endpoints", port.key))
                .of(format!("service {}", port.key.service))
        },
        |service| none_ready(world, service, Some(port)),
    )
}

fn table_of(world: &Snapshot, node: &NodeView) -> ServiceTable {
    let (all, choice) = (&node.net.internal_ips, &world.settings.node_port_addresses);
    let serving = all.iter().copied().filter(|ip| choice.has(*ip, all));
    let mut table = ServiceTable::new(NodeFacts {
        name: node.net.name.as_str().into(),
        zone: node.zone.clone(),
        host_addresses: all.clone(),
        node_port_addresses: serving.chain(choice.loopback()).collect(),
        pod_cidrs: node.pod_networks().collect(),
        external_ips: false,
    });
    let services = world.services.iter();
    table.replace_services(services.map(|s| (s.name.clone(), s.net.clone())));
    let slices = world.slices.iter();
    table.replace_slices(slices.map(|s| (s.name.clone(), s.net.clone())));
    // With iptables somebody else serves them.
    if world.settings.proxy_mode == ProxyMode::Nftables {
        let pods = world.pods_with_host_ports(node);
        let ports = pods.map(|pod| PodPorts {
            pod: pod.net.name.clone(),
            container: String::new(),
            addresses: pod.net.pod_ips.clone(),
            ports: pod.host_ports.clone(),
        });
        table.replace_host_ports(ports.collect());
    }
    table
}

fn find(table: &ServiceTable, frontend: &Frontend) -> Option<(Arc<ServicePort>, Kind)> {
    let at = |frontend: &Frontend| {
        table.iter().find_map(|port| {
            let frontends = port.frontends();
            let (_, kind) = frontends.iter().find(|(one, _)| one == frontend)?;
            Some((port.clone(), *kind))
        })
    };
    let home = Frontend {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ..*frontend
    };
    // Node ports at 127.0.0.1 are there at all loopback addresses, host ports are not.
    let everywhere = || {
        let loopback = frontend.address.is_ipv4() && frontend.address.is_loopback();
        let found = at(&home).filter(|_| loopback);
        found.filter(|(port, _)| pod_with_ports(&port.key.service).is_none())
    };
    at(frontend).or_else(everywhere)
}

/// An address of a Service at which nothing is served: why?
fn unserved(world: &Snapshot, table: &ServiceTable, frontend: &Frontend) -> Option<Death> {
    let service = world.service_at(frontend.address)?;
    let object = format!("service {}", service.name);
    if service.net.skipped {
        let why = format!("{object} is left to somebody else by its labels or its type");
        let next = "look for service.kubernetes.io/service-proxy-name among its labels";
        return Some(Death::new(why).of(object).next(next));
    }
    let is_it = |problem: &Problem| matches!(problem, Problem::Taken { frontend: one, .. } if one == frontend);
    let mut problems = table.problems();
    if let Some((_, problem)) =
        problems.find(|(name, problem)| **name == service.name && is_it(problem))
    {
        let why = format!("{object} is not served there: {problem}");
        let next = "give one of the two another port or address; the older one is served";
        return Some(Death::new(why).of(object).next(next));
    }
    if service.net.external_ips.contains(&frontend.address) {
        let address = frontend.address;
        let why = format!("{address} is in externalIPs of {object}, and nodes do not serve those");
        let next = "use a load balancer's address; externalIPs let anybody take any address";
        return Some(Death::new(why).of(object).next(next));
    }
    let port = frontend.port.to_string();
    Some(no_port(service, &port, frontend.protocol))
}

/// Which endpoints count, and by which policy.
fn way_of(port: &ServicePort, kind: Kind, origin: Origin) -> (Way<'_>, TrafficPolicy) {
    match (kind, origin) {
        (Kind::ClusterIp, _) => (port.internal(), port.internal_policy),
        (_, Origin::Outside) => (port.external(), port.external_policy),
        _ => (port.inside(), TrafficPolicy::Cluster),
    }
}

fn words(kind: Kind, frontend: &Frontend) -> String {
    let sort = match kind {
        Kind::ClusterIp => "cluster IP",
        Kind::ExternalIp => "external IP",
        Kind::LoadBalancer => "load balancer",
        Kind::NodePort => "node port",
    };
    let at = SocketAddr::new(frontend.address, frontend.port);
    format!("{sort} {at}")
}

/// Whether the sender is among those whom a load balancer lets in.
fn is_let_in(port: &ServicePort, kind: Kind, origin: Origin, packet: &Packet) -> bool {
    let within = |range: &IpNet| range.contains(&packet.source);
    let ranges = port.source_ranges.as_ref();
    let counts = kind == Kind::LoadBalancer && origin != Origin::Node;
    !counts || ranges.is_none_or(|ranges| ranges.iter().any(within))
}

fn shut_out(port: &ServicePort, packet: &Packet) -> Death {
    let ranges = port.source_ranges.iter().flat_map(|ranges| ranges.iter());
    let ranges: Vec<String> = ranges.map(ToString::to_string).collect();
    let (key, ranges, source) = (&port.key, ranges.join(", "), packet.source);
    Death::new(format!(
        "{key} lets in {ranges} alone, and the sender is {source}"
    ))
    .of(format!("service {}", key.service))
    .next("see loadBalancerSourceRanges in its spec")
}

/// There are endpoints, but none that the policy allows here.
fn elsewhere(world: &Snapshot, node: &NodeView, port: &ServicePort, kind: Kind) -> Death {
    let (field, name) = match kind {
        Kind::ClusterIp => ("internalTrafficPolicy", &node.net.name),
        _ => ("externalTrafficPolicy", &node.net.name),
    };
    let service = &port.key.service;
    let slices = world.slices_of(service);
    let endpoints = slices.flat_map(|slice| slice.net.endpoints.iter());
    let of_family = endpoints.filter(|one| Family::from(one.address) == port.key.family);
    let mut nodes: Vec<String> = of_family
        .filter(|one| one.ready)
        .filter_map(|one| Some(one.node.as_deref()?.to_owned()))
        .collect();
    nodes.sort();
    nodes.dedup();
    Death::new(format!(
        "it is dropped: {field} of service {service} is Local, and {name} has no endpoint that is ready"
    ))
    .of(format!("service {service}"))
    .because(nodes.iter().map(|node| format!("{node} has one")))
    .next(format!("send to a node that has one, or set {field}: Cluster"))
}

fn tell(
    stage: Stage,
    world: &Snapshot,
    node: &NodeView,
    port: &ServicePort,
    list: &[Endpoint],
    chosen: &Endpoint,
    policy: TrafficPolicy,
) -> Stage {
    let how = match list.len() {
        1 => "the only one".to_owned(),
        count => format!("1 of {count}, by chance"),
    };
    let mut stage = match policy {
        TrafficPolicy::Cluster => stage,
        TrafficPolicy::Local => stage.line("policy", "Local: endpoints of this node alone"),
    };
    if let Some(seconds) = port.affinity_seconds {
        let text = format!("a client that came within {seconds} s stays with its endpoint");
        stage = stage.line("affinity", text);
    }
    stage = stage.line("chosen", format!("{}  ({how})", called(world, chosen)));
    stage
        .lines
        .extend(others(world, node, port, list, chosen, policy));
    stage
}

/// Why the answer has to come back through this node.
fn why_masqueraded(kind: Kind, origin: Origin, packet: &Packet, chosen: &Endpoint) -> &'static str {
    match (kind, origin) {
        _ if chosen.address == packet.source => "a pod that reaches itself must see another sender",
        (_, Origin::Node) => "the node itself sends",
        (Kind::ClusterIp, _) => "who sends to a cluster IP and is no pod of this node",
        _ => "externalTrafficPolicy is Cluster: the answer has to come back through this node",
    }
}
