//! What a frame tells of a probe: headers read from outside in. Pure; nothing in a frame may make it panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sealane_net::{Protocol, names};

/// The packet in a frame, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// From where to where the datagram goes that the packet is in (VXLAN).
    pub outer: Option<(IpAddr, IpAddr)>,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Tcp(Segment),
    /// With the beginning of its data.
    Udp(Option<[u8; 16]>),
    /// An error of ICMP, with what it says and whose packet it is about.
    Unreachable {
        why: &'static str,
        about: (SocketAddr, SocketAddr),
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub flags: u8,
    pub sequence: u32,
    pub acknowledged: u32,
    /// The first option, if it is the maximum segment size.
    pub segment_size: Option<u16>,
}

impl Segment {
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

/// Reads a frame from its Ethernet header on.
pub(crate) fn read(frame: &[u8]) -> Option<Datagram> {
    let packet = frame.get(14..)?;
    match u16_at(frame, 12)? {
        0x0800 | 0x86dd => read_packet(packet),
        _ => None,
    }
}

fn read_packet(packet: &[u8]) -> Option<Datagram> {
    let (source, destination, protocol, rest) = network(packet)?;
    let datagram = |source_port, destination_port, body| Datagram {
        outer: None,
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
        body,
    };
    match protocol {
        6 => {
            let segment = segment(rest)?;
            Some(datagram(
                u16_at(rest, 0)?,
                u16_at(rest, 2)?,
                Body::Tcp(segment),
            ))
        }
        17 => {
            let to = u16_at(rest, 2)?;
            if to == names::VXLAN_PORT
                && let Some(inner) = rest.get(16..).and_then(read)
            {
                return Some(Datagram {
                    outer: Some((source, destination)),
                    ..inner
                });
            }
            let token = rest.get(8..24).and_then(|data| data.try_into().ok());
            Some(datagram(u16_at(rest, 0)?, to, Body::Udp(token)))
        }
        1 | 58 => {
            let why = unreachable(protocol, *rest.first()?, *rest.get(1)?)?;
            let (from, to, _, inner) = network(rest.get(8..)?)?;
            let about = (
                SocketAddr::new(from, u16_at(inner, 0)?),
                SocketAddr::new(to, u16_at(inner, 2)?),
            );
            Some(datagram(0, 0, Body::Unreachable { why, about }))
        }
        _ => None,
    }
}

/// RFC 791 §3.1, RFC 8200 §3: addresses, protocol, and what follows.
fn network(packet: &[u8]) -> Option<(IpAddr, IpAddr, u8, &[u8])> {
    match packet.first()? >> 4 {
        4 => {
            let address = |at| {
                let bytes = packet.get(at..at + 4)?;
                Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into())
            };
            let length = usize::from(packet[0] & 0xf) * 4;
            Some((
                address(12)?,
                address(16)?,
                *packet.get(9)?,
                packet.get(length..)?,
            ))
        }
        6 => {
            let address = |at| {
                let bytes = packet.get(at..at + 16)?;
                Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
            };
            Some((
                address(8)?,
                address(24)?,
                *packet.get(6)?,
                packet.get(40..)?,
            ))
        }
        _ => None,
    }
}

/// RFC 9293 §3.1
fn segment(bytes: &[u8]) -> Option<Segment> {
    let option = bytes
        .get(20..24)
        .filter(|option| option.starts_with(&[2, 4]));
    let has_options = bytes.get(12)? >> 4 > 5;
    Some(Segment {
        flags: *bytes.get(13)?,
        sequence: u32_at(bytes, 4)?,
        acknowledged: u32_at(bytes, 8)?,
        segment_size: option.filter(|_| has_options).and_then(|o| u16_at(o, 2)),
    })
}

/// RFC 792, RFC 4443 §3
fn unreachable(protocol: u8, kind: u8, code: u8) -> Option<&'static str> {
    Some(match (protocol, kind, code) {
        (1, 3, 0) | (58, 1, 0) => "network unreachable",
        (1, 3, 1) | (58, 1, 3) => "host unreachable",
        (1, 3, 3) | (58, 1, 4) => "port unreachable",
        (1, 3, 4) | (58, 2, _) => "packet too big",
        (1, 3, 9 | 10 | 13) | (58, 1, 1) => "administratively prohibited",
        (1, 3, _) | (58, 1, _) => "unreachable",
        (1, 11, _) | (58, 3, _) => "time exceeded",
        _ => return None,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

impl Datagram {
    /// Whether it is of a protocol, or an error about a packet.
    pub fn concerns(&self, protocol: Protocol) -> bool {
        match self.body {
            Body::Tcp(_) => protocol == Protocol::Tcp,
            Body::Udp(_) => protocol == Protocol::Udp,
            Body::Unreachable { .. } => true,
        }
    }
}
