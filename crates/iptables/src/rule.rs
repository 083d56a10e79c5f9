//! Rules, as `iptables-save` prints them.

use std::fmt::{Display, Write};
use std::net::IpAddr;

use sealane_net::{Family, IpNet, Protocol};

/// A rule that is being written, in the order in which `iptables-save` prints:
/// addresses and protocol, then matches, then the target.
#[derive(Clone, Debug, Default)]
pub struct Rule(String);

impl Rule {
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, words: impl Display) -> Self {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        // Writing into a text does not fail.
        let _ = write!(self.0, "{words}");
        self
    }

    pub fn from(self, net: IpNet) -> Self {
        self.with(format_args!("-s {}", net.trunc()))
    }

    pub fn not_from(self, net: IpNet) -> Self {
        self.with(format_args!("! -s {}", net.trunc()))
    }

    pub fn to(self, address: IpAddr) -> Self {
        self.with(format_args!("-d {}", IpNet::from(address)))
    }

    pub fn towards(self, net: IpNet) -> Self {
        self.with(format_args!("-d {net}"))
    }

    pub fn not_towards(self, net: IpNet) -> Self {
        self.with(format_args!("! -d {net}"))
    }

    pub fn protocol(self, protocol: Protocol) -> Self {
        self.with(format_args!("-p {}", word(protocol)))
    }

    /// Quotes and control characters would end the comment; no name of the API has any.
    pub fn comment(self, text: impl Display) -> Self {
        let mut text = text.to_string();
        text.retain(|letter| !letter.is_control() && letter != '"' && letter != '\\');
        // The kernel takes 255 bytes and a zero (`XT_MAX_COMMENT_LEN`).
        let end = text.floor_char_boundary(255);
        self.with(format_args!("-m comment --comment \"{}\"", &text[..end]))
    }

    pub fn port(self, protocol: Protocol, port: u16) -> Self {
        self.with(format_args!("-m {} --dport {port}", word(protocol)))
    }

    /// A match, as it is printed.
    pub fn matching(self, words: impl Display) -> Self {
        self.with(format_args!("-m {words}"))
    }

    pub fn jump(self, target: impl Display) -> String {
        self.with(format_args!("-j {target}")).0
    }

    pub fn reject(self, family: Family) -> String {
        self.jump(match family {
            Family::V4 => "REJECT --reject-with icmp-port-unreachable",
            Family::V6 => "REJECT --reject-with icmp6-port-unreachable",
        })
    }
}

/// In small letters, as iptables has it.
pub fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// One of `count`, as kube-proxy writes it and the kernel keeps it: ten digits, rounded to a 31-bit fraction.
pub fn probability(count: usize) -> String {
    const WHOLE: f64 = (1_u64 << 31) as f64;
    let written = (1e10 / count as f64).round() / 1e10;
    format!("{:.11}", (WHOLE * written).round() / WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_that_iptables_prints() {
        for (count, expected) in [
            (2, "0.50000000000"),
            (3, "0.33333333349"),
            (4, "0.25000000000"),
            (5, "0.20000000019"),
            (6, "0.16666666651"),
            (7, "0.14285714272"),
            (10, "0.10000000009"),
        ] {
            assert_eq!(probability(count), expected, "1/{count}");
        }
    }

    #[test]
    fn a_comment_cannot_end_before_its_end() {
        let rule = Rule::new().comment("a\" -j ACCEPT\n").jump("DROP");
        assert_eq!(rule, "-m comment --comment \"a -j ACCEPT\" -j DROP");
    }
}
