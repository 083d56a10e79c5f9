//! What the kernel tells of single packets: rules that they meet, connections, frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use sealane_net::{Family, Protocol};
use sealane_netlink::{Conntrack, RuleTrace, Sign, Tap, netns};
use sealane_ruleset::Verdict;

use crate::place::Place;

const TOKEN: [u8; 16] = *b"sixteen bytes 16";

/// Where nobody has to listen.
const PORT: u16 = 4242;

/// Sends datagrams to itself.
fn send(place: &Place, to: IpAddr, data: &[&[u8]]) -> SocketAddr {
    let sent = netns::run_in(&place.netns, || {
        let own = SocketAddr::new(to, 0);
        let socket = UdpSocket::bind(own).unwrap();
        for data in data {
            // A rule may refuse it.
            let _ = socket.send_to(data, (to, PORT));
        }
        socket.local_addr().unwrap()
    });
    sent.unwrap()
}

async fn wall(rule: &str) -> Place {
    let place = Place::new().await;
    place.run("nft add table inet wall");
    place.run("nft add chain inet wall out { type filter hook output priority 0 ; }");
    place.run(&format!(
        "nft add rule inet wall out udp dport {PORT} {rule}"
    ));
    place
}

#[tokio::test]
async fn the_rules_that_a_packet_meets_are_told_and_no_table_is_left() {
    let place = wall("drop").await;
    let begin = || RuleTrace::begin(Family::V4, Sign::Token(TOKEN)).unwrap();
    let trace = netns::run_in(&place.netns, begin).unwrap();
    let tap = Tap::begin(&place.netns).unwrap();
    send(
        &place,
        Ipv4Addr::LOCALHOST.into(),
        &[b"another one, which is longer", &TOKEN],
    );
    let met = trace.met();
    let dropped: Vec<_> = met
        .iter()
        .filter(|met| met.verdict == Some(Verdict::Drop))
        .collect();
    assert_eq!(
        dropped.len(),
        1,
        "the other datagram is nobody's business: {met:?}"
    );
    let place_of = (dropped[0].family, &*dropped[0].table, &*dropped[0].chain);
    assert_eq!(place_of, ("inet", "wall", "out"));
    let listed = place.run("nft -a list chain inet wall out");
    let handle = dropped[0].rule.unwrap();
    assert!(
        listed.contains(&format!("drop # handle {handle}")),
        "{listed}"
    );
    assert_eq!(tap.frames(|_| true).unwrap(), [], "it came to no link");

    assert!(place.run("nft list tables").contains("trace-by-sealane"));
    drop(trace);
    let left = place.run("nft list tables");
    assert_eq!(left.trim(), "table inet wall");
}

#[tokio::test]
async fn frames_are_seen_on_both_sides_of_a_link() {
    let place = Place::new().await;
    // Without it the kernel's refusal, which quotes the datagram, would end with the token, too.
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, PORT)).unwrap();
    let _listener = netns::run_in(&place.netns, bind).unwrap();
    let tap = Tap::begin(&place.netns).unwrap();
    send(&place, Ipv4Addr::LOCALHOST.into(), &[&TOKEN]);
    let frames = tap.frames(|bytes| bytes.ends_with(&TOKEN)).unwrap();
    let ways: Vec<_> = frames
        .iter()
        .map(|frame| (frame.link.as_str(), frame.outgoing))
        .collect();
    assert_eq!(ways, [("lo", true), ("lo", false)]);
}

#[tokio::test]
async fn connections_to_an_address_are_found_in_both_families_and_deleted() {
    let place = wall("ct state new accept").await;
    let conntrack = netns::run_in(&place.netns, Conntrack::open)
        .unwrap()
        .unwrap();
    for to in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ] {
        let client = send(&place, to, &[&TOKEN]);
        let called = SocketAddr::new(to, PORT);
        let flows = conntrack.flows_to(called, Protocol::Udp).unwrap();
        let ends: Vec<_> = flows
            .iter()
            .map(|flow| (flow.client, flow.called, flow.answers, flow.answered))
            .collect();
        assert_eq!(ends, [(client, called, called, client)]);
        assert!(conntrack.delete(&flows[0]).unwrap());
        assert_eq!(conntrack.flows_to(called, Protocol::Udp).unwrap(), []);
    }
}
