//! `Display`: the text that `nft -s list table` prints.
//!
//! nft prints rules by following the registers backwards: a comparison shows
//! what was loaded into its register, masked by what was done to it since.
//! This does the same.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sealane_net::{Family, IpNet};

use crate::{
    Base, Chain, ChainType, CmpOp, Expr, Hook, Interval, KeyedSet, MetaKey, PayloadField, Policy,
    Register, Rule, Set, SetRef, Source, Table, TableFamily, Verdict, ether_type, priority,
    transport,
};

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {{", self.title())?;
        writeln!(f, "\tcomment \"{}\"", self.stamp())?;
        write!(f, "{}}}", body(self))
    }
}

impl Table {
    /// How messages call it: `table ip sealane`.
    pub fn title(&self) -> String {
        format!("table {} {}", self.family.word(), self.name)
    }
}

impl Rule {
    /// The rule as nft prints it in a table of `family`.
    pub fn text(&self, family: impl Into<TableFamily>) -> String {
        rule_text(self, family.into())
    }
}

/// What stands between the comment of a table and its closing brace.
pub(crate) fn body(table: &Table) -> String {
    let counters = (table.counters.iter()).map(|name| format!("\tcounter {name} {{\n\t}}\n"));
    let keyed = table.keyed.iter().map(keyed_text);
    let addresses = table.family.addresses();
    let maps = table.maps.iter().map(|map| map.text(addresses));
    let sets = table.sets.iter().map(|set| set_text(set, addresses));
    let chains = (table.chains.iter()).map(|chain| chain_text(chain, table.family));
    let parts: Vec<String> =
        (counters.chain(keyed).chain(maps).chain(sets).chain(chains)).collect();
    parts.join("\n")
}

fn keyed_text(set: &KeyedSet) -> String {
    let mut text = format!("\tset {} {{\n\t\ttype {}\n", set.name, set.key_text());
    if !set.comment.is_empty() {
        let _ = writeln!(text, "\t\tcomment \"{}\"", set.comment);
    }
    text.push_str("\t}\n");
    text
}

fn set_text(set: &Set, family: Family) -> String {
    let kind = match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    };
    let mut text = format!(
        "\tset {} {{\n\t\ttype {kind}\n\t\tflags interval\n",
        set.name
    );
    if !set.comment.is_empty() {
        let _ = writeln!(text, "\t\tcomment \"{}\"", set.comment);
    }
    if !set.elements.is_empty() {
        let _ = writeln!(text, "\t\telements = {{ {} }}", list(&set.elements));
    }
    text.push_str("\t}\n");
    text
}

fn chain_text(chain: &Chain, family: TableFamily) -> String {
    let mut text = format!("\tchain {} {{\n", chain.name);
    if let Some(base) = chain.base {
        let _ = writeln!(text, "\t\t{}", base_text(base, family));
    }
    for rule in &chain.rules {
        let _ = writeln!(text, "\t\t{}", rule_text(rule, family));
    }
    text.push_str("\t}\n");
    text
}

fn base_text(base: Base, family: TableFamily) -> String {
    let kind = match base.kind {
        ChainType::Filter => "filter",
        ChainType::Nat => "nat",
    };
    let hook = match base.hook {
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
        Hook::Postrouting => "postrouting",
    };
    let policy = match base.policy {
        Policy::Accept => "accept",
        Policy::Drop => "drop",
    };
    let priority = match family {
        // Other names there, which none of ours has.
        TableFamily::Bridge => base.priority.to_string(),
        _ => priority_text(base.hook, base.priority),
    };
    format!("type {kind} hook {hook} priority {priority}; policy {policy};")
}

/// nft names a priority that has a name at its hook, and those up to 10 around it.
fn priority_text(hook: Hook, value: i32) -> String {
    const NEAR: i32 = 10;
    let names = [
        ("raw", priority::RAW, true),
        ("mangle", priority::MANGLE, true),
        ("dstnat", priority::DSTNAT, hook == Hook::Prerouting),
        ("filter", priority::FILTER, true),
        ("security", priority::SECURITY, true),
        ("srcnat", priority::SRCNAT, hook == Hook::Postrouting),
    ];
    let named = names
        .into_iter()
        .filter(|(_, _, valid)| *valid)
        .map(|(name, at, _)| (name, value - at))
        .find(|(_, distance)| distance.abs() <= NEAR);
    match named {
        Some((name, 0)) => name.into(),
        Some((name, distance)) if distance > 0 => format!("{name} + {distance}"),
        Some((name, distance)) => format!("{name} - {}", -distance),
        None => value.to_string(),
    }
}

