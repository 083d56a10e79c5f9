//! The maps and sets, and what one element of them is.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use sealane_net::{Family, Protocol};

use crate::{Interval, Verdict};

/// The maps and sets of a Service table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Map {
    /// Frontend to the number that says where to go with it.
    PickerOf,
    /// Frontend to the id whose endpoints are meant.
    Frontends,
    /// As `PickerOf`, for clients on this node where those from outside have other endpoints.
    Inside,
    /// As `Frontends`, for the same clients.
    InsideIds,
    /// How many slots, and a random number, to a slot.
    Draws,
    /// Slot and id to endpoint.
    Eps,
    /// Slot and id to the number of an endpoint, where clients stay with theirs.
    StickyEps,
    /// The number of an endpoint to the endpoint.
    Endpoints,
    /// Client and id to the number of its endpoint; filled by packets.
    Affinity,
    /// Id and client that may reach a load balancer's address.
    SourceRanges,
    /// Endpoints of this node, twice: who reaches itself.
    Hairpin,
    /// Pods of this node.
    Pods,
    /// Cluster IPs, whatever their ports.
    ClusterIps,
    /// The upper part of a number to the chain that looks at the client.
    Gates,
    /// The lower part of a number to the chain that picks.
    Pickers,
}

/// What a part of a key, or the data, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An address of the table's family.
    Address,
    /// The number of a protocol, in the first of four bytes.
    Protocol,
    /// A port, in the first two of four bytes, network byte order.
    Port,
    /// A number that travels in the mark, in this machine's byte order.
    Mark,
    /// A number that travels in the mark, and four bytes of which all are random.
    Draw,
    /// A verdict.
    Verdict,
}

/// How a map is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// The name in the table.
    pub name: &'static str,
    /// What it is for.
    pub comment: &'static str,
    /// The parts of a key.
    pub key: &'static [Field],
    /// The parts of the data; none for a set.
    pub data: &'static [Field],
    /// Keys are ranges.
    pub interval: bool,
    /// Rules add elements, which time out.
    pub dynamic: bool,
}

const FRONTEND: &[Field] = &[Field::Address, Field::Protocol, Field::Port];
const ENDPOINT: &[Field] = &[Field::Address, Field::Port];
const SLOT: &[Field] = &[Field::Mark, Field::Mark];
const NUMBER: &[Field] = &[Field::Mark];

impl Map {
    /// All of them, in the order in which they are made.
    pub const ALL: [Map; 15] = [
        Map::PickerOf,
        Map::Frontends,
        Map::Inside,
        Map::InsideIds,
        Map::Draws,
        Map::Eps,
        Map::StickyEps,
        Map::Endpoints,
        Map::Affinity,
        Map::SourceRanges,
        Map::Hairpin,
        Map::Pods,
        Map::ClusterIps,
        Map::Gates,
        Map::Pickers,
    ];

    /// How it is made.
    pub fn spec(self) -> MapSpec {
        let map = |name, comment, key, data| MapSpec {
            name,
            comment,
            key,
            data,
            interval: false,
            dynamic: false,
        };
        const CLIENT: &[Field] = &[Field::Address, Field::Mark];
        match self {
            Map::PickerOf => map("picker-of", "frontend to gate and picker", FRONTEND, NUMBER),
            Map::Frontends => map("frontends", "frontend to id", FRONTEND, NUMBER),
            Map::Inside => map(
                "inside",
                "as picker-of, for clients on this node",
                FRONTEND,
                NUMBER,
            ),
            Map::InsideIds => map(
                "inside-ids",
                "as frontends, for clients on this node",
                FRONTEND,
                NUMBER,
            ),
            Map::Draws => MapSpec {
                interval: true,
                ..map(
                    "draws",
                    "how many, and a random number, to slot",
                    &[Field::Draw],
                    NUMBER,
                )
            },
            Map::Eps => map("eps", "slot and id to endpoint", SLOT, ENDPOINT),
            Map::StickyEps => map(
                "sticky-eps",
                "slot and id to number of endpoint",
                SLOT,
                NUMBER,
            ),
            Map::Endpoints => map("endpoints", "number to endpoint", NUMBER, ENDPOINT),
            Map::Affinity => MapSpec {
                dynamic: true,
                ..map(
                    "affinity",
                    "client and id to number of endpoint",
                    CLIENT,
                    NUMBER,
                )
            },
            Map::SourceRanges => MapSpec {
                interval: true,
                ..map(
                    "source-ranges",
                    "id and clients that may",
                    &[Field::Mark, Field::Address],
                    &[],
                )
            },
            Map::Hairpin => map(
                "hairpin",
                "who reaches itself",
                &[Field::Address, Field::Address],
                &[],
            ),
            Map::Pods => MapSpec {
                interval: true,
                ..map("pods", "pods of this node", &[Field::Address], &[])
            },
            Map::ClusterIps => map(
                "cluster-ips",
                "refused at ports that they do not have",
                &[Field::Address],
                &[],
            ),
            Map::Gates => map(
                "gates",
                "who may, and who is masqueraded",
                NUMBER,
                &[Field::Verdict],
            ),
            Map::Pickers => map(
                "pickers",
                "which chain picks an endpoint",
                NUMBER,
                &[Field::Verdict],
            ),
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Map> {
        Map::ALL.into_iter().find(|map| map.spec().name == name)
    }
}

impl Field {
    /// Its length in a key.
    pub fn bytes(self, family: Family) -> usize {
        match (self, family) {
            (Field::Address, Family::V6) => 16,
            (Field::Draw, _) => 8,
            _ => 4,
        }
    }

    /// nft's number for it; the kernel only keeps that. That of plain integers is 4.
    pub fn number(self, family: Family) -> u32 {
        match (self, family) {
            (Field::Address, Family::V4) => 7,
            (Field::Address, Family::V6) => 8,
            (Field::Protocol, _) => 12,
            (Field::Port, _) => 13,
            (Field::Mark, _) => 19,
            (Field::Draw, _) => 4,
            (Field::Verdict, _) => 0xffff_ff00,
        }
    }

    /// As nft calls it.
    pub fn word(self, family: Family) -> &'static str {
        match (self, family) {
            (Field::Address, Family::V4) => "ipv4_addr",
            (Field::Address, Family::V6) => "ipv6_addr",
            (Field::Protocol, _) => "inet_proto",
            (Field::Port, _) => "inet_service",
            (Field::Mark, _) => "mark",
            // A type of eight bytes that nft has no name for.
            (Field::Draw, _) => "0",
            (Field::Verdict, _) => "verdict",
        }
    }
}

/// A key or data: at most two IPv6 addresses. Held in place, since there may be a million.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bytes {
    /// Zero behind the length.
    bytes: [u8; Bytes::MAX],
    length: u8,
}

