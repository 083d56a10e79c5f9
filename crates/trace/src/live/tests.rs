//! Frames by hand, and what they tell of a probe.

use std::net::{Ipv4Addr, SocketAddr};

use sealane_netlink::{Frame, Sign};

use super::frame::{Body, read};
use super::sight::{Role, Sights};
use crate::trace::Place;

const SIGN: Sign = Sign::SegmentSize(1233);
const SYN: u8 = 2;
const RST_ACK: u8 = 20;
const SYN_ACK: u8 = 18;

type End = ([u8; 4], u16);
const CLIENT: End = ([10, 244, 1, 2], 40000);
const SERVICE: End = ([10, 96, 0, 17], 80);
const POD: End = ([10, 244, 2, 7], 8080);

fn ipv4(protocol: u8, from: End, to: End, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend(from.0);
    packet.extend(to.0);
    packet.extend(payload);
    packet
}

fn ports(from: End, to: End) -> Vec<u8> {
    [from.1.to_be_bytes(), to.1.to_be_bytes()].concat()
}

/// A segment whose first option tells a size.
fn tcp(from: End, to: End, flags: u8, numbers: (u32, u32), size: u16) -> Vec<u8> {
    let mut bytes = ports(from, to);
    bytes.extend(numbers.0.to_be_bytes());
    bytes.extend(numbers.1.to_be_bytes());
    bytes.extend([0x60, flags, 0, 0, 0, 0, 0, 0, 2, 4]);
    bytes.extend(size.to_be_bytes());
    ipv4(6, from, to, &bytes)
}

fn udp(from: End, to: End, data: &[u8]) -> Vec<u8> {
    let header = [ports(from, to), vec![0; 4]].concat();
    ipv4(17, from, to, &[header, data.to_vec()].concat())
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    [&[0; 12][..], &[8, 0], packet].concat()
}

fn seen(packets: &[Vec<u8>], sign: Sign) -> Vec<(Role, SocketAddr, SocketAddr)> {
    let frame = |packet: &Vec<u8>| {
        let frame = Frame {
            link: "eth0".into(),
            outgoing: false,
            bytes: ethernet(packet),
        };
        (Place::Outside, frame)
    };
    let sights = Sights::of(packets.iter().map(frame).collect(), sign);
    let told = sights.all.into_iter();
    told.map(|sight| (sight.role, sight.source, sight.destination))
        .collect()
}

fn at(end: End) -> SocketAddr {
    (Ipv4Addr::from(end.0), end.1).into()
}

#[test]
fn the_packet_is_found_again_behind_a_translation_and_others_are_not() {
    let probe = tcp(CLIENT, SERVICE, SYN, (7, 0), 1233);
    let translated = tcp(CLIENT, POD, SYN, (7, 0), 1233);
    let answer = tcp(POD, CLIENT, SYN_ACK, (9, 8), 1460);
    let another = tcp(CLIENT, SERVICE, SYN, (7, 0), 1460);
    let answer_to_another = tcp(POD, CLIENT, SYN_ACK, (9, 5), 1460);
    let packets = [probe, translated, answer, another, answer_to_another];
    assert_eq!(
        seen(&packets, SIGN),
        [
            (Role::Probe, at(CLIENT), at(SERVICE)),
            (Role::Probe, at(CLIENT), at(POD)),
            (Role::Answer, at(POD), at(CLIENT)),
        ]
    );
}

#[test]
fn refusals_are_told_apart() {
    let probe = tcp(CLIENT, SERVICE, SYN, (7, 0), 1233);
    let reset = tcp(SERVICE, CLIENT, RST_ACK, (0, 8), 0);
    let router: End = ([10, 244, 1, 1], 0);
    let error = [vec![3, 3, 0, 0, 0, 0, 0, 0], probe.clone()].concat();
    let error = ipv4(1, router, CLIENT, &error);
    let roles = seen(&[probe, reset, error], SIGN);
    let roles: Vec<Role> = roles.into_iter().map(|(role, ..)| role).collect();
    assert_eq!(
        roles,
        [Role::Probe, Role::Reset, Role::Error("port unreachable")]
    );
}

#[test]
fn a_datagram_is_known_by_its_data_and_its_answer_by_its_way() {
    let token = [7; 16];
    let probe = udp(CLIENT, POD, &token);
    let other = udp(CLIENT, SERVICE, &[8; 16]);
    let answer = udp(POD, CLIENT, b"pong");
    let roles = seen(&[probe, other, answer], Sign::Token(token));
    let roles: Vec<Role> = roles.into_iter().map(|(role, ..)| role).collect();
    assert_eq!(roles, [Role::Probe, Role::Answer]);
}

#[test]
fn a_tunnel_is_looked_into() {
    let inner = ethernet(&tcp(CLIENT, POD, SYN, (7, 0), 1233));
    let (near, far): (End, End) = (([172, 29, 0, 2], 50000), ([172, 30, 0, 3], 4789));
    let wrapped = udp(near, far, &[vec![8, 0, 0, 0, 0, 0, 1, 0], inner].concat());
    let datagram = read(&ethernet(&wrapped)).unwrap();
    assert_eq!(datagram.outer, Some((at(near).ip(), at(far).ip())));
    assert_eq!(
        (datagram.source, datagram.destination),
        (at(CLIENT), at(POD))
    );
    assert!(matches!(datagram.body, Body::Tcp(_)));
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let whole = ethernet(&udp(CLIENT, ([172, 29, 0, 2], 4789), &[0x45; 60]));
    for length in 0..whole.len() {
        read(&whole[..length]);
    }
    for at in 0..whole.len() {
        for value in [0, 0x0f, 0x4f, 0x60, 0xff] {
            let mut changed = whole.clone();
            changed[at] = value;
            read(&changed);
        }
    }
}
