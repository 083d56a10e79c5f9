//! What was seen of a probe on the links: its packets, what answered them, and errors about them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use sealane_netlink::{Frame, Sign};

use super::frame::{Body, Datagram, Segment, read};
use crate::trace::Place;

/// A frame that has to do with the probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub place: Place,
    pub link: String,
    pub outgoing: bool,
    pub role: Role,
    pub outer: Option<(IpAddr, IpAddr)>,
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// What a frame has to do with the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Probe,
    /// Somebody took it.
    Answer,
    /// Nobody listens.
    Reset,
    /// It cannot go on.
    Error(&'static str),
}

/// All that was seen, and the sequence numbers by which the kernel's own notes are known to be of the probe.
#[derive(Default)]
pub(crate) struct Sights {
    pub all: Vec<Sight>,
    pub sequences: BTreeSet<u32>,
}

impl Sights {
    pub fn of(frames: Vec<(Place, Frame)>, sign: Sign) -> Self {
        let read = frames.into_iter().filter_map(|(place, frame)| {
            let datagram = read(&frame.bytes)?;
            Some((place, frame, datagram))
        });
        let read: Vec<(Place, Frame, Datagram)> = read.collect();
        let probes = read
            .iter()
            .filter(|(.., datagram)| is_probe(datagram, sign));
        let mut sequences = BTreeSet::new();
        let mut ways = Vec::new();
        for (.., datagram) in probes {
            ways.push((datagram.source, datagram.destination));
            if let Body::Tcp(segment) = datagram.body {
                sequences.insert(segment.sequence);
            }
        }
        let all = read.into_iter().filter_map(|(place, frame, datagram)| {
            let role = role(&datagram, sign, &sequences, &ways)?;
            Some(Sight {
                place,
                link: frame.link,
                outgoing: frame.outgoing,
                role,
                outer: datagram.outer,
                source: datagram.source,
                destination: datagram.destination,
            })
        });
        Self {
            all: all.collect(),
            sequences,
        }
    }
}

fn is_probe(datagram: &Datagram, sign: Sign) -> bool {
    match (&datagram.body, sign) {
        (Body::Tcp(segment), Sign::SegmentSize(size)) => {
            segment.flags & (Segment::SYN | Segment::ACK) == Segment::SYN
                && segment.segment_size == Some(size)
        }
        (Body::Udp(token), Sign::Token(own)) => *token == Some(own),
        _ => false,
    }
}

type Way = (SocketAddr, SocketAddr);

fn role(datagram: &Datagram, sign: Sign, sequences: &BTreeSet<u32>, ways: &[Way]) -> Option<Role> {
    if is_probe(datagram, sign) {
        return Some(Role::Probe);
    }
    match &datagram.body {
        Body::Tcp(segment) => {
            let answers = sequences.contains(&segment.acknowledged.wrapping_sub(1));
            if !answers || segment.flags & Segment::ACK == 0 {
                return None;
            }
            match segment.flags & (Segment::SYN | Segment::RST) {
                Segment::SYN => Some(Role::Answer),
                Segment::RST => Some(Role::Reset),
                _ => None,
            }
        }
        Body::Udp(_) => {
            let back = (datagram.destination, datagram.source);
            ways.contains(&back).then_some(Role::Answer)
        }
        Body::Unreachable { why, about } => ways.contains(about).then_some(Role::Error(why)),
    }
}
