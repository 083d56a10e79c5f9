//! The guard: a pod sends what is its own, and is no router.
//!
//! ```text
//! pod ── eth0 ═══ sl0123456789ab ── port of cbr0        table bridge, prerouting: before the bridge learns
//!                        │
//!                        └───────── routed, no bridge   tables ip, ip6 (prerouting) and arp (input)
//! ```
//!
//! The near ends of pods' links are in a group of links, so what comes by
//! others costs one comparison and is never looked at. What a pod sends must
//! have link, Ethernet and IP address together among the elements of a set; a
//! packet of TCP that has them is through after one look-up and one more
//! comparison. Elements come with a pod and go with it; the tables stay.
//!
//! Everything else is refused, what is neither IPv4, IPv6 nor ARP as well:
//! frames with two VLAN tags or with LLC headers reach the network stack of
//! other pods past rules about addresses.
//!
//! Frames to the Ethernet addresses that a bridge keeps to itself (IEEE 802.1Q
//! §8.6.3) skip its hooks. They reach the node's own network stack as if their
//! port were a link of its own, so the tables of routed links are there in any
//! case and refuse them; and the bridge is told not to learn from them.
//!
//! Ports of DHCP clients, and not those of servers, are what is refused:
//! clients look at nothing else of an answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sealane_net::{Attachment, Mac, names};

use crate::{
    Chain, ChainType, CmpOp, Element, Hook, Key, KeyType, KeyedSet, MetaKey, PayloadField, Rule,
    Source, Table, TableFamily, Verdict, ether_type, transport,
};

const TABLE: &str = names::NFT_GUARD_TABLE;
const BRIDGE: TableFamily = TableFamily::Bridge;
const MACS: &str = "macs";
const IPV4: &str = "ipv4";
const IPV6: &str = "ipv6";
const OWN: &str = "own";
const OWN_ICMPV6: &str = "own-icmpv6";
const REFUSED: &str = "refused";
const ARP: &str = "arp-senders";

/// Before all others, connection tracking included, so that made-up addresses fill no table.
const FIRST: i32 = -350;

/// Why a packet of a pod was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// An IP source address that is not the pod's.
    Address,
    /// An Ethernet source address that is not the pod's.
    Mac,
    /// ARP for an address that is not the pod's.
    Arp,
    /// A neighbour advertisement for an address that is not the pod's.
    Neighbour,
    /// What routers alone send: advertisements, redirects, membership queries.
    Router,
    /// An answer to a DHCP client.
    Dhcp,
    /// Neither IPv4, IPv6 nor ARP.
    Protocol,
}

impl DropReason {
    /// All of them.
    pub const ALL: [DropReason; 7] = [
        Self::Address,
        Self::Mac,
        Self::Arp,
        Self::Neighbour,
        Self::Router,
        Self::Dhcp,
        Self::Protocol,
    ];

    /// The name of its counter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Mac => "mac",
            Self::Arp => "arp-sender",
            Self::Neighbour => "neighbour",
            Self::Router => "router",
            Self::Dhcp => "dhcp-server",
            Self::Protocol => "protocol",
        }
    }
}

/// The tables of a node, for pods of both attachments.
pub fn guard_tables() -> Vec<Table> {
    vec![
        ports(),
        packets(TableFamily::Ip),
        packets(TableFamily::Ip6),
        questions(),
    ]
}

