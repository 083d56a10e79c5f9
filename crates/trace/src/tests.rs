//! Walks through a small cluster: what is told of them, and where they end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sealane_net::{Family, Protocol, ProxyMode};
use sealane_objects::{
    DnsPolicy, NodeNet, ObjectName, PodDns, PodNet, PortMapping, ServiceNet, ServicePortNet,
    SliceEndpoint, SliceNet, SlicePort, TrafficPolicy,
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

#[test]
fn the_first_screen_is_a_speakers_picture() {
    let trace = walk_in(&world(), "default/pod-a", "backend:80");
    let expected = include_str!("tests/service.txt");
    let shown = render(&trace, Colour::No, 130);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/service.txt");
        std::fs::write(path, &shown).unwrap();
        return;
    }
    assert_eq!(shown, expected);
}

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
fn a_node_answers_names_itself_and_the_service_of_that_address_is_not_asked() {
    let mut world = world();
    for (to, from) in [
        ("10.96.0.10:53/udp", "pod-a"),
        ("169.254.20.10:53", "node/node-1"),
    ] {
        world.settings.dns = Vec::new();
        let unknown = format!("{:?}", walk_in(&world, from, to).outcome);
        assert!(!unknown.contains("DNS server"), "{unknown}");
        world.settings.dns = vec![ip("10.96.0.10"), ip("169.254.20.10")];
        let told = walk_in(&world, from, to);
        let Outcome::Arrives { at } = &told.outcome else {
            panic!("{told:?}")
        };
        assert!(at.ends_with("DNS server of node node-1"), "{at}");
        let shown = render(&told, Colour::No, 130);
        assert!(shown.contains("nft table sealane-dns"), "{shown}");
    }
    // Another port of that Service goes the way of all Services.
    let metrics = walk_in(&world, "pod-a", "10.96.0.10:9153");
    assert!(!format!("{:?}", metrics.outcome).contains("DNS server"));
}

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

