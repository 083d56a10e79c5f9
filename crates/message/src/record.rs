//! Records, and how they are read out of a message.

mod read;

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{Class, Kind, Name};

pub(crate) use read::number;
pub use read::{Malformed, Records};

/// Where in a message a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// Who says that there is nothing: the SOA of a negative answer.
    Authority,
    /// What will be asked next: addresses of SRV targets.
    Additional,
}

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<'a> {
    /// Where it stands.
    pub section: Section,
    /// Of which name it is.
    pub owner: Name,
    /// Its class; of an OPT, the size that it tells.
    pub class: Class,
    /// Seconds that it may be kept; of an OPT, flags.
    pub ttl: u32,
    /// What it says, and so of which kind it is.
    pub data: Data<'a>,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "made on the stack, written at once, never kept"
)]
pub enum Data<'a> {
    /// An address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name that the owner stands for.
    Cname(Name),
    /// A server of the zone.
    Ns(Name),
    /// The name of an address.
    Ptr(Name),
    /// A port and the host that has it.
    Srv {
        /// Lower ones are tried first.
        priority: u16,
        /// Share among those of one priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host; never compressed (RFC 2782).
        target: Name,
    },
    /// A mail server.
    Mx {
        /// Lower ones are tried first.
        preference: u16,
        /// The server.
        exchange: Name,
    },
    /// The start of a zone.
    Soa(Soa),
    /// Any other kind, or TXT, in wire form: nothing in it is compressed, and nothing will be.
    Other(Kind, &'a [u8]),
}

/// The start of a zone (RFC 1035 §3.3.13).
#[derive(Clone, Debug, PartialEq)]
pub struct Soa {
    /// The server that the zone is made at.
    pub primary: Name,
    /// The mailbox of who answers for it.
    pub mailbox: Name,
    /// Its version.
    pub serial: u32,
    /// Seconds between looks at the version.
    pub refresh: u32,
    /// Seconds to the next look after one that failed.
    pub retry: u32,
    /// Seconds after which a copy is no longer answered from.
    pub expire: u32,
    /// Seconds that "there is none" may be kept (RFC 2308 §4), at most the record's own TTL.
    pub minimum: u32,
}

impl Data<'_> {
    /// Of which kind the record is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::A(_) => Kind::A,
            Self::Aaaa(_) => Kind::AAAA,
            Self::Cname(_) => Kind::CNAME,
            Self::Ns(_) => Kind::NS,
            Self::Ptr(_) => Kind::PTR,
            Self::Srv { .. } => Kind::SRV,
            Self::Mx { .. } => Kind::MX,
            Self::Soa(_) => Kind::SOA,
            Self::Other(kind, _) => *kind,
        }
    }
}

/// `text` as the data of a TXT record: strings of up to 255 bytes each, at least one.
///
/// ```
/// # use sealane_message::text_data;
/// assert_eq!(text_data("1.1.0"), b"\x051.1.0");
/// ```
#[must_use]
pub fn text_data(text: &str) -> Vec<u8> {
    if text.is_empty() {
        return vec![0];
    }
    let mut data = Vec::with_capacity(text.len() + 1 + text.len() / 255);
    for part in text.as_bytes().chunks(255) {
        data.push(part.len() as u8);
        data.extend_from_slice(part);
    }
    data
}