/// What says that a pod may send with these addresses; its link's name is never used twice.
///
/// With IPv6 the link-local address that follows from its Ethernet address is
/// its own too, and the unspecified one, by which it asks whether that is free.
/// On a routed link nobody but the node sees Ethernet addresses, and none is asked for.
pub fn guard_elements(
    attached: Attachment,
    link: &str,
    mac: Mac,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Vec<Element> {
    let whose = || match attached {
        Attachment::Bridge => Key::new().link(link).mac(mac),
        Attachment::Routed => Key::new().link(link),
    };
    let mut addresses: Vec<IpAddr> = addresses.into_iter().collect();
    if addresses.iter().any(IpAddr::is_ipv6) {
        addresses.extend([link_local(mac), Ipv6Addr::UNSPECIFIED].map(IpAddr::from));
    }
    let mut elements: Vec<Element> = addresses
        .into_iter()
        .flat_map(|address| {
            let places = places(attached, address).iter();
            places.map(move |(family, set)| whose().address(address).of(*family, TABLE, set))
        })
        .collect();
    if attached == Attachment::Bridge {
        elements.push(whose().of(TableFamily::Bridge, TABLE, MACS));
    }
    elements
}

/// In which sets an address stands.
fn places(attached: Attachment, address: IpAddr) -> &'static [(TableFamily, &'static str)] {
    match (attached, address) {
        (Attachment::Bridge, IpAddr::V4(_)) => &[(TableFamily::Bridge, IPV4)],
        (Attachment::Bridge, IpAddr::V6(_)) => &[(TableFamily::Bridge, IPV6)],
        (Attachment::Routed, IpAddr::V4(_)) => &[(TableFamily::Ip, IPV4), (TableFamily::Arp, IPV4)],
        (Attachment::Routed, IpAddr::V6(_)) => &[(TableFamily::Ip6, IPV6)],
    }
}

/// RFC 4291 §2.5.6 and appendix A, as Linux makes it.
fn link_local(mac: Mac) -> Ipv6Addr {
    const UNIVERSAL: u8 = 2;
    let [a, b, c, d, e, f] = mac.0;
    let a = a ^ UNIVERSAL;
    let mut bytes = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, 0xff, 0xfe, d, e, f];
    bytes[2..8].fill(0);
    bytes.into()
}

/// At the ports of bridges.
fn ports() -> Table {
    Table {
        counters: counters(&DropReason::ALL),
        keyed: vec![macs(), keyed(BRIDGE, IPV4), keyed(BRIDGE, IPV6)],
        maps: vec![],
        chains: vec![
            Chain::base(
                "ports",
                ChainType::Filter,
                Hook::Prerouting,
                FIRST,
                vec![
                    others_links(),
                    own_packets(TableFamily::Bridge, PayloadField::Ipv4Source, IPV4),
                    own_packets(TableFamily::Bridge, PayloadField::Ipv6Source, IPV6),
                    Rule::new().verdict(Verdict::Goto(REFUSED.into())),
                ],
            ),
            own(BRIDGE),
            own_icmpv6(BRIDGE),
            plain(
                REFUSED,
                vec![
                    foreign_mac(DropReason::Mac),
                    Rule::new()
                        .protocol(ether_type::ARP)
                        .verdict(Verdict::Goto(ARP.into())),
                    Rule::new()
                        .protocol(ether_type::IPV4)
                        .dropped(DropReason::Address),
                    Rule::new()
                        .protocol(ether_type::IPV6)
                        .dropped(DropReason::Address),
                    Rule::new().dropped(DropReason::Protocol),
                ],
            ),
            plain(ARP, arp_senders(BRIDGE)),
        ],
        ..Table::new(TableFamily::Bridge, TABLE)
    }
}

/// On routed links, for one family.
fn packets(family: TableFamily) -> Table {
    use DropReason::{Address, Dhcp, Neighbour, Router};
    let (set, reasons) = match family {
        TableFamily::Ip6 => (IPV6, vec![Address, Neighbour, Router, Dhcp]),
        _ => (IPV4, vec![Address, Router, Dhcp]),
    };
    let mut chains = vec![
        Chain::base(
            "links",
            ChainType::Filter,
            Hook::Prerouting,
            FIRST,
            vec![
                others_links(),
                own_packets(family, PayloadField::SourceAddress, set),
                Rule::new().dropped(Address),
            ],
        ),
        own(family),
    ];
    if family == TableFamily::Ip6 {
        chains.push(own_icmpv6(family));
    }
    Table {
        counters: counters(&reasons),
        keyed: vec![keyed(family, set)],
        maps: vec![],
        chains,
        ..Table::new(family, TABLE)
    }
}

/// ARP on routed links.
fn questions() -> Table {
    let mut rules = vec![others_links()];
    rules.extend(arp_senders(TableFamily::Arp));
    Table {
        counters: counters(&[DropReason::Arp]),
        keyed: vec![keyed(TableFamily::Arp, IPV4)],
        maps: vec![],
        chains: vec![Chain::base(
            "links",
            ChainType::Filter,
            Hook::Input,
            FIRST,
            rules,
        )],
        ..Table::new(TableFamily::Arp, TABLE)
    }
}

