use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use sealane_net::{Family, Protocol};
use sealane_objects::{
    ObjectName, PortMapping, ServiceNet, ServicePortNet, SliceEndpoint, SliceNet, SlicePort,
    TrafficPolicy,
};
use sealane_service::{NodeFacts, PodPorts, PortChange, ServiceTable};

use super::*;

mod storm;

const POD: &str = "10.244.1.7";
const OUTSIDE: &str = "203.0.113.9";
const NODE: &str = "172.29.0.2";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn node() -> NodeFacts {
    NodeFacts {
        name: "node-1".into(),
        node_port_addresses: vec![ip(NODE), ip("fd00::2")],
        pod_cidrs: vec![
            "10.244.1.0/24".parse().unwrap(),
            "fd00:1::/64".parse().unwrap(),
        ],
        external_ips: true,
        ..NodeFacts::default()
    }
}

fn world() -> World {
    let mut local_addresses = node().node_port_addresses;
    local_addresses.push(ip("127.0.0.1"));
    World { local_addresses }
}

/// A Service with port 80 at every sort of address, in both families.
fn everywhere(protocol: Protocol) -> ServiceNet {
    let ips = |texts: [&str; 2]| texts.map(ip).to_vec();
    ServiceNet {
        cluster_ips: ips(["10.96.0.9", "fd00:96::9"]),
        external_ips: ips(["192.0.2.7", "2001:db8::7"]),
        load_balancer_ips: ips(["192.0.2.8", "2001:db8::8"]),
        ports: vec![ServicePortNet {
            name: "".into(),
            protocol,
            port: 80,
            node_port: Some(30080),
        }],
        ..ServiceNet::default()
    }
}

fn slice(protocol: Protocol, endpoints: &[(IpAddr, &str)]) -> SliceNet {
    let endpoint = |(address, node): &(IpAddr, &str)| SliceEndpoint {
        address: *address,
        ready: true,
        serving: true,
        terminating: false,
        node: Some((*node).into()),
        hints: None,
    };
    SliceNet {
        service: "web".into(),
        family: endpoints.first().map(|(address, _)| Family::from(*address)),
        ports: [SlicePort {
            name: "".into(),
            protocol,
            port: 8080,
        }]
        .into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        triggered_ms: None,
    }
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("default", name)
}

/// A program and a kernel that has followed it.
struct Stage {
    program: ServiceProgram,
    kernel: Loaded,
}

impl Stage {
    fn new(family: Family) -> Self {
        let (program, first) =
            ServiceProgram::restore(family, &Image::default(), &node().pod_cidrs, []);
        let mut stage = Self {
            program,
            kernel: Loaded::new(family),
        };
        stage.apply(&first);
        stage
    }

    fn apply(&mut self, transactions: &[Transaction]) {
        for transaction in transactions {
            self.kernel.apply(transaction).unwrap();
        }
    }

    fn update(&mut self, changes: &[PortChange]) -> Vec<Transaction> {
        let transactions = self.program.update(changes);
        self.apply(&transactions);
        transactions
    }

    fn of(family: Family, table: &ServiceTable) -> Self {
        let mut stage = Self::new(family);
        let changes: Vec<PortChange> = table.iter().map(added).collect();
        stage.update(&changes);
        stage
    }

    fn walk(&self, flow: &Flow, choose: &mut dyn FnMut(u32) -> u32) -> Trace {
        walk(&self.kernel, &world(), flow, choose)
    }

    /// Where all choices lead to: `10.244.1.5 10.244.2.5 masqueraded`, `refused`, …
    fn ways(&self, flow: &Flow) -> String {
        let mut ends = BTreeSet::new();
        for choice in 0..8 {
            let trace = self.walk(flow, &mut |modulus| choice % modulus);
            assert_eq!(trace.mark & !0x4000, flow.mark & !0x4000, "foreign bits");
            ends.insert(match trace.outcome {
                Outcome::Passed {
                    destination,
                    port,
                    masqueraded,
                } => {
                    assert_eq!(trace.mark & 0x4000, 0, "our bit is taken away again");
                    assert!(destination == flow.destination || port == 8080);
                    let how = if masqueraded { " masqueraded" } else { "" };
                    format!("{destination}{how}")
                }
                Outcome::Dropped => "dropped".into(),
                Outcome::Refused => "refused".into(),
                Outcome::Broken(why) => panic!("{why}\n{:#?}", trace.steps),
            });
        }
        ends.into_iter().collect::<Vec<_>>().join(", ")
    }
}