fn rule_text(rule: &Rule, family: TableFamily) -> String {
    if let Some(text) = crate::services::rule_text(rule, family) {
        return text;
    }
    let mut registers = BTreeMap::new();
    let mut words: Vec<String> = rule
        .exprs
        .iter()
        .enumerate()
        .filter_map(|(index, expr)| {
            let text = expr_text(expr, family, &mut registers);
            let needed = || is_needed_below(expr, &registers, &rule.exprs[index..]);
            text.filter(|_| !needed())
        })
        .collect();
    words.extend(
        rule.comment
            .as_ref()
            .map(|comment| format!("comment \"{comment}\"")),
    );
    words.join(" ")
}

/// Whether a comparison is only there for a field below it, whose name says as much.
fn is_needed_below(expr: &Expr, registers: &BTreeMap<Register, Held<'_>>, below: &[Expr]) -> bool {
    let Expr::Cmp {
        register, value, ..
    } = expr
    else {
        return false;
    };
    let compared = registers.get(register).map(|held| held.source);
    below.iter().any(|expr| match expr {
        Expr::Load {
            source: Source::Payload(field),
            ..
        } => field
            .needs()
            .is_some_and(|(key, needed)| compared == Some(Source::Meta(key)) && *value == needed),
        _ => false,
    })
}

/// What a register holds: something loaded, and the mask put on it since.
struct Held<'a> {
    source: Source,
    mask: Option<&'a [u8]>,
}

fn expr_text<'a>(
    expr: &'a Expr,
    family: TableFamily,
    registers: &mut BTreeMap<Register, Held<'a>>,
) -> Option<String> {
    match expr {
        Expr::Load { source, to } => {
            // A key is loaded from its first register on.
            registers.retain(|register, _| register < to);
            registers.insert(
                *to,
                Held {
                    source: *source,
                    mask: None,
                },
            );
            None
        }
        Expr::Bitwise { register, mask, .. } => {
            registers.get_mut(register)?.mask = Some(mask);
            None
        }
        Expr::Cmp {
            register,
            op,
            value,
        } => Some(cmp_text(registers.get(register)?, *op, value, family)),
        Expr::Lookup {
            register,
            set,
            invert,
        } => {
            let parts: Vec<String> = registers
                .range(*register..)
                .map(|(_, held)| source_text(held.source, family))
                .collect();
            let left = parts.join(" . ");
            let not = if *invert { " !=" } else { "" };
            Some(format!("{left}{not} {}", set_ref_text(set)))
        }
        Expr::Counter => Some("counter".into()),
        Expr::NamedCounter(name) => Some(format!("counter name \"{name}\"")),
        Expr::Masquerade(flags) if flags.fully_random => Some("masquerade fully-random".into()),
        Expr::Masquerade(_) => Some("masquerade".into()),
        // Rules with any other expression are those of Services, which have a text of their own.
        Expr::Find { .. }
        | Expr::Branch { .. }
        | Expr::Remember { .. }
        | Expr::Forget { .. }
        | Expr::SetMark(_)
        | Expr::Random { .. }
        | Expr::Translate { .. } => None,
        Expr::Reject => Some("reject".into()),
        Expr::Reset => Some("reject with tcp reset".into()),
        Expr::NoTrack => Some("notrack".into()),
        Expr::Verdict(verdict) => Some(verdict_text(verdict)),
    }
}

