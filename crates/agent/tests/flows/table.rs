//! The table: Services of all shapes, and who gets what from them.

use std::sync::Arc;
use std::time::Duration;

use sealane_net::{Family, Protocol};
use sealane_objects::{
    Hints, ObjectName, ServiceNet, ServicePortNet, SliceEndpoint, SliceNet, SlicePort,
    TrafficPolicy,
};

use super::net::{self, Who};
use crate::alone::Objects;

/// The port of cluster, external and load-balancer addresses.
pub const PORT: u16 = 80;
/// Of the endpoints.
pub const TARGET: u16 = 8080;

/// For how long a client of Service `brief` keeps its endpoint.
pub const BRIEF: Duration = Duration::from_secs(2);

/// What a client calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Cluster,
    NodePort,
    Balancer,
    External,
    /// The node port at the node's loopback address.
    Localhost,
    /// The same at another address of that kind.
    Loopback,
    /// A port of the cluster IP that the Service does not have.
    Unserved,
}

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Nftables,
    Iptables,
}

/// For whom a row has another outcome, on purpose; docs/services.md says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum But {
    Ipv6,
    Iptables,
}

/// Packets that nobody of ours looks at go wherever they go.
pub const LEFT_ALONE: &str = "left alone";

/// A Service with an address of each kind and a port of its own, for three protocols in both families.
pub struct Shape {
    pub name: &'static str,
    change: fn(&mut ServiceNet),
    /// Endpoints: pod, and what is special about it.
    endpoints: &'static [&'static str],
}

/// Who gets what.
pub struct Row {
    pub shape: &'static str,
    pub who: Who,
    pub to: To,
    /// The endpoints of which each is reached, with a star where they see the node instead of the client;
    /// `refused`, `dropped`, or `one of …` where a client stays with its first.
    pub outcome: &'static str,
    pub but: &'static [(But, &'static str)],
}

fn local(service: &mut ServiceNet) {
    service.external_policy = TrafficPolicy::Local;
}

fn inner(service: &mut ServiceNet) {
    service.internal_policy = TrafficPolicy::Local;
}

fn both_local(service: &mut ServiceNet) {
    local(service);
    inner(service);
}

/// Those on the nodes' link whose addresses are in the lower half: not the stranger.
fn guarded(service: &mut ServiceNet) {
    let ranges = ["172.29.0.0/25", "fd00:172:29::/112"];
    service.source_ranges = Some(ranges.map(|range| range.parse().unwrap()).to_vec());
}

fn guarded_local(service: &mut ServiceNet) {
    guarded(service);
    local(service);
}

pub const SHAPES: [Shape; 20] = [
    shape("plain", |_| {}, &["a", "b", "x"]),
    shape("local", local, &["a", "x"]),
    shape("inner", inner, &["a", "x"]),
    shape("elsewhere", both_local, &["x"]),
    shape("none", |_| {}, &[]),
    shape("none-local", both_local, &[]),
    shape("unready", |_| {}, &["a unready", "x unready"]),
    shape("draining", |_| {}, &["a draining", "x draining"]),
    shape("half-draining", |_| {}, &["a draining", "x"]),
    shape("draining-here", both_local, &["a draining", "x"]),
    shape("zones", |_| {}, &["a for zone-2", "x for zone-1"]),
    shape("half-zones", |_| {}, &["a for zone-1", "x"]),
    shape("nodes", |_| {}, &["b for node-1", "x for node-2"]),
    shape("guarded", guarded, &["a", "b"]),
    shape("guarded-local", guarded_local, &["a", "x"]),
    shape(
        "guarded-ipv4",
        |service| service.source_ranges = Some(vec!["172.29.0.0/25".parse().unwrap()]),
        &["a"],
    ),
    shape(
        "sticky",
        |service| service.affinity_seconds = Some(600),
        &["a", "b", "x"],
    ),
    shape(
        "sticky-local",
        |service| {
            local(service);
            service.affinity_seconds = Some(600);
        },
        &["a", "b", "x"],
    ),
    // Those of `moved`.
    shape(
        "brief",
        |service| service.affinity_seconds = Some(BRIEF.as_secs() as u32),
        &["a", "b", "x"],
    ),
    shape("pinned", |_| {}, &["a"]),
];

const fn shape(
    name: &'static str,
    change: fn(&mut ServiceNet),
    endpoints: &'static [&'static str],
) -> Shape {
    Shape {
        name,
        change,
        endpoints,
    }
}

