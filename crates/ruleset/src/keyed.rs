//! Sets of keys with several parts, whose elements come and go one by one.
//!
//! A [`KeyedSet`] is part of a table's program; its elements are not, since a
//! table must not be loaded anew for each of them. So they stand apart, as
//! [`Element`]s with the table and set that they belong to.

use std::fmt;
use std::net::IpAddr;

use sealane_net::Mac;

use crate::TableFamily;

/// A set whose elements are no part of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedSet {
    /// The name, unique among the sets and maps of its table.
    pub name: &'static str,
    /// What it is for, shown to whoever lists the table.
    pub comment: &'static str,
    /// The parts of a key.
    pub key: Vec<KeyType>,
}

/// What a part of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// The name of a link.
    LinkName,
    /// An Ethernet address.
    EtherAddress,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
}

impl KeyType {
    /// As nft calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::LinkName => "ifname",
            Self::EtherAddress => "ether_addr",
            Self::Ipv4 => "ipv4_addr",
            Self::Ipv6 => "ipv6_addr",
        }
    }

    /// nft's number for it; the kernel only keeps that.
    pub fn number(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::EtherAddress => 9,
            Self::LinkName => 41,
        }
    }

    /// Its length in a key of several parts, where each begins at a register.
    pub fn bytes(self) -> usize {
        match self {
            Self::LinkName | Self::Ipv6 => 16,
            Self::EtherAddress => 8,
            Self::Ipv4 => 4,
        }
    }
}

impl KeyedSet {
    /// `ifname . ether_addr`
    pub fn key_text(&self) -> String {
        let words: Vec<&str> = self.key.iter().map(|part| part.word()).collect();
        words.join(" . ")
    }

    /// nft's number for the key: six bits for each part.
    pub fn key_number(&self) -> u32 {
        (self.key.iter()).fold(0, |number, part| number << 6 | part.number())
    }

    /// The length of the key.
    pub fn key_bytes(&self) -> usize {
        self.key.iter().map(|part| part.bytes()).sum()
    }
}

/// One element of a keyed set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// The family of the table.
    pub family: TableFamily,
    /// The name of the table.
    pub table: &'static str,
    /// The name of the set.
    pub set: &'static str,
    /// The key, each part filled up to a multiple of four bytes.
    pub key: Vec<u8>,
    /// The key as nft writes it; says nothing that the key does not.
    pub text: String,
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family.word();
        write!(
            f,
            "{} to set {} of table {family} {}",
            self.text, self.set, self.table
        )
    }
}

/// A key in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    bytes: Vec<u8>,
    text: String,
}

impl Key {
    /// A key without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the name of a link.
    pub fn link(self, name: &str) -> Self {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(KeyType::LinkName.bytes(), 0);
        self.part(&bytes, format!("\"{name}\""))
    }

    /// Appends an Ethernet address.
    pub fn mac(self, mac: Mac) -> Self {
        self.part(&mac.0, mac.to_string())
    }

    /// Appends an address.
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => self.part(&v4.octets(), v4.to_string()),
            IpAddr::V6(v6) => self.part(&v6.octets(), v6.to_string()),
        }
    }

    fn part(mut self, bytes: &[u8], text: String) -> Self {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        if !self.text.is_empty() {
            self.text.push_str(" . ");
        }
        self.text.push_str(&text);
        self
    }

    /// The element with this key.
    pub fn of(self, family: TableFamily, table: &'static str, set: &'static str) -> Element {
        Element {
            family,
            table,
            set,
            key: self.bytes,
            text: self.text,
        }
    }
}