fn cmp_text(held: &Held<'_>, op: CmpOp, value: &[u8], family: TableFamily) -> String {
    let left = source_text(held.source, family);
    let not = match op {
        CmpOp::Eq => "",
        CmpOp::Ne => " !=",
    };
    match (held.source, held.mask) {
        (Source::Meta(MetaKey::Mark), Some(mask)) => {
            let op = if op == CmpOp::Eq { "==" } else { "!=" };
            format!("{left} & {} {op} {}", number(mask), number(value))
        }
        (Source::Payload(PayloadField::EtherDestination), Some(mask)) => {
            let op = if op == CmpOp::Eq { "==" } else { "!=" };
            format!("{left} & {} {op} {}", mac_text(mask), mac_text(value))
        }
        (Source::Payload(field), mask) => {
            format!("{left}{not} {}", field_text(field, value, mask))
        }
        (Source::Meta(MetaKey::Mark), None) => format!("{left}{not} {}", number(value)),
        (Source::Meta(MetaKey::InputGroup), _) => {
            let group = value.try_into().map_or(0, u32::from_ne_bytes);
            format!("{left}{not} {group}")
        }
        (Source::Meta(MetaKey::Protocol), _) => {
            format!("{left}{not} {}", ether_type_text(value))
        }
        (Source::Meta(MetaKey::Transport), _) => {
            format!("{left}{not} {}", transport_text(value))
        }
        (Source::SourceType | Source::ConnectionState | Source::ConnectionStatus, _) => {
            format!("{left}{not} {}", number(value))
        }
        (Source::Meta(_), _) => {
            let name = String::from_utf8_lossy(value);
            format!("{left}{not} \"{}\"", name.trim_end_matches('\0'))
        }
    }
}

pub(crate) fn source_text(source: Source, family: TableFamily) -> String {
    match source {
        Source::Payload(PayloadField::SourceAddress) => format!("{} saddr", family.word()),
        Source::Payload(PayloadField::DestinationAddress) => format!("{} daddr", family.word()),
        Source::Payload(field) => field_name(field).into(),
        Source::Meta(MetaKey::InputGroup) => "iifgroup".into(),
        Source::Meta(MetaKey::Protocol) => "meta protocol".into(),
        Source::Meta(MetaKey::Transport) => "meta l4proto".into(),
        Source::Meta(MetaKey::Mark) => "meta mark".into(),
        Source::Meta(MetaKey::Random) => "meta random".into(),
        Source::Meta(MetaKey::InputLink) => "iifname".into(),
        Source::Meta(MetaKey::OutputLink) => "oifname".into(),
        Source::SourceType => "fib saddr type".into(),
        Source::ConnectionState => "ct state".into(),
        Source::ConnectionStatus => "ct status".into(),
    }
}

fn field_name(field: PayloadField) -> &'static str {
    match field {
        PayloadField::SourceAddress | PayloadField::Ipv4Source => "ip saddr",
        PayloadField::DestinationAddress => "ip daddr",
        PayloadField::Ipv6Source => "ip6 saddr",
        PayloadField::EtherSource => "ether saddr",
        PayloadField::EtherDestination => "ether daddr",
        PayloadField::ArpOperation => "arp operation",
        PayloadField::ArpSenderMac => "arp saddr ether",
        PayloadField::ArpSenderAddress => "arp saddr ip",
        PayloadField::UdpDestination => "udp dport",
        PayloadField::UdpSource => "udp sport",
        PayloadField::TcpDestination => "tcp dport",
        PayloadField::TcpSource => "tcp sport",
        PayloadField::DestinationPort => "th dport",
        PayloadField::IcmpType => "icmp type",
        PayloadField::Icmpv6Type => "icmpv6 type",
        PayloadField::IgmpType => "igmp type",
        PayloadField::NeighbourTarget => "@th,64,128",
    }
}

/// The value of a field, with the word that nft has for it.
fn field_text(field: PayloadField, value: &[u8], mask: Option<&[u8]>) -> String {
    let number = value
        .iter()
        .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    let name = match (field, number) {
        (PayloadField::ArpOperation, 1) => "request",
        (PayloadField::IcmpType, 5) => "redirect",
        (PayloadField::IgmpType, 0x11) => "membership-query",
        (PayloadField::Icmpv6Type, 130) => "mld-listener-query",
        (PayloadField::Icmpv6Type, 134) => "nd-router-advert",
        (PayloadField::Icmpv6Type, 135) => "nd-neighbor-solicit",
        (PayloadField::Icmpv6Type, 136) => "nd-neighbor-advert",
        (PayloadField::Icmpv6Type, 137) => "nd-redirect",
        _ if field.bytes() <= 2 => return number.to_string(),
        _ if field.bytes() == 6 => return mac_text(value),
        _ => return network_text(value, mask),
    };
    name.into()
}