/// Who gets what: `a` and `b` are pods of the node and endpoints, `c` is a pod of the node, `x` is on another node.
pub fn rows() -> Vec<Row> {
    use To::{Balancer, Cluster, External, Localhost, Loopback, NodePort, Unserved};
    use Who::{A, C, Node, Outside, Peer, Stranger};
    const ALL: &str = "a* b* x*";
    let table: &[(&str, Who, To, &str)] = &[
        ("plain", C, Cluster, "a b x"),
        // Who reaches himself would not take an answer from himself.
        ("plain", A, Cluster, "a* b x"),
        ("plain", Node, Cluster, ALL),
        ("plain", Peer, Cluster, ALL),
        ("plain", Outside, Cluster, ALL),
        ("plain", C, NodePort, ALL),
        ("plain", A, NodePort, ALL),
        ("plain", Node, NodePort, ALL),
        ("plain", Peer, NodePort, ALL),
        ("plain", Outside, NodePort, ALL),
        ("plain", Outside, Balancer, ALL),
        ("plain", C, Balancer, ALL),
        ("plain", Outside, External, ALL),
        ("plain", Node, External, ALL),
        // From outside to those on the node, who see the client; from within to all.
        ("local", Outside, NodePort, "a"),
        ("local", Peer, NodePort, "a"),
        ("local", Outside, Balancer, "a"),
        ("local", Outside, External, "a"),
        ("local", C, NodePort, "a x"),
        ("local", A, Balancer, "a* x"),
        ("local", Node, Balancer, "a* x*"),
        ("local", C, Cluster, "a x"),
        ("local", Outside, Cluster, "a* x*"),
        ("inner", C, Cluster, "a"),
        ("inner", Node, Cluster, "a*"),
        ("inner", Outside, Cluster, "a*"),
        ("inner", Outside, NodePort, "a* x*"),
        ("inner", C, External, "a* x*"),
        // Somebody serves, only not here.
        ("elsewhere", C, Cluster, "dropped"),
        ("elsewhere", Node, Cluster, "dropped"),
        ("elsewhere", Outside, NodePort, "dropped"),
        ("elsewhere", Outside, Balancer, "dropped"),
        ("elsewhere", C, Balancer, "x"),
        ("elsewhere", Node, NodePort, "x*"),
        // Nobody serves anywhere.
        ("none", C, Cluster, "refused"),
        ("none", Node, Cluster, "refused"),
        ("none", Outside, Cluster, "refused"),
        ("none", Outside, NodePort, "refused"),
        ("none", C, NodePort, "refused"),
        ("none", Outside, Balancer, "refused"),
        ("none", C, External, "refused"),
        ("none-local", C, Cluster, "refused"),
        ("none-local", Outside, NodePort, "refused"),
        ("none-local", Outside, Balancer, "refused"),
        ("unready", C, Cluster, "refused"),
        ("unready", Outside, NodePort, "refused"),
        // The last resort.
        ("draining", C, Cluster, "a x"),
        ("half-draining", C, Cluster, "x"),
        ("half-draining", Outside, NodePort, "x*"),
        ("draining-here", C, Cluster, "a"),
        ("draining-here", Outside, NodePort, "a"),
        ("draining-here", C, NodePort, "x"),
        ("zones", C, Cluster, "x"),
        ("zones", Outside, NodePort, "x*"),
        ("half-zones", C, Cluster, "a x"),
        ("nodes", C, Cluster, "b"),
        // Source ranges are for load-balancer addresses alone.
        ("guarded", Outside, Balancer, "a* b*"),
        ("guarded", Node, Balancer, "a* b*"),
        ("guarded", Stranger, Balancer, "dropped"),
        ("guarded", C, Balancer, "dropped"),
        ("guarded", Stranger, NodePort, "a* b*"),
        ("guarded", Stranger, External, "a* b*"),
        ("guarded", Stranger, Cluster, "a* b*"),
        ("guarded-local", Outside, Balancer, "a"),
        ("guarded-local", Stranger, Balancer, "dropped"),
        ("guarded-local", Stranger, NodePort, "a"),
        ("sticky", C, Cluster, "one of a b x"),
        ("sticky", Outside, Cluster, "one of a* b* x*"),
        ("sticky", Outside, NodePort, "one of a* b* x*"),
        ("sticky-local", Outside, Balancer, "one of a b"),
        ("sticky-local", C, Balancer, "one of a b x"),
    ];
    let row = |(shape, who, to, outcome): &(&'static str, Who, To, &'static str)| Row {
        shape,
        who: *who,
        to: *to,
        outcome,
        but: &[],
    };
    let mut rows: Vec<Row> = table.iter().map(row).collect();
    rows.extend([
        Row {
            shape: "guarded-ipv4",
            who: Outside,
            to: Balancer,
            outcome: "a*",
            but: &[(But::Ipv6, "dropped")],
        },
        Row {
            shape: "plain",
            who: Node,
            to: Localhost,
            outcome: ALL,
            but: &[(But::Ipv6, LEFT_ALONE)],
        },
        Row {
            shape: "local",
            who: Node,
            to: Loopback,
            outcome: "a* x*",
            but: &[(But::Ipv6, LEFT_ALONE)],
        },
        Row {
            shape: "sticky",
            who: Node,
            to: Loopback,
            outcome: "one of a* b* x*",
            but: &[(But::Ipv6, LEFT_ALONE)],
        },
        Row {
            shape: "none",
            who: Node,
            to: Loopback,
            outcome: "refused",
            but: &[(But::Ipv6, LEFT_ALONE)],
        },
        Row {
            shape: "plain",
            who: C,
            to: Unserved,
            outcome: "refused",
            but: &[(But::Iptables, LEFT_ALONE)],
        },
        Row {
            shape: "elsewhere",
            who: Outside,
            to: Unserved,
            outcome: "refused",
            but: &[(But::Iptables, LEFT_ALONE)],
        },
    ]);
    rows
}