fn added(port: &Arc<sealane_service::ServicePort>) -> PortChange {
    PortChange {
        key: Arc::clone(&port.key),
        before: None,
        after: Some(Arc::clone(port)),
    }
}

fn flow(from: &str, to: &str, port: u16, protocol: Protocol) -> Flow {
    let source = ip(from);
    let origin = if world().local_addresses.contains(&source) {
        Origin::Node
    } else {
        Origin::Link
    };
    Flow {
        origin,
        source,
        destination: ip(to),
        port,
        protocol,
        mark: 0x8123,
    }
}

#[test]
fn who_reaches_what_under_which_policy() {
    use TrafficPolicy::{Cluster, Local};
    let both = "10.244.1.5, 10.244.2.5";
    let both_as_node = "10.244.1.5 masqueraded, 10.244.2.5 masqueraded";
    let here = [(ip("10.244.1.5"), "node-1"), (ip("10.244.2.5"), "node-2")];
    let (cluster_ip, external, balancer) = ("10.96.0.9", "192.0.2.7", "192.0.2.8");
    for (endpoints, policy, from, to, expected) in [
        (&here[..], Cluster, POD, cluster_ip, both),
        (&here, Cluster, OUTSIDE, cluster_ip, both_as_node),
        (&here, Cluster, NODE, cluster_ip, both_as_node),
        (&here, Cluster, POD, external, both_as_node),
        (&here, Cluster, OUTSIDE, external, both_as_node),
        (&here, Cluster, OUTSIDE, balancer, both_as_node),
        (&here, Cluster, OUTSIDE, NODE, both_as_node),
        (&here, Cluster, NODE, NODE, both_as_node),
        (&here, Local, POD, cluster_ip, "10.244.1.5"),
        (&here, Local, OUTSIDE, external, "10.244.1.5"),
        (&here, Local, OUTSIDE, NODE, "10.244.1.5"),
        (&here, Local, POD, balancer, both),
        (&here, Local, POD, NODE, both),
        (&here, Local, NODE, balancer, both_as_node),
        (&here[1..], Local, POD, cluster_ip, "dropped"),
        (&here[1..], Local, OUTSIDE, balancer, "dropped"),
        (&here[1..], Local, OUTSIDE, NODE, "dropped"),
        (&here[1..], Local, POD, external, "10.244.2.5"),
        (&here[1..], Local, NODE, NODE, "10.244.2.5 masqueraded"),
        (&[], Cluster, POD, cluster_ip, "refused"),
        (&[], Local, OUTSIDE, balancer, "refused"),
        (&[], Local, OUTSIDE, NODE, "refused"),
        // A pod that is an endpoint reaches itself as somebody else.
        (
            &here[..1],
            Cluster,
            "10.244.1.5",
            cluster_ip,
            "10.244.1.5 masqueraded",
        ),
        // Not a frontend at all.
        (&here, Cluster, POD, "10.244.2.9", "10.244.2.9"),
    ] {
        for protocol in Protocol::ALL {
            let mut table = ServiceTable::new(node());
            let mut web = everywhere(protocol);
            (web.internal_policy, web.external_policy) = (policy, policy);
            table.set_slice(&name("web-1"), Some(slice(protocol, endpoints)));
            table.set_service(&name("web"), Some(web));
            let stage = Stage::of(Family::V4, &table);
            let port = if to == NODE { 30080 } else { 80 };
            let what = format!("{from} to {to} {protocol} {policy:?}");
            let ways = stage.ways(&flow(from, to, port, protocol));
            assert_eq!(ways, expected, "{what}");
            let other = stage.ways(&flow(from, to, port + 1, protocol));
            let is_right = match to {
                "10.96.0.9" => other == "refused",
                _ => other.contains(to),
            };
            assert!(is_right, "another port: {what}: {other}");
        }
    }
}

