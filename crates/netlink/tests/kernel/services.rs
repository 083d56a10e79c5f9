//! Tables of Services: what the kernel lists is what was meant, and what it gives back is what it got.

use std::net::IpAddr;

use sealane_net::{Family, IpNet, Protocol};
use sealane_objects::{ObjectName, ServiceNet, ServicePortNet, SliceEndpoint, SliceNet, SlicePort};
use sealane_ruleset::services::{Image, Loaded, ServiceProgram, static_table};
use sealane_service::{NodeFacts, ServiceTable};

use crate::place::Place;

fn ips(texts: [&str; 2]) -> Vec<IpAddr> {
    texts.map(|text| text.parse().unwrap()).to_vec()
}

fn pods() -> Vec<IpNet> {
    ["10.244.1.0/24", "10.250.0.0/16", "fd00:1::/64"]
        .map(|text| text.parse().unwrap())
        .to_vec()
}

/// Services of every sort, in both families, with endpoints on this node and elsewhere.
fn table(count: u8) -> ServiceTable {
    let mut table = ServiceTable::new(NodeFacts {
        name: "node-1".into(),
        node_port_addresses: [
            ips(["172.29.0.2", "fd00::2"]),
            ips(["127.0.0.1", "fd00::3"]),
        ]
        .concat(),
        pod_cidrs: pods(),
        ..NodeFacts::default()
    });
    for n in 1..=count {
        let v6 = |what: &str| format!("fd00:{what}::{n:x}");
        let port = ServicePortNet {
            name: "p".into(),
            protocol: Protocol::ALL[usize::from(n % 3)],
            port: 80,
            node_port: Some(30_000 + u16::from(n)),
        };
        let service = ServiceNet {
            cluster_ips: ips([&format!("10.96.0.{n}"), &v6("96")]),
            load_balancer_ips: ips([&format!("192.0.2.{n}"), &v6("192")]),
            source_ranges: n.is_multiple_of(4).then(|| {
                ips(["203.0.113.9", "2001:db8::1"])
                    .into_iter()
                    .map(IpNet::from)
                    .chain(pods())
                    .collect()
            }),
            external_policy: if n.is_multiple_of(2) {
                Default::default()
            } else {
                sealane_objects::TrafficPolicy::Local
            },
            affinity_seconds: n.is_multiple_of(5).then_some(90),
            ports: vec![port.clone()],
            ..ServiceNet::default()
        };
        table.set_service(&ObjectName::new("a", format!("s{n}")), Some(service));
        for family in Family::ALL {
            let endpoint = |e: u8| SliceEndpoint {
                address: match family {
                    Family::V4 => format!("10.244.{e}.{n}").parse().unwrap(),
                    Family::V6 => format!("fd00:{e}::{n:x}").parse().unwrap(),
                },
                ready: true,
                serving: true,
                terminating: false,
                node: Some(if e.is_multiple_of(2) {
                    "node-2".into()
                } else {
                    "node-1".into()
                }),
                hints: None,
            };
            let slice = SliceNet {
                service: format!("s{n}").into(),
                family: Some(family),
                ports: [SlicePort {
                    name: "p".into(),
                    protocol: port.protocol,
                    port: 8080,
                }]
                .into(),
                endpoints: (1..=n % 7).map(endpoint).collect(),
                triggered_ms: None,
            };
            table.set_slice(&ObjectName::new("a", format!("s{n}-{family}")), Some(slice));
        }
    }
    table
}

fn start(place: &Place, family: Family, table: &ServiceTable) -> ServiceProgram {
    let (program, transactions) =
        ServiceProgram::restore(family, &Image::default(), &pods(), table.iter());
    place
        .netlink
        .replace_services(&static_table(family), &transactions)
        .unwrap();
    place.netlink.open_services(&static_table(family)).unwrap();
    program
}

fn listed(place: &Place, loaded: &Loaded) -> String {
    let family = loaded.table.family.word();
    place.run(&format!("nft -s -t list table {family} sealane-services"))
}

/// Without the stamp, and chains by name: those that came later stand last in the kernel.
fn chains(text: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split("\n\n").collect();
    parts[0] = parts[0]
        .split_once("\"\n")
        .map_or(parts[0], |(_, rest)| rest);
    let last = parts.len() - 1;
    parts[last] = parts[last].trim_end_matches(['}', '\n', '\t']);
    let parts = parts
        .into_iter()
        .map(|part| part.trim_end_matches(['\n', '\t', '}']));
    let mut parts: Vec<&str> = parts.collect();
    parts.sort_unstable();
    parts
}