impl Bytes {
    /// The longest.
    pub const MAX: usize = 32;

    /// Copies; `None` if it is longer than [`Bytes::MAX`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut copy = Self::default();
        copy.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        copy.length = bytes.len() as u8;
        Some(copy)
    }

    /// What it holds.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Appends an address.
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => self.append(&v4.octets()),
            IpAddr::V6(v6) => self.append(&v6.octets()),
        }
    }

    /// Appends a number as it is in the mark.
    pub fn mark(self, number: u32) -> Self {
        self.append(&number.to_ne_bytes())
    }

    /// Appends four bytes, the highest of the number first.
    pub(crate) fn random(self, number: u32) -> Self {
        self.append(&number.to_be_bytes())
    }

    /// Appends a protocol.
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.append(&[protocol.number(), 0, 0, 0])
    }

    /// Appends a port.
    pub fn port(self, port: u16) -> Self {
        let [high, low] = port.to_be_bytes();
        self.append(&[high, low, 0, 0])
    }

    /// The number at an offset.
    pub fn mark_at(&self, offset: usize) -> Option<u32> {
        let bytes = self.as_slice().get(offset..offset + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// The address at an offset.
    pub fn address_at(&self, offset: usize, family: Family) -> Option<IpAddr> {
        let bytes = self.as_slice().get(offset..)?;
        match family {
            Family::V4 => Some(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?.into()),
            Family::V6 => Some(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?.into()),
        }
    }

    /// The port at an offset.
    pub fn port_at(&self, offset: usize) -> Option<u16> {
        let bytes = self.as_slice().get(offset..offset + 2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    fn append(mut self, more: &[u8]) -> Self {
        let length = usize::from(self.length);
        self.bytes[length..length + more.len()].copy_from_slice(more);
        self.length += more.len() as u8;
        self
    }
}

/// Of what it holds alone, for most are a quarter of the longest.
impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_slice() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// What an element leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    /// Nothing: it is of a set.
    Nothing,
    /// A value.
    Value(Bytes),
    /// A verdict.
    Verdict(Verdict),
}

impl Data {
    /// The number that it is.
    pub fn mark(&self) -> Option<u32> {
        match self {
            Data::Value(value) => value.mark_at(0),
            _ => None,
        }
    }
}

/// An element of a map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Element {
    /// Of which.
    pub map: Map,
    /// The key; of a range its first.
    pub key: Bytes,
    /// Of a range its last.
    pub last: Option<Bytes>,
    /// What it leads to.
    pub data: Data,
}

impl Element {
    pub(crate) fn number(map: Map, key: Bytes, number: u32) -> Self {
        Self::value(map, key, Bytes::default().mark(number))
    }

    pub(crate) fn value(map: Map, key: Bytes, value: Bytes) -> Self {
        Self {
            map,
            key,
            last: None,
            data: Data::Value(value),
        }
    }

    pub(crate) fn member(map: Map, key: Bytes) -> Self {
        Self {
            map,
            key,
            last: None,
            data: Data::Nothing,
        }
    }

    pub(crate) fn verdict(map: Map, number: u32, verdict: Verdict) -> Self {
        Self {
            map,
            key: Bytes::default().mark(number),
            last: None,
            data: Data::Verdict(verdict),
        }
    }

    pub(crate) fn range(map: Map, before: Bytes, interval: &Interval) -> Self {
        Self {
            map,
            key: before.address(interval.first()),
            last: Some(before.address(interval.last())),
            data: Data::Nothing,
        }
    }
}
