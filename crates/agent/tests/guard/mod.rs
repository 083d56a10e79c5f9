//! A pod with every right over its own interface pretends to be another, a router, a DHCP server.
//!
//! ```text
//! liar ── eth0 ═══ node ═══ eth0 ── victim
//! ```
//!
//! Each lie is a frame made by hand. Behind the lies comes the truth: the same
//! kinds of frames with the liar's own addresses, all of which must arrive.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use sealane_agent::{AntiSpoofing, Attachment, Settings, leases::Key, wire::link_name};
use sealane_testkit::{
    Namespace, SOON, Stream, Topology, eventually,
    frame::{BROADCAST, Mac, Wire, arp, carrying, ethernet, icmpv6, packet, udp},
};

use crate::stage::{Agent, NODE_IP, Stage, reach, seen_source, this_node};
use crate::{SUBNET, outside};

const SUBNET_V6: &str = "fd00:10:244:1::/64";
const UDP: u8 = 17;
const ICMP: u8 = 1;
const IGMP: u8 = 2;
const ICMPV6: u8 = 58;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

struct Host {
    mac: Mac,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Host {
    fn link_local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.mac;
        let half = |x, y| u16::from_be_bytes([x, y]);
        let id = [half(a ^ 2, b), half(c, 0xff), half(0xfe, d), half(e, f)];
        Ipv6Addr::new(0xfe80, 0, 0, 0, id[0], id[1], id[2], id[3])
    }
}

fn start(stage: &Stage, attachment: Attachment, anti_spoofing: AntiSpoofing) -> Agent {
    let settings = Settings {
        attachment,
        anti_spoofing,
        ..stage.settings()
    };
    let agent = Agent::start(settings, stage.node.title());
    agent.tell_nodes(vec![this_node(&[SUBNET, SUBNET_V6])]);
    agent.tell_pods(vec![]);
    agent.wait_ready();
    agent
}

fn add(stage: &Stage, name: &str, netns: &Namespace) -> Host {
    let result = stage.runtime().add(name, netns).unwrap();
    let of = |v4: bool| {
        let mut ips = result.ips.iter().map(|ip| ip.address.addr());
        ips.find(|ip| ip.is_ipv4() == v4)
    };
    let (Some(IpAddr::V4(v4)), Some(IpAddr::V6(v6))) = (of(true), of(false)) else {
        panic!("{name} has not both families");
    };
    Host {
        mac: mac_of(netns, "eth0"),
        v4,
        v6,
    }
}