#[test]
fn node_ports_at_loopback_addresses_are_for_processes_of_the_node_alone() {
    let mut facts = node();
    facts.node_port_addresses.push(ip("127.0.0.1"));
    let endpoints = [(ip("10.244.1.5"), "node-1"), (ip("10.244.2.5"), "node-2")];
    for policy in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
        for protocol in Protocol::ALL {
            let mut table = ServiceTable::new(facts.clone());
            let mut web = everywhere(protocol);
            web.external_policy = policy;
            table.set_service(&name("web"), Some(web));
            table.set_slice(&name("web-1"), Some(slice(protocol, &endpoints)));
            let stage = Stage::of(Family::V4, &table);
            let both = "10.244.1.5 masqueraded, 10.244.2.5 masqueraded";
            for to in ["127.0.0.1", "127.0.0.53", "127.255.255.254"] {
                let own = flow("127.0.0.1", to, 30080, protocol);
                assert_eq!(stage.ways(&own), both, "{to} {policy:?}");
                let other = flow("127.0.0.1", to, 30081, protocol);
                assert_eq!(stage.ways(&other), to);
            }
            for (from, to, port) in [
                (OUTSIDE, "127.0.0.1", 30080),
                (POD, "127.0.0.1", 30080),
                (POD, "127.0.0.53", 30080),
                (POD, "127.0.0.1", 22),
                ("127.0.0.1", "127.0.0.1", 30080),
                ("127.0.0.9", NODE, 22),
            ] {
                let flow = Flow {
                    origin: Origin::Link,
                    ..flow(from, to, port, protocol)
                };
                assert_eq!(stage.ways(&flow), "dropped", "{from} to {to}:{port}");
            }
        }
    }
}

#[test]
fn clients_stay_at_loopback_addresses_too_and_nobody_is_refused_there_who_is_not_meant() {
    let mut facts = node();
    facts.node_port_addresses.push(ip("127.0.0.1"));
    facts.host_addresses = vec![ip(NODE)];
    let mut table = ServiceTable::new(facts);
    let mut web = everywhere(Protocol::Udp);
    web.affinity_seconds = Some(30);
    table.set_service(&name("web"), Some(web));
    table.replace_host_ports(vec![PodPorts {
        pod: name("dns"),
        container: "c".into(),
        addresses: vec![ip("10.244.1.9")],
        ports: vec![PortMapping {
            protocol: Protocol::Udp,
            host_port: 53,
            container_port: 8080,
            host_ip: None,
        }],
    }]);
    let mut stage = Stage::of(Family::V4, &table);
    let to = |address, port| flow("127.0.0.1", address, port, Protocol::Udp);
    assert_eq!(stage.ways(&to("127.0.0.9", 30080)), "refused");
    let endpoints = [(ip("10.244.1.5"), "node-1"), (ip("10.244.2.5"), "node-2")];
    stage.update(&table.set_slice(&name("s"), Some(slice(Protocol::Udp, &endpoints))));
    let trace = stage.walk(&to("127.0.0.9", 30080), &mut |_| 1);
    assert_eq!(trace.remembered.len(), 1);
    assert!(matches!(trace.outcome, Outcome::Passed { port: 8080, .. }));
    // A pod's port leaves the other addresses to programs of the node.
    assert_eq!(stage.ways(&to("127.0.0.1", 53)), "10.244.1.9 masqueraded");
    assert_eq!(stage.ways(&to("127.0.0.53", 53)), "127.0.0.53");
    let (_, transactions) = ServiceProgram::restore(
        Family::V4,
        &stage.kernel.image,
        &node().pod_cidrs,
        table.iter(),
    );
    assert_eq!(transactions, [], "a restart changes nothing");
}

#[test]
fn a_cluster_ip_is_refused_at_other_ports_until_its_last_port_is_gone() {
    let mut table = ServiceTable::new(node());
    let mut web = everywhere(Protocol::Tcp);
    web.ports.push(ServicePortNet {
        name: "two".into(),
        protocol: Protocol::Tcp,
        port: 81,
        node_port: None,
    });
    table.set_service(&name("web"), Some(web.clone()));
    let mut stage = Stage::of(Family::V4, &table);
    let other = flow(POD, "10.96.0.9", 99, Protocol::Udp);
    assert_eq!(stage.ways(&other), "refused");
    web.ports.pop();
    stage.update(&table.set_service(&name("web"), Some(web)));
    assert_eq!(stage.ways(&other), "refused");
    stage.update(&table.set_service(&name("web"), None));
    assert_eq!(stage.ways(&other), "10.96.0.9");
}

