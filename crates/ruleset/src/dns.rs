//! Questions to the node's own DNS server, and its answers: neither tracked nor translated.
//!
//! ```text
//! pod ── cbr0 ── prerouting: notrack ── lo has the address ── server
//! pod ── cbr0 ◄───────────────────────── output: notrack ◄──── server
//! node ── output: notrack ── lo ── prerouting: notrack ── server, and back the same way
//! ```
//!
//! The address is that of a Service as well, and whoever serves Services
//! (`sealane-services`, kube-proxy) would lead a question away to an endpoint,
//! or refuse it where there is none. Translation is done by connection tracking
//! alone, and what it does not see stays as it is. It saves the entry for each
//! question, too, and with it the race of two questions from one socket in
//! which one is lost for five seconds.
//!
//! Other ports of that Service are tracked and translated as ever.

use std::net::IpAddr;

use sealane_net::{Family, IpNet, names};

use crate::{Chain, ChainType, Hook, PayloadField, Rule, Set, Table, priority};

/// The table of one family; `None` without addresses of it.
pub fn dns_table(family: Family, addresses: &[IpAddr]) -> Option<Table> {
    let set = Set::of_networks(
        names::DNS_ADDRESSES,
        "where this node answers",
        family,
        addresses.iter().copied().map(IpNet::from),
    );
    if set.elements.is_empty() {
        return None;
    }
    // The node's own questions and their answers pass lo, so both chains see both.
    let rules = [QUESTIONS, ANSWERS].concat();
    let chain = |name: &str, hook| {
        let rules = rules.iter().map(Way::rule).collect();
        Chain::base(name, ChainType::Filter, hook, priority::RAW, rules)
    };
    Some(Table {
        sets: vec![set],
        chains: vec![
            chain("prerouting", Hook::Prerouting),
            chain("output", Hook::Output),
        ],
        ..Table::new(family, names::DNS_TABLE)
    })
}

/// Which port and which address of a packet say that it is one of the server's.
#[derive(Clone, Copy)]
struct Way {
    port: PayloadField,
    address: PayloadField,
}

const QUESTIONS: [Way; 2] = [
    Way {
        port: PayloadField::UdpDestination,
        address: PayloadField::DestinationAddress,
    },
    Way {
        port: PayloadField::TcpDestination,
        address: PayloadField::DestinationAddress,
    },
];
const ANSWERS: [Way; 2] = [
    Way {
        port: PayloadField::UdpSource,
        address: PayloadField::SourceAddress,
    },
    Way {
        port: PayloadField::TcpSource,
        address: PayloadField::SourceAddress,
    },
];

impl Way {
    /// The port first: nearly every packet of the node has another.
    fn rule(&self) -> Rule {
        Rule::new()
            .field(self.port, &names::DNS_PORT.to_be_bytes())
            .address_in(self.address, names::DNS_ADDRESSES)
            .notrack()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_of_both_transports_are_left_alone() {
        let addresses = ["10.96.0.10", "169.254.20.10", "fd94::53"].map(|a| a.parse().unwrap());
        let text = dns_table(Family::V4, &addresses).unwrap().to_string();
        let lines: Vec<&str> = text.lines().skip(2).map(str::trim).collect();
        let rules = [
            "udp dport 53 ip daddr @addresses notrack",
            "tcp dport 53 ip daddr @addresses notrack",
            "udp sport 53 ip saddr @addresses notrack",
            "tcp sport 53 ip saddr @addresses notrack",
        ];
        let set = [
            "set addresses {",
            "type ipv4_addr",
            "flags interval",
            "comment \"where this node answers\"",
            "elements = { 10.96.0.10, 169.254.20.10 }",
            "}",
            "",
        ];
        let prerouting = [
            "chain prerouting {",
            "type filter hook prerouting priority raw; policy accept;",
        ];
        let output = [
            "}",
            "",
            "chain output {",
            "type filter hook output priority raw; policy accept;",
        ];
        let whole = [&set[..], &prerouting, &rules, &output, &rules, &["}", "}"]].concat();
        assert_eq!(lines, whole);
        let v6 = dns_table(Family::V6, &addresses).unwrap().to_string();
        assert!(v6.contains("elements = { fd94::53 }"), "{v6}");
        assert!(
            v6.contains("tcp sport 53 ip6 saddr @addresses notrack"),
            "{v6}"
        );
        assert_eq!(dns_table(Family::V6, &addresses[..2]), None);
    }
}
