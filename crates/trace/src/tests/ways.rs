//! Where packets go, and what they look like on the way.

use sealane_net::ProxyMode;

use super::*;

#[test]
fn packets_arrive_by_every_kind_of_name() {
    let mut world = world();
    arrive_by_every_kind_of_name(&world);
    world.settings.proxy_mode = ProxyMode::Iptables;
    arrive_by_every_kind_of_name(&world);
}

fn arrive_by_every_kind_of_name(world: &Snapshot) {
    for (from, to, at, source) in [
        ("pod-a", "backend:80", "10.244.2.7:8080", "10.244.1.2"),
        (
            "pod-a",
            "backend.default:80",
            "10.244.2.7:8080",
            "10.244.1.2",
        ),
        (
            "pod-a",
            "backend.default.svc.cluster.local:80",
            "10.244.2.7:8080",
            "10.244.1.2",
        ),
        ("pod-a", "svc/backend:http", "10.244.2.7:8080", "10.244.1.2"),
        ("pod-a", "pod/web-1:8080", "10.244.2.7:8080", "10.244.1.2"),
        ("pod-a", "pod/web-2:8080", "10.244.1.9:8080", "10.244.1.2"),
        (
            "pod-a",
            "node/node-2:30080",
            "10.244.2.7:8080",
            "10.244.2.1",
        ),
        (
            "node/node-1",
            "10.96.0.17:80",
            "10.244.2.7:8080",
            "172.29.0.2",
        ),
        (
            "outside",
            "node/node-1:30080",
            "10.244.2.7:8080",
            "172.29.0.2",
        ),
        ("outside", "svc/backend", "10.244.2.7:8080", "172.29.0.2"),
        (
            "outside/172.29.0.1",
            "10.244.2.7:8080",
            "10.244.2.7:8080",
            "172.29.0.1",
        ),
        (
            "pod-a",
            "198.51.100.1:443",
            "198.51.100.1:443",
            "172.29.0.2",
        ),
        ("pod-a", "node/node-2:22", "172.29.0.3:22", "10.244.1.2"),
    ] {
        let trace = walk_in(world, from, to);
        assert!(arrival(&trace).starts_with(at), "{from} {to}: {trace:?}");
        let last = trace
            .there
            .last()
            .and_then(|stage| stage.packet.clone())
            .unwrap();
        assert_eq!(last.source, ip(source), "{from} {to}");
        let home = trace
            .back
            .last()
            .and_then(|stage| stage.packet.clone())
            .unwrap();
        let first = trace
            .there
            .iter()
            .find_map(|stage| stage.packet.clone())
            .unwrap();
        assert_eq!(
            home.destination, first.source,
            "{from} {to}: the answer comes home"
        );
    }
}

#[test]
fn the_endpoint_that_is_known_is_told_in_both_modes() {
    let mut world = world();
    world.slices[0].net.endpoints = [
        endpoint("10.244.2.7", "node-2", true),
        endpoint("10.244.1.9", "node-1", true),
    ]
    .into();
    for mode in [ProxyMode::Nftables, ProxyMode::Iptables] {
        world.settings.proxy_mode = mode;
        for at in ["10.244.2.7:8080", "10.244.1.9:8080"] {
            let known = Known {
                endpoint: at.parse().ok(),
                source_port: Some(40000),
            };
            let from = From::parse("pod-a", "default").unwrap();
            let to = To::parse("backend:80", "default").unwrap();
            let trace = trace(&world, &from, &to, ("", ""), known).unwrap();
            assert!(arrival(&trace).starts_with(at), "{mode} {at}: {trace:?}");
            let home = trace.back.last().unwrap().packet.clone().unwrap();
            assert_eq!(home.destination_port, 40000);
        }
    }
}

#[test]
fn rules_are_those_of_the_mode() {
    let mut world = world();
    world.settings.proxy_mode = ProxyMode::Iptables;
    let trace = walk_in(&world, "outside", "node/node-1:30080");
    let texts = trace.there.iter().flat_map(|stage| &stage.lines);
    let texts: Vec<&str> = texts
        .filter(|line| line.label == "rule")
        .map(|line| line.text.as_str())
        .collect();
    for part in [
        "nat: -A PREROUTING ",
        " -j KUBE-NODEPORTS",
        "nat: -A KUBE-EXT-",
        "-j DNAT --to-destination 10.244.2.7:8080",
        "-j MASQUERADE",
    ] {
        let has = texts.iter().any(|text| text.contains(part));
        assert!(has, "{part}: {texts:#?}");
    }
}

#[test]
fn the_answer_seems_to_come_from_the_service() {
    let trace = walk_in(&world(), "pod-a", "backend:80");
    let home = trace
        .back
        .last()
        .and_then(|stage| stage.packet.clone())
        .unwrap();
    assert_eq!(
        (home.source, home.source_port),
        (ip("10.96.0.17"), Some(80))
    );
}

#[test]
fn a_pod_that_reaches_itself_sees_the_bridge() {
    let mut world = world();
    world.slices[0].net.endpoints = [endpoint("10.244.1.9", "node-1", true)].into();
    let trace = walk_in(&world, "web-2", "backend:80");
    let last = trace
        .there
        .last()
        .and_then(|stage| stage.packet.clone())
        .unwrap();
    assert_eq!(last.source, ip("10.244.1.1"));
}

#[test]
fn nodes_behind_a_router_are_reached_in_datagrams() {
    let mut world = world();
    world.nodes[1].net.internal_ips = vec![ip("172.30.0.3")];
    world.settings.node_ranges = ["172.29.0.0/24", "172.30.0.0/24"]
        .map(|range| range.parse().unwrap())
        .to_vec();
    let trace = walk_in(&world, "pod-a", "pod/web-1:8080");
    let wrapped = trace
        .there
        .iter()
        .find_map(|stage| stage.packet.as_ref()?.datagram);
    assert_eq!(wrapped, Some((ip("172.29.0.2"), ip("172.30.0.3"))));
    world.settings.routing = sealane_route::Routing::Direct;
    let trace = walk_in(&world, "pod-a", "pod/web-1:8080");
    let death = death(&trace);
    assert!(
        death.why.contains("no route to the pods of node node-2"),
        "{death:?}"
    );
    assert!(
        death.details[0].contains("is on no link of this node"),
        "{death:?}"
    );
}

#[test]
fn what_is_beside_the_nodes_is_reached_without_a_way_out() {
    let mut world = world();
    world.settings.node_ranges = vec!["172.29.0.0/24".parse().unwrap()];
    world.settings.internet = Some(false);
    let trace = walk_in(&world, "pod-a", "172.29.0.1:6443");
    assert!(arrival(&trace).contains("beside the nodes"), "{trace:?}");
    let trace = walk_in(&world, "pod-a", "198.51.100.1:443");
    assert!(death(&trace).why.contains("--no-internet"), "{trace:?}");
}
