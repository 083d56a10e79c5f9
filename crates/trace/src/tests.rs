//! Walks through a small cluster: what is told of them, and where they end.

mod deaths;
mod names;
mod picture;
mod ports;
mod ways;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sealane_net::{Family, Protocol};
use sealane_objects::{
    NodeNet, ObjectName, PodDns, PodNet, ServiceNet, ServicePortNet, SliceEndpoint, SliceNet,
    SlicePort,
};

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn node(name: &str, address: &str, pods: &str) -> NodeView {
    NodeView {
        net: NodeNet {
            name: name.into(),
            internal_ips: vec![ip(address)],
            pod_cidrs: vec![pods.parse().unwrap()],
            ..NodeNet::default()
        },
        ..NodeView::default()
    }
}

fn pod(name: &str, node: &str, address: &str, app: &str) -> PodView {
    PodView {
        net: PodNet {
            name: ObjectName::new("default", name),
            uid: name.into(),
            node_name: node.into(),
            host_network: false,
            finished: false,
            pod_ips: vec![ip(address)],
            ..PodNet::default()
        },
        labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        not_ready: None,
        deleting: false,
        ports: vec![("http".to_owned(), Protocol::Tcp, 8080)],
        dns: PodDns::default(),
        host_ports: Vec::new(),
    }
}

fn endpoint(address: &str, node: &str, ready: bool) -> SliceEndpoint {
    SliceEndpoint {
        address: ip(address),
        ready,
        serving: ready,
        terminating: false,
        node: Some(node.into()),
        hints: None,
    }
}

/// Two nodes; pod-a on the first, the backend's pods on both.
fn world() -> Snapshot {
    let ports = vec![ServicePortNet {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port: 80,
        node_port: Some(30080),
    }];
    Snapshot {
        nodes: vec![
            node("node-1", "172.29.0.2", "10.244.1.0/24"),
            node("node-2", "172.29.0.3", "10.244.2.0/24"),
        ],
        pods: vec![
            pod("pod-a", "node-1", "10.244.1.2", "client"),
            pod("web-1", "node-2", "10.244.2.7", "web"),
            pod("web-2", "node-1", "10.244.1.9", "web"),
        ],
        services: vec![ServiceView {
            name: ObjectName::new("default", "backend"),
            net: ServiceNet {
                cluster_ips: vec![ip("10.96.0.17")],
                ports,
                ..ServiceNet::default()
            },
            kind: "NodePort".into(),
            selector: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
            target_names: vec![Some("http".into())],
            ..ServiceView::default()
        }],
        slices: vec![SliceView {
            name: ObjectName::new("default", "backend-x"),
            net: SliceNet {
                service: "backend".into(),
                family: Some(Family::V4),
                ports: Arc::from([SlicePort {
                    name: "http".into(),
                    protocol: Protocol::Tcp,
                    port: 8080,
                }]),
                endpoints: [endpoint("10.244.2.7", "node-2", true)].into(),
                triggered_ms: None,
            },
            hostnames: Vec::new(),
        }],
        service_ranges: vec!["10.96.0.0/12".parse().unwrap()],
        ..Snapshot::default()
    }
}

fn walk_in(world: &Snapshot, from: &str, to: &str) -> Trace {
    let asked = (from, to);
    let from = From::parse(from, "default").unwrap();
    let to = To::parse(to, "default").unwrap();
    trace(world, &from, &to, asked, Known::default()).unwrap()
}

fn death(trace: &Trace) -> &Death {
    match &trace.outcome {
        Outcome::Dies(death) => death,
        Outcome::Arrives { at } => panic!("arrives at {at}"),
    }
}

fn arrival(trace: &Trace) -> &str {
    match &trace.outcome {
        Outcome::Arrives { at } => at,
        Outcome::Dies(death) => panic!("{death:?}"),
    }
}
