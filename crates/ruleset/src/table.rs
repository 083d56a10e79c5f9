use sealane_net::{Family, fingerprint};

use crate::services::Map;
use crate::{Chain, KeyedSet, Set};

/// The version of our tables' layout and of their encoding.
///
/// It must grow when the same text is to mean something else in the kernel,
/// after a fix of the encoder for instance; text that changes is noticed by itself.
pub const LAYOUT: u32 = 1;

/// Which packets the chains of a table see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableFamily {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// ARP, on links that are no bridges' ports.
    Arp,
    /// Frames at the ports of bridges, whatever they carry.
    Bridge,
}

impl TableFamily {
    /// All of them, in the order of the kernel's numbers.
    pub const ALL: [TableFamily; 4] = [Self::Ip, Self::Arp, Self::Bridge, Self::Ip6];

    /// As nft calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
        }
    }

    /// The family of the addresses in its interval sets; those of other tables have none.
    pub fn addresses(self) -> Family {
        match self {
            Self::Ip6 => Family::V6,
            Self::Ip | Self::Arp | Self::Bridge => Family::V4,
        }
    }
}

impl From<Family> for TableFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Ip,
            Family::V6 => Self::Ip6,
        }
    }
}

/// A table with all that is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Which packets its chains see.
    pub family: TableFamily,
    /// The name, see [`sealane_net::names`].
    pub name: String,
    /// Counters that several rules share, by name.
    pub counters: Vec<String>,
    /// Sets whose elements come and go without the table.
    pub keyed: Vec<KeyedSet>,
    /// Maps of Services, whose elements come and go without the table.
    pub maps: Vec<Map>,
    /// Sets, printed and loaded before the chains that use them.
    pub sets: Vec<Set>,
    /// Chains.
    pub chains: Vec<Chain>,
}

impl Table {
    /// A table with nothing in it.
    pub fn new(family: impl Into<TableFamily>, name: impl Into<String>) -> Self {
        Self {
            family: family.into(),
            name: name.into(),
            counters: Vec::new(),
            keyed: Vec::new(),
            maps: Vec::new(),
            sets: Vec::new(),
            chains: Vec::new(),
        }
    }

    /// What the table's comment says: the layout's version and a fingerprint of everything else in the table.
    ///
    /// Two tables with the same stamp are the same program.
    pub fn stamp(&self) -> String {
        let text = crate::render::body(self);
        format!(
            "layout {LAYOUT}, program {:016x}",
            fingerprint(text.as_bytes())
        )
    }
}