#[test]
fn the_second_family_is_served_alike() {
    let endpoints = [(ip("fd00:1::5"), "node-1"), (ip("fd00:2::5"), "node-2")];
    for affinity in [None, Some(30)] {
        let mut table = ServiceTable::new(node());
        let mut web = everywhere(Protocol::Udp);
        web.external_policy = TrafficPolicy::Local;
        web.affinity_seconds = affinity;
        table.set_service(&name("web"), Some(web));
        table.set_slice(&name("web-1"), Some(slice(Protocol::Udp, &endpoints)));
        let stage = Stage::of(Family::V6, &table);
        for (from, to, port, expected) in [
            ("fd00:1::7", "fd00:96::9", 80, "fd00:1::5, fd00:2::5"),
            ("2001:db8::1", "fd00::2", 30080, "fd00:1::5"),
            ("fd00:1::7", "2001:db8::8", 80, "fd00:1::5, fd00:2::5"),
            (
                "fd00:1::5",
                "2001:db8::8",
                80,
                "fd00:1::5 masqueraded, fd00:2::5",
            ),
        ] {
            let ways = stage.ways(&flow(from, to, port, Protocol::Udp));
            assert_eq!(ways, expected, "{from} to {to}");
        }
    }
}

#[test]
fn source_ranges_guard_load_balancer_addresses_alone() {
    let mut table = ServiceTable::new(node());
    let mut web = everywhere(Protocol::Tcp);
    web.source_ranges = Some(vec![
        "203.0.113.0/28".parse().unwrap(),
        "10.0.0.0/8".parse().unwrap(),
    ]);
    table.set_slice(
        &name("s"),
        Some(slice(Protocol::Tcp, &[(ip("10.244.1.5"), "node-1")])),
    );
    for policy in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
        web.external_policy = policy;
        table.set_service(&name("web"), Some(web.clone()));
        let stage = Stage::of(Family::V4, &table);
        let ways = |from, to| stage.ways(&flow(from, to, 80, Protocol::Tcp));
        assert_eq!(ways("203.0.113.99", "192.0.2.8"), "dropped");
        assert!(ways(OUTSIDE, "192.0.2.8").starts_with("10.244.1.5"));
        assert!(ways("203.0.113.99", "192.0.2.7").starts_with("10.244.1.5"));
    }
}

#[test]
fn a_range_may_be_followed_by_one_that_overlaps_it() {
    let mut table = ServiceTable::new(node());
    let mut web = everywhere(Protocol::Tcp);
    let mut stage = Stage::new(Family::V4);
    let endpoints = [(ip("10.244.1.5"), "node-1")];
    table.set_slice(&name("s"), Some(slice(Protocol::Tcp, &endpoints)));
    for range in [
        "203.0.113.0/24",
        "203.0.0.0/16",
        "0.0.0.0/0",
        "203.0.113.8/29",
    ] {
        web.source_ranges = Some(vec![range.parse().unwrap()]);
        let changes = table.set_service(&name("web"), Some(web.clone()));
        stage.update(&changes);
        let image = &stage.kernel.image;
        assert_eq!(image.of_map(Map::SourceRanges).count(), 1, "{range}");
    }
    for pods in ["10.244.0.0/16", "10.244.3.0/24"] {
        let transactions = stage.program.set_pods(&[pods.parse().unwrap()]);
        stage.apply(&transactions);
    }
}