fn mac_of(netns: &Namespace, link: &str) -> Mac {
    let text = netns.run("ip", ["-br", "link", "show", link]).succeeds();
    let mac = text.split_whitespace().nth(2).unwrap();
    let bytes: Vec<u8> = mac
        .split(':')
        .map(|hex| u8::from_str_radix(hex, 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

/// How many packets were dropped, by reason.
fn dropped(agent: &Agent) -> BTreeMap<String, u64> {
    const NAME: &str = "sealane_guard_dropped_packets_total{reason=\"";
    let metrics = agent.metrics();
    let line = |line: &str| {
        let (reason, number) = line.strip_prefix(NAME)?.split_once("\"} ")?;
        Some((reason.to_owned(), number.parse().ok()?))
    };
    let all: BTreeMap<String, u64> = metrics.lines().filter_map(line).collect();
    assert_eq!(all.len(), 7, "{metrics}");
    all.into_iter()
        .filter(|(_, packets)| *packets > 0)
        .collect()
}

fn counted(lies: &[(&str, Vec<u8>)]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (reason, _) in lies {
        *counts.entry((*reason).to_owned()).or_default() += 1;
    }
    counts
}

/// An advertisement of `target`, as an answer to `to`.
fn advertisement(from: Ipv6Addr, to: Ipv6Addr, target: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let mut body = vec![0x60, 0, 0, 0];
    body.extend(target.octets());
    body.extend([2, 1]);
    body.extend(mac);
    icmpv6(from, to, 136, &body)
}

fn solicitation(from: Ipv6Addr, to: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let body = [&[0; 4][..], &target.octets()].concat();
    icmpv6(from, to, 135, &body)
}

/// Frames that must not leave the liar's port, and why.
fn lies(liar: &Host, victim: &Host, gateway: Ipv4Addr) -> Vec<(&'static str, Vec<u8>)> {
    let (own, other) = (liar.mac, victim.mac);
    let v4 = |mac: Mac, from: Ipv4Addr, protocol: u8, payload: &[u8]| {
        carrying(
            mac,
            other,
            &packet(from.into(), victim.v4.into(), protocol, payload),
        )
    };
    let v6 = |mac: Mac, from: Ipv6Addr, protocol: u8, payload: &[u8]| {
        carrying(
            mac,
            other,
            &packet(from.into(), victim.v6.into(), protocol, payload),
        )
    };
    let datagram = udp(9, 9, b"lie");
    let message = |kind: u8, body: &[u8]| icmpv6(liar.v6, victim.v6, kind, body);
    let na = advertisement(liar.v6, victim.v6, victim.v6, own);
    // RFC 8200 §4.6: six bytes of padding before what it carries.
    let options = [&[ICMPV6, 0, 1, 4, 0, 0, 0, 0][..], &na].concat();
    let dad = solicitation(Ipv6Addr::UNSPECIFIED, victim.v6, victim.v6);
    let stolen = packet(victim.v4.into(), victim.v4.into(), UDP, &datagram);
    // IEEE 802.1Q §9.6: priority tags, without a VLAN.
    let tagged = [&[0, 0, 8, 0][..], &stolen].concat();
    let twice = [&[0, 0, 0x81, 0][..], &tagged].concat();
    let llc = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &stolen].concat();
    let for_bridges = [1, 0x80, 0xc2, 0, 0, 0x0e];
    let says = |mac: Mac, operation: u16, sender: (Mac, Ipv4Addr)| {
        ethernet(
            mac,
            BROADCAST,
            0x0806,
            &arp(operation, sender, (other, victim.v4)),
        )
    };
    vec![
        ("address", v4(own, victim.v4, UDP, &datagram)),
        ("address", v4(own, gateway, UDP, &datagram)),
        ("address", v4(own, Ipv4Addr::UNSPECIFIED, UDP, &datagram)),
        ("address", v6(own, victim.v6, UDP, &datagram)),
        ("address", v6(own, victim.link_local(), UDP, &datagram)),
        ("address", ethernet(own, other, 0x8100, &tagged)),
        ("mac", v4(other, liar.v4, UDP, &datagram)),
        ("mac", v6(other, liar.v6, UDP, &datagram)),
        ("mac", says(other, REQUEST, (own, liar.v4))),
        ("arp-sender", says(own, REPLY, (own, victim.v4))),
        ("arp-sender", says(own, REPLY, (own, gateway))),
        ("arp-sender", says(own, REQUEST, (own, gateway))),
        ("arp-sender", says(own, REPLY, (other, liar.v4))),
        ("arp-sender", says(own, REPLY, (own, Ipv4Addr::UNSPECIFIED))),
        ("neighbour", v6(own, liar.v6, ICMPV6, &na)),
        ("neighbour", v6(own, liar.link_local(), ICMPV6, &na)),
        ("neighbour", v6(own, liar.v6, 60, &options)),
        ("neighbour", v6(own, Ipv6Addr::UNSPECIFIED, ICMPV6, &dad)),
        (
            "router",
            v6(own, liar.link_local(), ICMPV6, &message(134, &[0; 12])),
        ),
        ("router", v6(own, liar.v6, ICMPV6, &message(137, &[0; 36]))),
        (
            "router",
            v6(own, liar.link_local(), ICMPV6, &message(130, &[0; 20])),
        ),
        ("router", v4(own, liar.v4, ICMP, &[5, 1, 0, 0, 0, 0, 0, 0])),
        (
            "router",
            v4(own, liar.v4, IGMP, &[0x11, 0, 0xee, 0xff, 0, 0, 0, 0]),
        ),
        ("dhcp-server", v4(own, liar.v4, UDP, &udp(67, 68, b"offer"))),
        (
            "dhcp-server",
            v6(own, liar.v6, UDP, &udp(547, 546, b"reply")),
        ),
        ("protocol", ethernet(own, other, 0x8100, &twice)),
        ("protocol", ethernet(own, other, llc.len() as u16, &llc)),
        ("protocol", ethernet(own, other, 0x88cc, b"neighbours")),
        ("address", ethernet(other, for_bridges, 0x0800, &stolen)),
    ]
}

/// Frames of the same kinds that must arrive.
fn truths(liar: &Host, victim: &Host) -> Vec<Vec<u8>> {
    let (own, other) = (liar.mac, victim.mac);
    let v4 = |payload: &[u8]| packet(liar.v4.into(), victim.v4.into(), UDP, payload);
    let v6 = |from: Ipv6Addr, protocol: u8, payload: &[u8]| {
        packet(from.into(), victim.v6.into(), protocol, payload)
    };
    let says = |operation: u16, sender: Ipv4Addr| {
        let packet = arp(operation, (own, sender), (other, victim.v4));
        ethernet(own, BROADCAST, 0x0806, &packet)
    };
    let local = liar.link_local();
    let na = advertisement(liar.v6, victim.v6, liar.v6, own);
    let na_local = advertisement(local, victim.v6, local, own);
    let dad = solicitation(Ipv6Addr::UNSPECIFIED, victim.v6, local);
    let question = solicitation(local, victim.v6, victim.v6);
    let mut frames: Vec<Vec<u8>> = [
        v4(&udp(9, 9, b"truth")),
        v4(&udp(68, 67, b"discover")),
        v6(liar.v6, UDP, &udp(9, 9, b"truth")),
        v6(local, UDP, &udp(546, 547, b"solicit")),
        v6(liar.v6, ICMPV6, &na),
        v6(local, ICMPV6, &na_local),
        v6(Ipv6Addr::UNSPECIFIED, ICMPV6, &dad),
        v6(local, ICMPV6, &question),
    ]
    .iter()
    .map(|packet| carrying(own, other, packet))
    .collect();
    frames.extend([
        says(REPLY, liar.v4),
        says(REQUEST, liar.v4),
        // Whether the address is free.
        says(REQUEST, Ipv4Addr::UNSPECIFIED),
    ]);
    frames
}

/// Waits until the last of `truths` has come; all that came.
#[track_caller]
fn all_arrive(wire: &Wire, truths: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut seen: Vec<Vec<u8>> = Vec::new();
    eventually(SOON, "what is true arrives", || {
        seen.extend(std::iter::from_fn(|| wire.next()));
        match truths.iter().position(|truth| !seen.contains(truth)) {
            Some(missing) => Err(format!("frame {missing} of the true ones is missing")),
            None => Ok(()),
        }
    });
    seen
}

#[test]
fn a_port_of_the_bridge_lets_pass_what_is_the_pods_own() {
    let stage = Stage::new();
    let agent = start(&stage, Attachment::Bridge, AntiSpoofing::Pod);
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let (liar, victim) = (add(&stage, "a", &a), add(&stage, "b", &b));
    let (mouth, ears) = (Wire::at(&a, "eth0"), Wire::at(&b, "eth0"));
    let lies = lies(&liar, &victim, [10, 244, 1, 1].into());
    let truths = truths(&liar, &victim);
    for (_, lie) in &lies {
        mouth.send(lie);
    }
    for truth in &truths {
        mouth.send(truth);
    }
    let seen = all_arrive(&ears, &truths);
    for (reason, lie) in &lies {
        assert!(!seen.contains(lie), "{reason}: {lie:02x?}");
    }
    assert_eq!(dropped(&agent), counted(&lies));
    // The bridge has learnt nothing from what was dropped.
    reach(&stage.node, victim.v4.into());
    let [m0, m1, m2, m3, m4, m5] = victim.mac;
    let mac = format!("{m0:02x}:{m1:02x}:{m2:02x}:{m3:02x}:{m4:02x}:{m5:02x}");
    let fdb = stage.node.run("bridge", ["fdb", "show"]).succeeds();
    let places = fdb.lines().filter(|line| line.starts_with(&mac)).count();
    assert_eq!(places, 1, "{fdb}");
    // What a pod may do it still can.
    for to in [IpAddr::from(victim.v4), victim.v6.into()] {
        reach(&a, to);
    }
}

#[test]
fn a_routed_link_lets_pass_what_is_the_pods_own() {
    let stage = Stage::new();
    let agent = start(&stage, Attachment::Routed, AntiSpoofing::Pod);
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let (liar, victim) = (add(&stage, "a", &a), add(&stage, "b", &b));
    let mouth = Wire::at(&a, "eth0");
    // Nobody but the node sees Ethernet addresses, and what is for bridges or in tags goes nowhere.
    let of_interest = |(reason, _): &(&str, Vec<u8>)| !matches!(*reason, "mac" | "protocol");
    let mut lies = lies(&liar, &victim, [10, 244, 1, 1].into());
    lies.retain(of_interest);
    let near = link_name(&Key {
        container_id: "a".into(),
        ifname: "eth0".into(),
    });
    let near = mac_of(&stage.node, &near);
    // The pod's own address with whatever Ethernet address is no lie here, nor is a probe.
    let no_lies = [ethernet(
        liar.mac,
        BROADCAST,
        0x0806,
        &arp(REPLY, (victim.mac, liar.v4), (victim.mac, victim.v4)),
    )];
    lies.retain(|(_, lie)| !no_lies.contains(lie));
    for (_, lie) in &mut lies {
        let to_all = lie.starts_with(&BROADCAST);
        lie[..6].copy_from_slice(if to_all { &BROADCAST } else { &near });
        mouth.send(lie);
    }
    for to in [IpAddr::from(victim.v4), victim.v6.into()] {
        reach(&a, to);
    }
    assert_eq!(dropped(&agent), counted(&lies));
}

#[test]
fn what_an_operator_switches_off_is_off() {
    let stage = Stage::new();
    let agent = start(&stage, Attachment::Bridge, AntiSpoofing::Off);
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let (liar, victim) = (add(&stage, "a", &a), add(&stage, "b", &b));
    let (mouth, ears) = (Wire::at(&a, "eth0"), Wire::at(&b, "eth0"));
    let lie = &lies(&liar, &victim, [10, 244, 1, 1].into())[0].1;
    mouth.send(lie);
    all_arrive(&ears, std::slice::from_ref(lie));
    let tables = stage.node.run("nft", ["list", "tables"]).succeeds();
    assert!(!tables.contains("guard"), "{tables}");
    agent.kill();
    // Switched on again, it holds for the pods that are there.
    let agent = start(&stage, Attachment::Bridge, AntiSpoofing::Pod);
    let truths = truths(&liar, &victim);
    mouth.send(lie);
    truths.iter().for_each(|truth| mouth.send(truth));
    assert!(!all_arrive(&ears, &truths).contains(lie));
    assert_eq!(dropped(&agent).len(), 1);
}

/// What is loaded, without what counts.
fn ruleset(stage: &Stage) -> String {
    stage.node.run("nft", ["-s", "list", "ruleset"]).succeeds()
}

/// With the handles, which tables get anew when they are loaded again.
fn handles(stage: &Stage) -> String {
    stage.node.run("nft", ["-a", "list", "tables"]).succeeds()
}

#[test]
fn what_somebody_does_to_our_tables_is_mended_at_once() {
    let stage = Stage::new();
    let agent = start(&stage, Attachment::Bridge, AntiSpoofing::Pod);
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let (liar, victim) = (add(&stage, "a", &a), add(&stage, "b", &b));
    let inside = Stream::between(&a, &b, victim.v4.into());
    let outwards = Stream::between(&a, &stage.outside, outside());
    let before = ruleset(&stage);
    // What is taken away with its chains translates nothing until it is back: a stream that goes
    // out may be cut by that alone, so it has ended before.
    let mut outwards = Some(outwards);
    for (edit, keeps_chains) in [
        ("flush chain ip sealane postrouting", true),
        ("flush set bridge sealane-guard ipv4", true),
        ("flush chain bridge sealane-guard ports", true),
        ("delete table ip sealane", false),
        ("flush ruleset", false),
    ] {
        if !keeps_chains && let Some(outwards) = outwards.take() {
            outwards.finish();
        }
        stage.node.run("nft", edit.split(' ')).succeeds();
        eventually(SOON, &format!("{edit} is mended"), || {
            let now = ruleset(&stage);
            let (mut is, mut was): (Vec<&str>, Vec<&str>) =
                (now.lines().collect(), before.lines().collect());
            // Tables that are loaded again come last.
            is.sort_unstable();
            was.sort_unstable();
            if is == was { Ok(()) } else { Err(now) }
        });
        inside.expect_progress();
        if let Some(outwards) = &outwards {
            outwards.expect_progress();
        }
    }
    assert_eq!(
        seen_source(&a, &stage.outside, outside()).to_string(),
        NODE_IP
    );
    // What we do ourselves is no edit: a pod comes, and no table is loaded again.
    let loaded = handles(&stage);
    let (_more, [c]) = Topology::new(["c"]);
    add(&stage, "c", &c);
    // Others' tables are no concern of ours.
    stage
        .node
        .run("nft", ["add", "table", "ip", "filter"])
        .succeeds();
    stage
        .node
        .run("nft", ["delete", "table", "ip", "filter"])
        .succeeds();
    let (mouth, ears) = (Wire::at(&a, "eth0"), Wire::at(&b, "eth0"));
    let lie = &lies(&liar, &victim, [10, 244, 1, 1].into())[0].1;
    let truths = truths(&liar, &victim);
    mouth.send(lie);
    truths.iter().for_each(|truth| mouth.send(truth));
    assert!(!all_arrive(&ears, &truths).contains(lie));
    stage.runtime().del("c", Some(&c)).unwrap();
    agent.wait("the third pod is gone", |_| agent.leases() == 2);
    assert_eq!(handles(&stage), loaded);
    assert!(
        !ruleset(&stage).contains("10.244.1.4"),
        "{}",
        ruleset(&stage)
    );
}
