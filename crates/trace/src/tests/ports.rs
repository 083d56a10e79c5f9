//! Ports of nodes, and of pods.

use sealane_net::ProxyMode;
use sealane_objects::PortMapping;

use super::*;

#[test]
fn host_ports_lead_to_their_pod() {
    let mut world = world();
    world.pods[1].host_ports = vec![PortMapping {
        protocol: Protocol::Tcp,
        host_port: 8888,
        container_port: 8080,
        host_ip: None,
    }];
    for (from, to, at, source) in [
        (
            "outside",
            "172.29.0.3:8888",
            "10.244.2.7:8080",
            "203.0.113.9",
        ),
        ("pod-a", "node/node-2:8888", "10.244.2.7:8080", "10.244.1.2"),
        (
            "node/node-2",
            "127.0.0.1:8888",
            "10.244.2.7:8080",
            "10.244.2.1",
        ),
        (
            "node/node-2",
            "127.9.8.7:8888",
            "127.9.8.7:8888",
            "127.0.0.1",
        ),
        (
            "outside",
            "172.29.0.2:8888",
            "172.29.0.2:8888",
            "203.0.113.9",
        ),
    ] {
        let trace = walk_in(&world, from, to);
        assert!(arrival(&trace).starts_with(at), "{from} {to}: {trace:?}");
        let mut packets = trace.there.iter().filter_map(|stage| stage.packet.as_ref());
        let last = packets.next_back().unwrap();
        assert_eq!(last.source, ip(source), "{from} {to}");
    }
    let trace = walk_in(&world, "outside", "172.29.0.3:8888");
    let told = trace.there.iter().find(|stage| stage.title == "host port");
    let lines = &told.unwrap().lines;
    assert_eq!(lines[0].text, "172.29.0.3:8888 TCP of pod default/web-1");
}

#[test]
fn node_ports_answer_where_agents_serve_them() {
    let mut world = world();
    let at_home = |world: &Snapshot| walk_in(world, "node/node-1", "127.0.0.1:30080");
    let trace = at_home(&world);
    assert!(arrival(&trace).starts_with("10.244.2.7:8080"), "{trace:?}");
    let home = trace.back.last().unwrap().packet.clone().unwrap();
    assert_eq!(home.destination, ip("127.0.0.1"));
    // Linux calls all of these from the first.
    let trace = walk_in(&world, "node/node-1", "127.9.8.7:30080");
    assert!(arrival(&trace).starts_with("10.244.2.7:8080"), "{trace:?}");
    let home = trace.back.last().unwrap().packet.clone().unwrap();
    assert_eq!(
        (home.source, home.destination),
        (ip("127.9.8.7"), ip("127.0.0.1"))
    );
    let trace = walk_in(&world, "pod-a", "127.0.0.1:30080");
    assert!(arrival(&trace).contains("pod default/pod-a itself"));
    world.settings.node_port_addresses = "172.29.0.3/32".parse().unwrap();
    assert!(arrival(&at_home(&world)).contains("node node-1"));
    for (to, at) in [
        ("node/node-2:30080", "10.244.2.7:8080"),
        ("node/node-1:30080", "172.29.0.2:30080"),
    ] {
        let trace = walk_in(&world, "outside", to);
        assert!(arrival(&trace).starts_with(at), "{to}: {trace:?}");
    }
}

#[test]
fn a_port_that_no_container_declares_is_noted() {
    let mut world = world();
    world.slices[0].net.ports = Arc::from([SlicePort {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port: 8081,
    }]);
    let trace = walk_in(&world, "pod-a", "backend:80");
    let noted = "declares http (8080/TCP) and not 8081/TCP";
    let has = trace.notes.iter().any(|note| note.contains(noted));
    assert!(has, "{:?}", trace.notes);
}

/// The world with a second family.
fn dual_stack() -> Snapshot {
    let mut world = world();
    for (n, node) in world.nodes.iter_mut().enumerate() {
        node.net.internal_ips.push(ip(&format!("fd00::{}", n + 2)));
        let pods = format!("fd00:{}::/64", n + 1);
        node.net.pod_cidrs.push(pods.parse().unwrap());
    }
    world.pods[1].net.pod_ips.push(ip("fd00:2::7"));
    world.services[0].net.cluster_ips.push(ip("fd00:96::17"));
    let mut slice = world.slices[0].clone();
    slice.name = ObjectName::new("default", "backend-y");
    slice.net.family = Some(Family::V6);
    slice.net.endpoints = [endpoint("fd00:2::7", "node-2", true)].into();
    world.slices.push(slice);
    world
}

#[test]
fn at_localhost_of_the_second_family_the_agent_listens_and_calls() {
    let mut world = dual_stack();
    let asked = |world: &Snapshot| walk_in(world, "node/node-1", "[::1]:30080");
    for mode in [ProxyMode::Nftables, ProxyMode::Iptables] {
        world.settings.proxy_mode = mode;
        let trace = asked(&world);
        assert!(arrival(&trace).starts_with("[fd00:2::7]:8080"), "{trace:?}");
        let told = trace.there.iter().find(|stage| stage.title == "listener");
        assert_eq!(
            told.unwrap().lines[0].text,
            "the agent, at [::1]:30080 for default/backend:http TCP IPv6"
        );
        let titles: Vec<_> = trace
            .back
            .iter()
            .map(|stage| stage.title.as_str())
            .collect();
        assert_eq!(titles, ["answer", "conntrack", "listener", "socket"]);
        let home = trace.back.last().unwrap().packet.clone().unwrap();
        let localhost = ip("::1");
        assert_eq!((home.source, home.destination), (localhost, localhost));
    }
    // Whoever is not the node has a localhost of his own, and where nobody listens a process has to.
    let own = walk_in(&world, "web-1", "[::1]:30080");
    assert!(arrival(&own).contains("pod default/web-1 itself"));
    for (mode, addresses) in [(ProxyMode::None, ""), (ProxyMode::Nftables, "primary")] {
        world.settings.proxy_mode = mode;
        world.settings.node_port_addresses = addresses.parse().unwrap();
        assert!(arrival(&asked(&world)).contains("node node-1"), "{mode}");
    }
}