fn others_links() -> Rule {
    Rule::new()
        .input_group(CmpOp::Ne, names::POD_LINK_GROUP)
        .verdict(Verdict::Accept)
}

fn own_packets(family: TableFamily, source: PayloadField, set: &str) -> Rule {
    Rule::new()
        .key_in(
            &sender(family, PayloadField::EtherSource, source),
            set,
            false,
        )
        .verdict(Verdict::Goto(OWN.into()))
}

/// The parts of a key: among frames the Ethernet address is one.
fn sender(family: TableFamily, mac: PayloadField, address: PayloadField) -> Vec<Source> {
    let link = Source::Meta(MetaKey::InputLink);
    let mac = (family == BRIDGE).then_some(Source::Payload(mac));
    let parts = [Some(link), mac, Some(Source::Payload(address))];
    parts.into_iter().flatten().collect()
}

fn foreign_mac(reason: DropReason) -> Rule {
    let key = [
        Source::Meta(MetaKey::InputLink),
        Source::Payload(PayloadField::EtherSource),
    ];
    Rule::new().key_in(&key, MACS, true).dropped(reason)
}

/// What a pod sends with its own addresses: all but a router's and a DHCP server's words.
fn own(family: TableFamily) -> Chain {
    const DHCP_CLIENT: u16 = 68;
    const DHCPV6_CLIENT: u16 = 546;
    const REDIRECT: u8 = 5;
    const MEMBERSHIP_QUERY: u8 = 0x11;
    let answer = |port: u16| {
        let port = port.to_be_bytes();
        let rule = Rule::new().field(PayloadField::UdpDestination, &port);
        rule.dropped(DropReason::Dhcp)
    };
    let router = |field, kind| {
        let rule = Rule::new().field(field, &[kind]);
        rule.dropped(DropReason::Router)
    };
    let tcp = Rule::new().transport(transport::TCP);
    let mut rules = vec![tcp.verdict(Verdict::Accept)];
    if family != TableFamily::Ip6 {
        rules.extend([
            answer(DHCP_CLIENT),
            router(PayloadField::IcmpType, REDIRECT),
            router(PayloadField::IgmpType, MEMBERSHIP_QUERY),
        ]);
    }
    if family != TableFamily::Ip {
        let icmpv6 = Rule::new().transport(transport::ICMPV6);
        let further = Verdict::Goto(OWN_ICMPV6.into());
        rules.extend([answer(DHCPV6_CLIENT), icmpv6.verdict(further)]);
    }
    plain(OWN, rules)
}

/// RFC 4861 §4, RFC 2710 §3. A question from the unspecified address says that
/// an address is about to be taken, so it is one about the pod's own.
fn own_icmpv6(family: TableFamily) -> Chain {
    const ADVERTISEMENT: u8 = 136;
    const SOLICITATION: u8 = 135;
    let of = |kind: u8| Rule::new().field(PayloadField::Icmpv6Type, &[kind]);
    let foreign_target = |rule: Rule| {
        let key = sender(
            family,
            PayloadField::EtherSource,
            PayloadField::NeighbourTarget,
        );
        rule.key_in(&key, IPV6, true).dropped(DropReason::Neighbour)
    };
    let unspecified = Ipv6Addr::UNSPECIFIED.octets();
    let solicitation = match family {
        TableFamily::Bridge => of(SOLICITATION).field(PayloadField::Ipv6Source, &unspecified),
        _ => of(SOLICITATION).field(PayloadField::SourceAddress, &unspecified),
    };
    let router = |kind: u8| of(kind).dropped(DropReason::Router);
    plain(
        OWN_ICMPV6,
        vec![
            foreign_target(of(ADVERTISEMENT)),
            foreign_target(solicitation),
            router(130),
            router(134),
            router(137),
        ],
    )
}