#[test]
fn narrow_terminals_get_one_header_a_line() {
    let trace = walk_in(&world(), "pod-a", "backend:80");
    for width in [40, 80] {
        let shown = render(&trace, Colour::No, width);
        let drawn = shown
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with(" 1 "));
        for line in drawn {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
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
fn what_keeps_a_packet_is_named() {
    let unready = |mut world: Snapshot| {
        world.slices[0].net.endpoints = [endpoint("10.244.2.7", "node-2", false)].into();
        world.pods.remove(2);
        world.pods[1].not_ready = Some("container c runs, its readiness probe fails".into());
        world
    };
    let mislabelled = |mut world: Snapshot| {
        world.slices[0].net.endpoints = [].into();
        for pod in &mut world.pods {
            pod.labels.insert("app".into(), "wbe".into());
        }
        world
    };
    let misnamed = |mut world: Snapshot| {
        world.slices[0].net.ports = Arc::from([]);
        world.services[0].target_names = vec![Some("web".into())];
        world
    };
    let local = |mut world: Snapshot| {
        world.services[0].net.external_policy = TrafficPolicy::Local;
        world
    };
    let silent = |mut world: Snapshot| {
        world = unready(world);
        world.nodes[1].not_ready = Some("NodeStatusUnknown".into());
        world
    };
    let nobody: fn(Snapshot) -> Snapshot = |world| world;
    type Change<'a> = &'a dyn Fn(Snapshot) -> Snapshot;
    let foreign = |mut world: Snapshot| {
        world.slices[0].net.endpoints = [].into();
        for pod in &mut world.pods[1..] {
            pod.net.name = ObjectName::new("shop", pod.net.name.name.as_str());
        }
        world
    };
    let unserved = |mut world: Snapshot| {
        world.settings.proxy_mode = ProxyMode::None;
        world
    };
    let cases: [(Change<'_>, &str, &str, &str, &str, &str); 17] = [
        (
            &foreign,
            "pod-a",
            "backend:80",
            "no pod has the labels app=web",
            "service default/backend",
            "pod shop/web-1 has them, in a namespace that it does not look into",
        ),
        (
            &unserved,
            "pod-a",
            "backend:80",
            "its agent runs with --proxy-mode none",
            "node node-1",
            "",
        ),
        (
            &nobody,
            "pod-a",
            "backend.shop:80",
            "there is no Service shop/backend",
            "service shop/backend",
            "there is default/backend",
        ),
        (
            &nobody,
            "pod-a",
            "node/node-9:80",
            "there is no node node-9",
            "node node-9",
            "",
        ),
        (
            &unready,
            "pod-a",
            "backend:80",
            "the pod that it selects is not ready",
            "pod default/web-1",
            "readiness probe fails",
        ),
        (
            &silent,
            "pod-a",
            "backend:80",
            "the pod that it selects is not ready",
            "pod default/web-1",
            "its node node-2 is not ready: NodeStatusUnknown",
        ),
        (
            &mislabelled,
            "pod-a",
            "backend:80",
            "no pod has the labels app=web",
            "service default/backend",
            "pod default/pod-a has app=wbe",
        ),
        (
            &misnamed,
            "pod-a",
            "backend:80",
            "sends to the port named \"web\", which no container of its pods has",
            "service default/backend",
            "its containers' ports are http (8080/TCP)",
        ),
        (
            &local,
            "outside",
            "node/node-1:30080",
            "externalTrafficPolicy of service default/backend is Local, and node-1 has no endpoint",
            "service default/backend",
            "node-2 has one",
        ),
        (
            &nobody,
            "pod-a",
            "backend:81",
            "service default/backend has no port 81/TCP",
            "service default/backend",
            "it has 80/TCP (http)",
        ),
        (
            &nobody,
            "pod-a",
            "10.96.0.17:81",
            "service default/backend has no port 81/TCP",
            "service default/backend",
            "it has 80/TCP (http)",
        ),
        (
            &nobody,
            "pod-a",
            "backen:80",
            "backen is no name of the cluster",
            "service default/backen",
            "there is default/backend",
        ),
        (
            &nobody,
            "pod-a",
            "10.96.9.9:80",
            "no Service has it",
            "",
            "",
        ),
        (
            &nobody,
            "pod-a",
            "10.244.2.99:80",
            "no pod has 10.244.2.99",
            "",
            "",
        ),
        (
            &nobody,
            "pod-a",
            "10.244.1.99:80",
            "no pod has 10.244.1.99",
            "",
            "",
        ),
        (
            &nobody,
            "outside",
            "10.96.0.17:80",
            "nobody outside has a route to it",
            "",
            "",
        ),
        (
            &nobody,
            "pod-a",
            "pod/gone:80",
            "there is no pod default/gone",
            "pod default/gone",
            "",
        ),
    ];
    for (change, from, to, why, object, detail) in cases {
        let trace = walk_in(&change(world()), from, to);
        let death = death(&trace);
        assert!(death.why.contains(why), "{from} {to}: {death:?}");
        assert_eq!(
            death.object.as_deref().unwrap_or_default(),
            object,
            "{from} {to}"
        );
        let told = death.details.iter().any(|one| one.contains(detail));
        assert!(detail.is_empty() || told, "{from} {to}: {death:?}");
        assert!(death.next.is_some(), "{from} {to}: {death:?}");
        assert!(trace.back.is_empty());
    }
}

#[test]
fn a_node_that_asks_for_a_name_that_is_not_there_is_drawn() {
    let trace = walk_in(&world(), "node/node-1", "nothing:80");
    let hops: Vec<_> = trace.hops.iter().map(|hop| hop.name.as_str()).collect();
    assert_eq!(hops, ["node-1"], "{:?}", trace.outcome);
    let text = render(&trace, Colour::No, 120);
    assert!(!text.contains("\n\n\n"), "{text}");
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

#[test]
fn whoever_cannot_send_is_told_apart() {
    let mut world = world();
    world.pods[0].net.pod_ips.clear();
    world.pods[0].not_ready = Some("not scheduled: no nodes".into());
    let told = |from: &str| {
        let from = From::parse(from, "default").unwrap();
        let to = To::parse("backend:80", "default").unwrap();
        let traced = trace(&world, &from, &to, ("", ""), Known::default());
        traced.unwrap_err().to_string()
    };
    assert_eq!(
        told("pod-a"),
        "send from pod default/pod-a: it has no address: not scheduled: no nodes"
    );
    assert_eq!(
        told("node/node-9"),
        "find node node-9: there is none; there are node-1, node-2"
    );
}

/// The names of the second half of the cluster: a headless Service, and one that stands for another.
fn named_world() -> Snapshot {
    let mut world = world();
    world.services.push(ServiceView {
        name: ObjectName::new("default", "db"),
        kind: "ClusterIP".into(),
        headless: true,
        ..ServiceView::default()
    });
    world.services.push(ServiceView {
        name: ObjectName::new("default", "old"),
        kind: "ExternalName".into(),
        external_name: "backend.default.svc.cluster.local".into(),
        ..ServiceView::default()
    });
    let mut slice = world.slices[0].clone();
    slice.name = ObjectName::new("default", "db-x");
    slice.net.service = "db".into();
    slice.net.endpoints = [
        endpoint("10.244.2.7", "node-2", true),
        endpoint("10.244.1.9", "node-1", false),
    ]
    .into();
    slice.hostnames = vec![
        (ip("10.244.2.7"), "db-0".into()),
        (ip("10.244.1.9"), "db-1".into()),
    ];
    world.slices.push(slice);
    world
}

#[test]
fn names_are_those_of_the_dns_server() {
    let world = named_world();
    for (to, at) in [
        ("db:8080", "10.244.2.7:8080"),
        ("db-0.db:8080", "10.244.2.7:8080"),
        ("old:80", "10.244.2.7:8080"),
        ("old.default.svc.cluster.local.:80", "10.244.2.7:8080"),
        (
            "10-244-1-9.default.pod.cluster.local:8080",
            "10.244.1.9:8080",
        ),
    ] {
        let trace = walk_in(&world, "pod-a", to);
        assert!(arrival(&trace).starts_with(at), "{to}: {trace:?}");
    }
    for (to, part) in [
        (
            "db-1.db:8080",
            "no ready endpoint called db-1, but 1 endpoint not ready",
        ),
        ("backend.:80", "backend is no name of the cluster"),
        ("www.example.com:80", "names outside of the cluster"),
    ] {
        let trace = walk_in(&world, "pod-a", to);
        let told = format!("{:?}", death(&trace));
        assert!(told.contains(part), "{to}: {told}");
    }
}

#[test]
fn a_pods_own_resolver_settings_count() {
    let mut world = named_world();
    world.pods[0].dns.policy = DnsPolicy::None;
    assert!(
        death(&walk_in(&world, "pod-a", "backend:80"))
            .why
            .contains("is no name of the cluster")
    );
    let whole = "backend.default.svc.cluster.local:80";
    assert!(arrival(&walk_in(&world, "pod-a", whole)).starts_with("10.244.2.7:8080"));
    world.pods[0].dns.config.searches = vec!["default.svc.cluster.local".into()];
    assert!(arrival(&walk_in(&world, "pod-a", "backend:80")).starts_with("10.244.2.7:8080"));
}
