//! The objects of a cluster: Services with one port, and ten endpoints each on a hundred nodes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use sealane_net::{Family, IpNet, Protocol};
use sealane_objects::{ObjectName, ServiceNet, ServicePortNet, SliceEndpoint, SliceNet, SlicePort};
use sealane_service::{NodeFacts, PortKey, ServiceTable};

pub const ENDPOINTS: usize = 10;
/// One Service in so many keeps its clients.
pub const STICKY: usize = 10;
const NODES: usize = 100;

pub fn pods() -> Vec<IpNet> {
    vec!["10.128.0.0/24".parse().unwrap()]
}

pub fn node() -> NodeFacts {
    NodeFacts {
        name: "node-0".into(),
        node_port_addresses: vec![Ipv4Addr::new(172, 29, 0, 2).into()],
        pod_cidrs: pods(),
        ..NodeFacts::default()
    }
}

pub fn service_name(n: usize) -> ObjectName {
    ObjectName::new(format!("team-{}", n % 50), format!("service-{n}"))
}

pub fn slice_name(n: usize) -> ObjectName {
    let ObjectName { namespace, name } = service_name(n);
    ObjectName::new(namespace, format!("{name}-x7k2p"))
}

pub fn cluster_ip(n: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 1)) + n as u32)
}

pub fn endpoint(n: usize, e: usize) -> Ipv4Addr {
    let pod = n * (ENDPOINTS + 1) + e;
    let (node, pod) = (pod % NODES, pod / NODES);
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 2)) + (node << 16 | pod) as u32)
}

pub fn service(n: usize) -> ServiceNet {
    ServiceNet {
        cluster_ips: vec![cluster_ip(n).into()],
        affinity_seconds: n.is_multiple_of(STICKY).then_some(10_800),
        ports: vec![ServicePortNet {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        ..ServiceNet::default()
    }
}

/// As the watch makes them: no word is shared with another slice.
pub fn slice(n: usize, endpoints: usize) -> SliceNet {
    let endpoint = |e| SliceEndpoint {
        address: endpoint(n, e).into(),
        ready: true,
        serving: true,
        terminating: false,
        node: Some(format!("node-{}", (n * (ENDPOINTS + 1) + e) % NODES).into()),
        hints: None,
    };
    SliceNet {
        service: service_name(n).name.as_str().into(),
        family: Some(Family::V4),
        ports: [SlicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 8080,
        }]
        .into(),
        endpoints: (0..endpoints).map(endpoint).collect(),
        triggered_ms: None,
    }
}

/// What the watches tell of at first.
pub struct Objects {
    services: Vec<(ObjectName, ServiceNet)>,
    slices: Vec<(ObjectName, SliceNet)>,
}

impl Objects {
    pub fn new(services: usize) -> Self {
        let all = 0..services;
        Self {
            services: all.clone().map(|n| (service_name(n), service(n))).collect(),
            slices: all.map(|n| (slice_name(n), slice(n, ENDPOINTS))).collect(),
        }
    }

    /// What the agent makes of them.
    pub fn table(self) -> ServiceTable {
        let mut table = ServiceTable::new(node());
        table.replace_services(self.services);
        table.replace_slices(self.slices);
        table
    }
}

pub fn port_key(n: usize) -> PortKey {
    PortKey {
        service: Arc::new(service_name(n)),
        name: "http".into(),
        protocol: Protocol::Tcp,
        family: Family::V4,
    }
}

/// Services all over the place, always the same ones.
pub fn scattered(services: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |n| n.wrapping_mul(7_919) % services)
}