/// ARP speaks for the pod's own addresses, or asks without one whether an address is free (RFC 5227 §2.1.1).
fn arp_senders(family: TableFamily) -> Vec<Rule> {
    const REQUEST: [u8; 2] = [0, 1];
    let unspecified = Ipv4Addr::UNSPECIFIED.octets();
    let key = sender(
        family,
        PayloadField::ArpSenderMac,
        PayloadField::ArpSenderAddress,
    );
    let own = Rule::new().key_in(&key, IPV4, false);
    let probe = Rule::new()
        .field(PayloadField::ArpOperation, &REQUEST)
        .field(PayloadField::ArpSenderAddress, &unspecified);
    let probe = match family {
        BRIDGE => probe.key_in(&key[..2], MACS, false),
        _ => probe,
    };
    vec![
        own.verdict(Verdict::Accept),
        probe.verdict(Verdict::Accept),
        Rule::new().dropped(DropReason::Arp),
    ]
}

impl Rule {
    fn dropped(self, reason: DropReason) -> Self {
        self.named_counter(reason.name()).verdict(Verdict::Drop)
    }
}

fn plain(name: &'static str, rules: Vec<Rule>) -> Chain {
    Chain {
        name: name.into(),
        base: None,
        rules,
    }
}

fn counters(reasons: &[DropReason]) -> Vec<String> {
    reasons.iter().map(|reason| reason.name().into()).collect()
}

fn macs() -> KeyedSet {
    KeyedSet {
        name: MACS,
        comment: "pods by link and Ethernet address",
        key: vec![KeyType::LinkName, KeyType::EtherAddress],
    }
}

fn keyed(family: TableFamily, name: &'static str) -> KeyedSet {
    let address = if name == IPV6 {
        KeyType::Ipv6
    } else {
        KeyType::Ipv4
    };
    let mac = (family == BRIDGE).then_some(KeyType::EtherAddress);
    let parts = [Some(KeyType::LinkName), mac, Some(address)];
    KeyedSet {
        name,
        comment: "what pods may send with",
        key: parts.into_iter().flatten().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 10, 244, 1, 5]);

    fn texts(attached: Attachment, addresses: &[&str]) -> Vec<String> {
        let addresses = addresses.iter().map(|a| a.parse().unwrap());
        let elements = guard_elements(attached, "sl0123456789ab", MAC, addresses);
        let text = |e: &Element| format!("{} {} {}", e.family.word(), e.set, e.text);
        elements.iter().map(text).collect()
    }

    #[test]
    fn a_pod_is_an_element_for_each_of_its_addresses() {
        const LINK: &str = "\"sl0123456789ab\"";
        const POD: &str = "\"sl0123456789ab\" . 02:00:0a:f4:01:05";
        assert_eq!(
            texts(Attachment::Bridge, &["10.244.1.5"]),
            [
                format!("bridge ipv4 {POD} . 10.244.1.5"),
                format!("bridge macs {POD}"),
            ]
        );
        assert_eq!(
            texts(Attachment::Routed, &["10.244.1.5", "fd00::5"]),
            [
                format!("ip ipv4 {LINK} . 10.244.1.5"),
                format!("arp ipv4 {LINK} . 10.244.1.5"),
                format!("ip6 ipv6 {LINK} . fd00::5"),
                format!("ip6 ipv6 {LINK} . fe80::aff:fef4:105"),
                format!("ip6 ipv6 {LINK} . ::"),
            ]
        );
    }

    #[test]
    fn keys_are_as_long_as_their_sets_say() {
        for attached in [Attachment::Bridge, Attachment::Routed] {
            let addresses = ["10.244.1.5", "fd00::5"].map(|a| a.parse().unwrap());
            for element in guard_elements(attached, "sl0123456789ab", MAC, addresses) {
                let tables = guard_tables();
                let table = tables.iter().find(|t| t.family == element.family).unwrap();
                let set = table.keyed.iter().find(|s| s.name == element.set).unwrap();
                assert_eq!(element.key.len(), set.key_bytes(), "{element}");
            }
        }
    }

    #[test]
    fn each_table_counts_what_it_drops() {
        for table in guard_tables() {
            let text = table.to_string();
            for name in &table.counters {
                assert!(
                    text.contains(&format!("counter name \"{name}\" drop")),
                    "{text}"
                );
            }
        }
    }
}