#[test]
fn a_start_with_much_to_do_is_several_transactions_and_ends_right() {
    let mut table = ServiceTable::new(node());
    let mut web = everywhere(Protocol::Tcp);
    web.source_ranges = Some(vec!["203.0.113.0/24".parse().unwrap()]);
    table.set_service(&name("web"), Some(web.clone()));
    table.set_slice(
        &name("s"),
        Some(slice(Protocol::Tcp, &[(ip("10.244.1.5"), "node-1")])),
    );
    let mut kernel = Stage::of(Family::V4, &table).kernel;
    // While no agent ran: others have come, and a range around the one that is loaded.
    web.source_ranges = Some(vec!["203.0.0.0/16".parse().unwrap()]);
    table.set_service(&name("web"), Some(web));
    for n in 0..150 {
        let other = ServiceNet {
            cluster_ips: vec![IpAddr::from([10, 97, 0, n])],
            ports: everywhere(Protocol::Tcp).ports,
            ..ServiceNet::default()
        };
        table.set_service(&name(&format!("o{n}")), Some(other));
        let endpoints: Vec<_> = (0..30)
            .map(|e| (IpAddr::from([10, 245, n, e]), "node-2"))
            .collect();
        let mut others = slice(Protocol::Tcp, &endpoints);
        others.service = format!("o{n}").into();
        table.set_slice(&name(&format!("o{n}")), Some(others));
    }
    let pods = ["10.244.0.0/16".parse().unwrap()];
    let (program, transactions) =
        ServiceProgram::restore(Family::V4, &kernel.image, &pods, table.iter());
    assert!(transactions.len() > 2, "{}", transactions.len());
    for transaction in &transactions {
        assert!(transaction.len() < 5_000);
        kernel.apply(transaction).unwrap();
    }
    assert_eq!(program.difference(&kernel.image), []);
    let mut seen = program.fingerprints();
    kernel.image.iter().for_each(|element| seen.see(&element));
    assert!(seen.agree());
    let mut less = program.fingerprints();
    kernel
        .image
        .iter()
        .skip(1)
        .for_each(|element| less.see(&element));
    assert!(!less.agree(), "one is missing");
    seen.see(&kernel.image.iter().next().unwrap());
    assert!(!seen.agree(), "one is too much");
}

#[test]
fn a_client_stays_with_its_endpoint_until_that_is_gone() {
    let mut table = ServiceTable::new(node());
    let mut web = everywhere(Protocol::Udp);
    web.affinity_seconds = Some(10_800);
    table.set_service(&name("web"), Some(web));
    let all = [
        (ip("10.244.1.5"), "node-1"),
        (ip("10.244.2.5"), "node-2"),
        (ip("10.244.2.6"), "node-2"),
    ];
    table.set_slice(&name("s"), Some(slice(Protocol::Udp, &all)));
    let mut stage = Stage::of(Family::V4, &table);
    let flow = flow(POD, "10.96.0.9", 80, Protocol::Udp);
    let connect = |stage: &mut Stage, choice| {
        let trace = stage.walk(&flow, &mut |modulus| choice % modulus);
        for (map, key) in trace.forgotten {
            stage.kernel.image.remove(map, &key);
        }
        trace
            .remembered
            .into_iter()
            .for_each(|pin| stage.kernel.image.insert(pin));
        match trace.outcome {
            Outcome::Passed { destination, .. } => destination,
            other => panic!("{other:?}"),
        }
    };
    let first = connect(&mut stage, 1);
    assert_eq!(
        [0, 1, 2].map(|choice| connect(&mut stage, choice)),
        [first; 3]
    );
    let rest: Vec<_> = all
        .into_iter()
        .filter(|(address, _)| *address != first)
        .collect();
    let changes = table.set_slice(&name("s"), Some(slice(Protocol::Udp, &rest)));
    stage.update(&changes);
    let second = connect(&mut stage, 1);
    assert_ne!(second, first);
    assert_eq!(
        [0, 1].map(|choice| connect(&mut stage, choice)),
        [second; 2]
    );
    let (again, transactions) = ServiceProgram::restore(
        Family::V4,
        &stage.kernel.image,
        &node().pod_cidrs,
        table.iter(),
    );
    assert_eq!(transactions, [], "a restart keeps pins and all else");
    assert_eq!(again.len(), 1);
}

fn many(count: usize) -> Vec<(IpAddr, &'static str)> {
    let address = |n: usize| IpAddr::from([10, 200, (n >> 8) as u8, n as u8]);
    (0..count).map(|n| (address(n), "node-2")).collect()
}