#[tokio::test]
async fn lists_what_was_meant_and_gives_back_what_it_got() {
    let place = Place::new().await;
    for family in Family::ALL {
        let all = table(40);
        let program = start(&place, family, &all);
        let meant = program.loaded();
        let text = listed(&place, &meant);
        similar(&chains(&text), &chains(&meant.table.to_string()));
        let image = place.netlink.services(family).unwrap();
        assert_eq!(program.difference(&image), []);
        let (_, transactions) = ServiceProgram::restore(family, &image, &pods(), all.iter());
        assert_eq!(transactions, [], "a restart changes nothing");
        // All elements, too, with nft's own reader.
        place.run("nft list ruleset");
    }
}

fn similar(left: &[&str], right: &[&str]) {
    for (left, right) in left.iter().zip(right) {
        assert_eq!(left, right);
    }
    assert_eq!(left.len(), right.len());
}

#[tokio::test]
async fn follows_changes_one_by_one() {
    let place = Place::new().await;
    let family = Family::V4;
    let mut all = table(12);
    let mut program = start(&place, family, &all);
    let more = table(30);
    let mut changes = Vec::new();
    for n in 1..=30 {
        let name = ObjectName::new("a", format!("s{n}"));
        let service = more.service(&name).cloned();
        changes.push(all.set_service(&name, service.filter(|_| n % 3 != 0)));
        for (slice, content) in more.slices_of(&name) {
            let slice = ObjectName::new("a", &**slice);
            changes.push(all.set_slice(&slice, Some(content.clone()).filter(|_| n % 4 != 0)));
        }
    }
    for changes in changes {
        for transaction in program.update(&changes) {
            place.netlink.change_services(family, &transaction).unwrap();
        }
    }
    let before = place.netlink.table_generation().unwrap();
    assert_eq!(place.netlink.table_generation().unwrap(), before);
    let pods = [
        "10.244.1.0/24".parse().unwrap(),
        "10.251.0.0/16".parse().unwrap(),
    ];
    for transaction in program.set_pods(&pods) {
        place.netlink.change_services(family, &transaction).unwrap();
    }
    let image = place.netlink.services(family).unwrap();
    assert_eq!(program.difference(&image), []);
    assert_ne!(place.netlink.table_generation().unwrap(), before);
    // What somebody takes out comes back, and what he puts in goes.
    place.run("nft add element ip sealane-services hairpin { 10.1.1.1 . 10.1.1.1 }");
    place.run("nft flush map ip sealane-services eps");
    let image = place.netlink.services(family).unwrap();
    for transaction in program.difference(&image) {
        place.netlink.change_services(family, &transaction).unwrap();
    }
    let image = place.netlink.services(family).unwrap();
    assert_eq!(program.difference(&image), []);
}

/// Two Services with more endpoints than are listed: one keeps its clients.
fn large(endpoints: u16) -> ServiceTable {
    let mut large = ServiceTable::new(table(0).node().clone());
    for (name, affinity_seconds) in [("free", None), ("sticky", Some(90))] {
        let port = ServicePortNet {
            name: "p".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        };
        let service = ServiceNet {
            cluster_ips: ips([&format!("10.96.1.{}", name.len()), "fd00:96::1"]),
            affinity_seconds,
            ports: vec![port],
            ..ServiceNet::default()
        };
        large.set_service(&ObjectName::new("a", name), Some(service));
        let endpoint = |n: u16| SliceEndpoint {
            address: IpAddr::from([10, 245, (n >> 8) as u8, n as u8]),
            ready: true,
            serving: true,
            terminating: false,
            node: None,
            hints: None,
        };
        let slice = SliceNet {
            service: name.into(),
            family: Some(Family::V4),
            ports: [SlicePort {
                name: "p".into(),
                protocol: Protocol::Tcp,
                port: 8080,
            }]
            .into(),
            endpoints: (0..endpoints).map(endpoint).collect(),
            triggered_ms: None,
        };
        large.set_slice(&ObjectName::new("a", name), Some(slice));
    }
    large
}

#[tokio::test]
async fn elements_that_are_asked_for_by_key_are_those_that_are_there() {
    let place = Place::new().await;
    let family = Family::V4;
    let program = start(&place, family, &large(6_000));
    let follows = || {
        let mut expected = program.fingerprints();
        let whole = place
            .netlink
            .each_of_services(family, |element| expected.see(&element));
        whole.unwrap() && expected.agree()
    };
    let image = place.netlink.services(family).unwrap();
    assert_eq!(program.difference(&image), []);
    assert!(follows());
    // One that nothing leads to, and one that is missing.
    for edit in [
        "add element ip sealane-services eps { 0x00000001 . 0x00abcdef : 10.9.9.9 . 80 }",
        "flush map ip sealane-services endpoints",
    ] {
        place.run(&format!("nft {edit}"));
        assert!(!follows(), "{edit}");
        let image = place.netlink.services(family).unwrap();
        for transaction in program.difference(&image) {
            place.netlink.change_services(family, &transaction).unwrap();
        }
        assert!(follows(), "{edit}");
    }
}