fn mac_text(bytes: &[u8]) -> String {
    let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

fn ether_type_text(value: &[u8]) -> String {
    match value.try_into().map_or(0, u16::from_be_bytes) {
        ether_type::IPV4 => "ip".into(),
        ether_type::IPV6 => "ip6".into(),
        ether_type::ARP => "arp".into(),
        other => format!("0x{other:04x}"),
    }
}

fn transport_text(value: &[u8]) -> String {
    match value.first().copied().unwrap_or_default() {
        transport::ICMP => "icmp".into(),
        transport::IGMP => "igmp".into(),
        transport::TCP => "tcp".into(),
        transport::UDP => "udp".into(),
        transport::ICMPV6 => "ipv6-icmp".into(),
        other => other.to_string(),
    }
}

fn set_ref_text(set: &SetRef) -> String {
    match set {
        SetRef::Named(name) => format!("@{name}"),
        SetRef::Anonymous(intervals) => format!("{{ {} }}", list(intervals)),
    }
}

fn list(intervals: &[Interval]) -> String {
    let texts: Vec<String> = intervals.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

pub(crate) fn verdict_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept => "accept".into(),
        Verdict::Drop => "drop".into(),
        Verdict::Return => "return".into(),
        Verdict::Jump(chain) => format!("jump {chain}"),
        Verdict::Goto(chain) => format!("goto {chain}"),
    }
}

/// A mark, which is in the byte order of this machine.
fn number(bytes: &[u8]) -> String {
    let word = bytes.try_into().map_or(0, u32::from_ne_bytes);
    format!("0x{word:08x}")
}

fn network_text(value: &[u8], mask: Option<&[u8]>) -> String {
    let address = if let Ok(v4) = <[u8; 4]>::try_from(value) {
        IpAddr::V4(Ipv4Addr::from(v4))
    } else if let Ok(v6) = <[u8; 16]>::try_from(value) {
        IpAddr::V6(Ipv6Addr::from(v6))
    } else {
        return format!("{value:02x?}");
    };
    let length = mask.map(|mask| mask.iter().map(|byte| byte.count_ones() as u8).sum());
    match length.and_then(|length: u8| IpNet::new(address, length).ok()) {
        Some(network) => network.to_string(),
        None => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(rule: Rule) -> String {
        rule_text(&rule, Family::V4.into())
    }

    #[test]
    fn rules_read_as_nft_prints_them() {
        use PayloadField::{DestinationAddress, SourceAddress};
        let network: IpNet = "172.29.0.0/24".parse().unwrap();
        let host: IpNet = "172.29.0.1/32".parse().unwrap();
        for (rule, text) in [
            (Rule::new().counter(), "counter"),
            (
                Rule::new()
                    .address_in(SourceAddress, "pods")
                    .address_not_in(DestinationAddress, "inside")
                    .masquerade()
                    .comment("why"),
                "ip saddr @pods ip daddr != @inside masquerade fully-random comment \"why\"",
            ),
            (
                Rule::new()
                    .address(SourceAddress, CmpOp::Eq, network)
                    .output_link(CmpOp::Ne, "sealane0")
                    .verdict(Verdict::Accept),
                "ip saddr 172.29.0.0/24 oifname != \"sealane0\" accept",
            ),
            (
                Rule::new()
                    .address(DestinationAddress, CmpOp::Ne, host)
                    .verdict(Verdict::Jump("there".into())),
                "ip daddr != 172.29.0.1 jump there",
            ),
            (
                Rule::new().mark_has(0x4000).masquerade(),
                "meta mark & 0x00004000 == 0x00004000 masquerade fully-random",
            ),
            (
                Rule::new()
                    .address_in_list(
                        DestinationAddress,
                        Interval::of_networks(
                            Family::V4,
                            [network, "10.0.0.1/32".parse().unwrap()],
                        ),
                        true,
                    )
                    .verdict(Verdict::Drop),
                "ip daddr != { 10.0.0.1, 172.29.0.0/24 } drop",
            ),
        ] {
            assert_eq!(v4(rule), text);
        }
    }

    #[test]
    fn priorities_have_the_names_that_nft_gives_them() {
        for (hook, value, text) in [
            (Hook::Postrouting, 100, "srcnat"),
            (Hook::Postrouting, 95, "srcnat - 5"),
            (Hook::Prerouting, 100, "100"),
            (Hook::Prerouting, -100, "dstnat"),
            (Hook::Output, -100, "-100"),
            (Hook::Forward, 0, "filter"),
            (Hook::Forward, 10, "filter + 10"),
            (Hook::Forward, 11, "11"),
            (Hook::Output, -300, "raw"),
            (Hook::Input, -110, "-110"),
        ] {
            assert_eq!(priority_text(hook, value), text, "{hook:?} {value}");
        }
    }
}