#[test]
fn any_number_of_endpoints_is_reached_evenly() {
    for (count, affinity) in [
        (1, None),
        (10, Some(60)),
        (64, None),
        (65, None),
        (100, Some(60)),
        (1_000, None),
        (5_000, None),
    ] {
        let mut table = ServiceTable::new(node());
        let mut web = everywhere(Protocol::Tcp);
        web.affinity_seconds = affinity;
        table.set_service(&name("web"), Some(web));
        table.set_slice(&name("s"), Some(slice(Protocol::Tcp, &many(count))));
        let stage = Stage::of(Family::V4, &table);
        // A generator of numbers that is good enough to draw with.
        let mut state = 1_u64;
        let mut draw = |modulus: u32| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % u64::from(modulus)) as u32
        };
        let mut hits: BTreeMap<IpAddr, usize> = BTreeMap::new();
        let draws = 20 * count.min(1_000);
        for _ in 0..draws {
            let trace = stage.walk(&flow(POD, "10.96.0.9", 80, Protocol::Tcp), &mut draw);
            match trace.outcome {
                Outcome::Passed { destination, .. } => *hits.entry(destination).or_default() += 1,
                other => panic!("{count}: {other:?}"),
            }
        }
        let most = hits.values().max().copied().unwrap_or_default();
        assert!(
            most <= 20 * 3,
            "{count}: one of {} has {most} of {draws}",
            hits.len()
        );
        let reached = hits.len();
        assert!(
            reached >= count.min(1_000) * 9 / 10,
            "{count}: {reached} are reached"
        );
    }
}

#[test]
fn many_services_come_in_full_transactions_of_a_bounded_size() {
    const SERVICES: u16 = 700;
    let mut table = ServiceTable::new(node());
    let numbered = |n: u16| ObjectName::new("default", format!("web-{n}"));
    table.replace_services((0..SERVICES).map(|n| {
        let [high, low] = n.to_be_bytes();
        let web = ServiceNet {
            cluster_ips: vec![IpAddr::from([10, 96, high, low])],
            ..everywhere(Protocol::Tcp)
        };
        let web = ServiceNet {
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            ports: vec![ServicePortNet {
                node_port: None,
                ..web.ports[0].clone()
            }],
            ..web
        };
        (numbered(n), web)
    }));
    table.replace_slices((0..SERVICES).map(|n| {
        let slice = SliceNet {
            service: numbered(n).name.as_str().into(),
            ..slice(Protocol::Tcp, &many(10))
        };
        (numbered(n), slice)
    }));
    let empty = Image::default();
    let program = ServiceProgram::adopt(Family::V4, &empty, &node().pod_cidrs, table.iter());
    let transactions = program.difference(&empty);
    let sizes: Vec<usize> = transactions.iter().map(Transaction::len).collect();
    let total: usize = sizes.iter().sum();
    assert!(total > 8_000 && sizes.iter().all(|size| *size <= 4_000));
    // What picks comes before, and what a cluster IP has not is refused behind.
    let [_, full @ .., _, _] = &sizes[..] else {
        panic!("{sizes:?}");
    };
    assert!(full.iter().all(|size| *size > 3_900), "{sizes:?}");
    let mut kernel = Loaded::new(Family::V4);
    for transaction in &transactions {
        kernel.apply(transaction).unwrap();
    }
    assert_eq!(program.difference(&kernel.image), []);
}

#[test]
fn a_change_of_one_endpoint_is_a_few_elements() {
    let mut table = ServiceTable::new(node());
    table.set_service(&name("web"), Some(everywhere(Protocol::Tcp)));
    let all = many(90);
    table.set_slice(&name("s"), Some(slice(Protocol::Tcp, &all)));
    let mut stage = Stage::of(Family::V4, &table);
    let changes = table.set_slice(&name("s"), Some(slice(Protocol::Tcp, &all[1..])));
    let transactions = stage.update(&changes);
    let sizes: Vec<_> = transactions
        .iter()
        .map(|t| (t.delete.len(), t.add.len()))
        .collect();
    assert_eq!(
        sizes,
        [(1, 1), (1, 0)],
        "the last slot moves into the hole, then it goes"
    );
}
