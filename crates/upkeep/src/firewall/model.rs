//! Words for rule sets and packets.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use sealane_net::Family;
use serde::Serialize;

/// A table of rules, of nftables or of iptables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Which program shows it.
    pub source: Source,
    /// Which packets it sees.
    pub family: TableFamily,
    /// The name.
    pub name: String,
    /// Its chains.
    pub chains: Vec<Chain>,
}

/// Which program shows a table, and changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `nft`
    Nft,
    /// `iptables`, where that is `iptables-nft`
    IptablesNft,
    /// `iptables-legacy`
    IptablesLegacy,
}

/// The families of nftables; iptables knows the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFamily {
    /// IPv4
    Ip,
    /// IPv6
    Ip6,
    /// Both
    Inet,
    /// One link
    Netdev,
    /// arp and bridge, which we do not follow
    Other,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The name.
    pub name: String,
    /// Where packets come into it; `None` when only rules lead there.
    pub base: Option<Base>,
    /// In order.
    pub rules: Vec<Rule>,
}

/// Where packets come into a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// When.
    pub hook: Hook,
    /// Whether a packet that comes to the end is dropped.
    pub drops: bool,
    /// The link of a chain in family netdev.
    pub device: Option<String>,
}

/// A point on the way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before all else, on one link.
    Ingress,
    /// Before the route is looked up.
    Prerouting,
    /// To this node.
    Input,
    /// Through this node.
    Forward,
    /// From this node.
    Output,
    /// On the way out.
    Postrouting,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// As its program writes it.
    pub text: String,
    /// All of them must hold.
    pub matches: Vec<Match>,
    /// What then happens; `None` goes on with the next rule.
    pub verdict: Option<Verdict>,
}

/// What a rule asks of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// What.
    pub condition: Condition,
    /// Whether it must not hold.
    pub negated: bool,
}

/// A property of a packet; lists are alternatives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The link that it came by, perhaps with `*` at the end.
    In(Vec<String>),
    /// The link that it leaves by.
    Out(Vec<String>),
    /// Its source address.
    From(Vec<RangeInclusive<IpAddr>>),
    /// Its destination address.
    To(Vec<RangeInclusive<IpAddr>>),
    /// Its protocol's number.
    Protocol(Vec<u8>),
    /// Its source port.
    SourcePort(Vec<RangeInclusive<u16>>),
    /// Its destination port.
    DestinationPort(Vec<RangeInclusive<u16>>),
    /// What connection tracking says of it.
    State(Vec<State>),
    /// The packet's mark under a mask.
    Mark(u32, u32),
    /// Whether its destination is an address of this node.
    ToThisNode,
    /// Its family.
    Family(Family),
    /// Something that is not followed.
    Unknown,
}

/// States of connection tracking that packets of ours have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The first of a connection.
    New,
    /// All others.
    Established,
    /// None of ours: invalid, related, untracked.
    Other,
}

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The chain's hook is passed.
    Accept,
    /// It is gone, silently or with an error to its sender.
    Drop,
    /// Back to where the chain was jumped to.
    Return,
    /// Into another chain, and back.
    Jump(String),
    /// Into another chain.
    Goto(String),
}

/// A packet as rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The link that it came by.
    pub incoming: Option<String>,
    /// The link that it leaves by.
    pub outgoing: Option<String>,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol.
    pub protocol: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// What connection tracking says.
    pub state: State,
    /// Whether its destination is an address of this node.
    pub to_this_node: bool,
}

impl Packet {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;

    /// The family of its addresses.
    pub fn family(&self) -> Family {
        Family::from(self.destination)
    }
}

impl Table {
    /// Whether its rules see packets of this family.
    pub fn sees(&self, family: Family) -> bool {
        match self.family {
            TableFamily::Ip => family == Family::V4,
            TableFamily::Ip6 => family == Family::V6,
            TableFamily::Inet | TableFamily::Netdev => true,
            TableFamily::Other => false,
        }
    }

    /// A chain by its name.
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    /// As people call it: `table inet filter`.
    pub fn title(&self) -> String {
        let family = match self.family {
            TableFamily::Ip => "ip",
            TableFamily::Ip6 => "ip6",
            TableFamily::Inet => "inet",
            TableFamily::Netdev => "netdev",
            TableFamily::Other => "bridge",
        };
        match self.source {
            Source::Nft => format!("nft table {family} {}", self.name),
            Source::IptablesNft | Source::IptablesLegacy => {
                format!("{} table {}", self.program(), self.name)
            }
        }
    }

    /// The program that changes it.
    pub fn program(&self) -> &'static str {
        match (self.source, self.family) {
            (Source::Nft, _) => "nft",
            (Source::IptablesNft, TableFamily::Ip6) => "ip6tables",
            (Source::IptablesNft, _) => "iptables",
            (Source::IptablesLegacy, TableFamily::Ip6) => "ip6tables-legacy",
            (Source::IptablesLegacy, _) => "iptables-legacy",
        }
    }
}

impl Hook {
    /// By the word that nft and iptables have for it.
    pub fn named(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "ingress" => Some(Self::Ingress),
            "prerouting" => Some(Self::Prerouting),
            "input" => Some(Self::Input),
            "forward" => Some(Self::Forward),
            "output" => Some(Self::Output),
            "postrouting" => Some(Self::Postrouting),
            _ => None,
        }
    }
}

impl State {
    /// By the word that nft and iptables have for it.
    pub fn named(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "new" => Self::New,
            "established" => Self::Established,
            _ => Self::Other,
        }
    }
}

/// The number of a protocol's name; `None` for one that we do not know.
pub fn protocol(word: &str) -> Option<u8> {
    match word {
        "icmp" => Some(1),
        "tcp" => Some(Packet::TCP),
        "udp" => Some(Packet::UDP),
        "icmpv6" | "ipv6-icmp" => Some(58),
        "sctp" => Some(132),
        number => number.parse().ok(),
    }
}

/// The addresses of `10.0.0.0/8`, `10.0.0.1` or `10.0.0.1-10.0.0.9`.
pub fn addresses(text: &str) -> Option<RangeInclusive<IpAddr>> {
    if let Some((first, last)) = text.split_once('-') {
        return Some(first.parse().ok()?..=last.parse().ok()?);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address..=address);
    }
    let net: sealane_net::IpNet = text.parse().ok()?;
    Some(net.network()..=net.broadcast())
}