impl Row {
    pub fn expected(&self, backend: Backend, family: Family) -> &'static str {
        let holds = |but: But| match but {
            But::Ipv6 => family == Family::V6,
            But::Iptables => backend == Backend::Iptables,
        };
        let other = self.but.iter().find(|(but, _)| holds(*but));
        other.map_or(self.outcome, |(_, outcome)| outcome)
    }

    /// The shape's place in the table, from 1.
    fn number(&self) -> u16 {
        let place = SHAPES.iter().position(|shape| shape.name == self.shape);
        place.unwrap() as u16 + 1
    }

    pub fn address(&self, family: Family) -> std::net::SocketAddr {
        let number = self.number();
        let ip = match self.to {
            To::Cluster => net::cluster_ip(family, number),
            To::Balancer => net::balancer_ip(family, number),
            To::External => net::external_ip(family, number),
            To::NodePort => return (net::node_ip(family), node_port(number)).into(),
            To::Localhost => return (net::loopback(family), node_port(number)).into(),
            To::Loopback => return (net::loopback_elsewhere(family), node_port(number)).into(),
            To::Unserved => return (net::cluster_ip(family, number), PORT + 1).into(),
        };
        (ip, PORT).into()
    }
}

/// A row that is not in the table: how somebody calls a Service.
pub fn row(shape: &'static str, who: Who, to: To) -> Row {
    Row {
        shape,
        who,
        to,
        outcome: LEFT_ALONE,
        but: &[],
    }
}

/// The slice of a shape, changed to have one endpoint.
pub fn slice_of(
    objects: &Objects,
    shape: &str,
    pod: &str,
    family: Family,
) -> (ObjectName, SliceNet) {
    let name = slice_name(shape, family);
    let mut slice = objects.slices[&name].clone();
    slice.endpoints = vec![endpoint(pod, family)].into();
    (name, slice)
}

fn slice_name(shape: &str, family: Family) -> ObjectName {
    let family = family.to_string().to_lowercase();
    ObjectName::new("default", format!("{shape}-{family}"))
}

fn node_port(number: u16) -> u16 {
    30_000 + number
}

/// All Services and their slices.
pub fn objects() -> Objects {
    let mut objects = Objects::default();
    for (number, shape) in (1..).zip(&SHAPES) {
        let each = |ip: fn(Family, u16) -> std::net::IpAddr| {
            Family::ALL.map(|family| ip(family, number)).to_vec()
        };
        let mut service = ServiceNet {
            cluster_ips: each(net::cluster_ip),
            load_balancer_ips: each(net::balancer_ip),
            external_ips: each(net::external_ip),
            ports: Protocol::ALL.map(|p| port(p, number)).to_vec(),
            ..ServiceNet::default()
        };
        (shape.change)(&mut service);
        let name = ObjectName::new("default", shape.name);
        objects.services.insert(name, service);
        for family in Family::ALL {
            let name = slice_name(shape.name, family);
            objects.slices.insert(name, shape.slice(family));
        }
    }
    objects
}

fn port(protocol: Protocol, number: u16) -> ServicePortNet {
    ServicePortNet {
        name: protocol.lower_case().into(),
        protocol,
        port: PORT,
        node_port: Some(node_port(number)),
    }
}

impl Shape {
    fn slice(&self, family: Family) -> SliceNet {
        let ports = Protocol::ALL.map(|protocol| SlicePort {
            name: protocol.lower_case().into(),
            protocol,
            port: TARGET,
        });
        let endpoints = self.endpoints.iter();
        SliceNet {
            service: self.name.into(),
            family: Some(family),
            ports: ports.into(),
            endpoints: endpoints.map(|words| endpoint(words, family)).collect(),
            triggered_ms: None,
        }
    }
}

fn endpoint(words: &str, family: Family) -> SliceEndpoint {
    let (pod, special) = words.split_once(' ').unwrap_or((words, ""));
    let hint = special.strip_prefix("for ");
    let hints = hint.map(|whom| {
        let whom: Vec<Arc<str>> = vec![whom.into()];
        let (zones, nodes) = match whom[0].starts_with("zone") {
            true => (whom, vec![]),
            false => (vec![], whom),
        };
        Arc::new(Hints { zones, nodes })
    });
    SliceEndpoint {
        address: net::pod_ip(family, pod),
        ready: special.is_empty() || hint.is_some(),
        serving: special != "unready",
        terminating: special == "draining",
        node: Some(if pod == "x" { "node-2" } else { net::NODE }.into()),
        hints,
    }
}
