//! A packet on its way through the rules of others.

use std::cmp::{max, min};

use super::model::{Base, Chain, Condition, Hook, Match, Packet, Rule, Table, Verdict};

/// Rules lead in circles only where the kernel would not have taken them; this ends a torn listing.
const DEEPEST: usize = 16;

/// How sure an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// It is not so.
    No,
    /// It depends on what is not followed.
    Perhaps,
    /// It is so.
    Yes,
}

use Certainty::{No, Perhaps, Yes};

/// Where a packet ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop<'a> {
    /// The table.
    pub table: &'a Table,
    /// The chain.
    pub chain: &'a Chain,
    /// The rule; `None` when the chain's policy drops it.
    pub rule: Option<&'a Rule>,
    /// Whether it does end there.
    pub certainty: Certainty,
}

impl Drop<'_> {
    /// Table, chain and rule, in words.
    pub fn place(&self) -> String {
        let (table, chain) = (self.table.title(), &self.chain.name);
        match self.rule {
            Some(rule) => format!("{table}, chain {chain}, rule `{}`", rule.text),
            None => format!("{table}, chain {chain} with policy drop"),
        }
    }
}

/// Where the packet is dropped, or may be, at one of the hooks; the surest first.
///
/// A drop that depends on the dropping rule's own unknown matches is left out:
/// lists of bad addresses and limits are in every firewall.
pub fn drops<'a>(tables: &'a [Table], hooks: &[Hook], packet: &Packet) -> Vec<Drop<'a>> {
    let mut found = Vec::new();
    for table in tables.iter().filter(|table| table.sees(packet.family())) {
        for chain in &table.chains {
            let Some(base) = &chain.base else { continue };
            if hooks.contains(&base.hook) && is_on_its_link(base, packet) {
                let mut walk = Walk {
                    table,
                    packet,
                    found: &mut found,
                };
                let end = walk.chain(chain, Yes, 0);
                if base.drops && end > No {
                    walk.found.push(Drop {
                        table,
                        chain,
                        rule: None,
                        certainty: end,
                    });
                }
            }
        }
    }
    found.sort_by_key(|drop| std::cmp::Reverse(drop.certainty));
    found
}

fn is_on_its_link(base: &Base, packet: &Packet) -> bool {
    base.device.is_none() || base.device == packet.incoming
}

struct Walk<'a, 'f> {
    table: &'a Table,
    packet: &'f Packet,
    found: &'f mut Vec<Drop<'a>>,
}

impl<'a> Walk<'a, '_> {
    /// Whether the packet, if it comes into the chain as surely as `reached`, comes back out of it.
    fn chain(&mut self, chain: &'a Chain, reached: Certainty, depth: usize) -> Certainty {
        let (mut here, mut returned) = (reached, No);
        for rule in &chain.rules {
            if here == No {
                break;
            }
            let own = all(&rule.matches, self.packet);
            let (Some(verdict), true) = (&rule.verdict, own > No) else {
                continue;
            };
            let taken = min(own, here);
            let left = if own == Yes { No } else { here };
            here = match verdict {
                Verdict::Accept => weaker(left, own),
                Verdict::Drop => {
                    if own == Yes {
                        self.found.push(Drop {
                            table: self.table,
                            chain,
                            rule: Some(rule),
                            certainty: taken,
                        });
                    }
                    weaker(left, own)
                }
                Verdict::Return => {
                    returned = max(returned, taken);
                    weaker(left, own)
                }
                Verdict::Jump(name) => match self.called(name, taken, depth) {
                    back if own == Yes => back,
                    back if back == taken => here,
                    _ => weaker(left, own),
                },
                Verdict::Goto(name) => {
                    returned = max(returned, self.called(name, taken, depth));
                    weaker(left, own)
                }
            };
        }
        max(here, returned)
    }

    fn called(&mut self, name: &str, reached: Certainty, depth: usize) -> Certainty {
        match self.table.chain(name) {
            Some(chain) if depth < DEEPEST => self.chain(chain, reached, depth + 1),
            _ => Perhaps,
        }
    }
}

/// Whether a packet is still here after a rule that perhaps took it.
fn weaker(left: Certainty, own: Certainty) -> Certainty {
    if own == Perhaps {
        min(left, Perhaps)
    } else {
        left
    }
}

fn all(matches: &[Match], packet: &Packet) -> Certainty {
    let each = matches.iter().map(|one| one.holds(packet));
    each.min().unwrap_or(Yes)
}

impl Match {
    fn holds(&self, packet: &Packet) -> Certainty {
        match (self.condition.holds(packet), self.negated) {
            (Some(holds), negated) if holds != negated => Yes,
            (Some(_), _) => No,
            (None, _) => Perhaps,
        }
    }
}

impl Condition {
    fn holds(&self, packet: &Packet) -> Option<bool> {
        let has_ports = [Packet::TCP, Packet::UDP].contains(&packet.protocol);
        Some(match self {
            Self::In(names) => is_one_of(names, packet.incoming.as_deref()),
            Self::Out(names) => is_one_of(names, packet.outgoing.as_deref()),
            Self::From(ranges) => ranges.iter().any(|r| r.contains(&packet.source)),
            Self::To(ranges) => ranges.iter().any(|r| r.contains(&packet.destination)),
            Self::Protocol(numbers) => numbers.contains(&packet.protocol),
            Self::SourcePort(ranges) => {
                has_ports && ranges.iter().any(|r| r.contains(&packet.source_port))
            }
            Self::DestinationPort(ranges) => {
                has_ports && ranges.iter().any(|r| r.contains(&packet.destination_port))
            }
            Self::State(states) => states.contains(&packet.state),
            Self::Mark(value, _) => *value == 0,
            Self::ToThisNode => packet.to_this_node,
            Self::Family(family) => *family == packet.family(),
            Self::Unknown => return None,
        })
    }
}

/// A name with `*` at its end stands for all that begin so.
fn is_one_of(names: &[String], link: Option<&str>) -> bool {
    let Some(link) = link else { return false };
    names.iter().any(|name| match name.strip_suffix('*') {
        Some(start) => link.starts_with(start),
        None => name == link,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Variant, parse_iptables, parse_nft};
    use super::*;
    use crate::firewall::State;

    fn packet() -> Packet {
        Packet {
            incoming: Some("cbr0".into()),
            outgoing: Some("eth0".into()),
            source: "10.244.1.2".parse().unwrap(),
            destination: "10.244.2.2".parse().unwrap(),
            protocol: Packet::TCP,
            source_port: 40000,
            destination_port: 443,
            state: State::New,
            to_this_node: false,
        }
    }

    /// Who drops the packet in FORWARD under these rules, and how surely.
    fn iptables(policy: &str, rules: &str) -> Vec<(String, Certainty)> {
        let text = format!(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD {policy} [0:0]\n:A - [0:0]\n:B - [0:0]\n{rules}\nCOMMIT\n"
        );
        let tables = parse_iptables(&text, Variant::Nft, sealane_net::Family::V4);
        let found = drops(&tables, &[Hook::Forward], &packet());
        found
            .iter()
            .map(|drop| {
                let rule = drop
                    .rule
                    .map_or("policy".to_owned(), |rule| rule.text.clone());
                (rule, drop.certainty)
            })
            .collect()
    }

    #[test]
    fn a_packet_ends_where_the_kernel_would_end_it() {
        let policy = |certainty| vec![("policy".to_owned(), certainty)];
        let rule = |text: &str| vec![(text.to_owned(), Yes)];
        for (chain_policy, rules, expected) in [
            ("ACCEPT", "", vec![]),
            ("DROP", "", policy(Yes)),
            ("DROP", "-A FORWARD -i cbr0 -j ACCEPT", vec![]),
            ("DROP", "-A FORWARD ! -i cbr0 -j ACCEPT", policy(Yes)),
            ("DROP", "-A FORWARD -o eth+ -p tcp -j ACCEPT", vec![]),
            ("DROP", "-A FORWARD -p udp -j ACCEPT", policy(Yes)),
            (
                "DROP",
                "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                policy(Yes),
            ),
            // What is not followed may let it pass.
            (
                "DROP",
                "-A FORWARD -m time --timestart 10:00 -j ACCEPT",
                policy(Perhaps),
            ),
            // A list of bad addresses is no finding.
            (
                "ACCEPT",
                "-A FORWARD -m set --match-set bad src -j DROP",
                vec![],
            ),
            (
                "ACCEPT",
                "-A FORWARD -s 10.0.0.0/8 -j REJECT",
                rule("-A FORWARD -s 10.0.0.0/8 -j REJECT"),
            ),
            ("ACCEPT", "-A FORWARD -s 11.0.0.0/8 -j REJECT", vec![]),
            // Jumps come back, gotos come back to the caller's caller.
            (
                "DROP",
                "-A FORWARD -j A\n-A FORWARD -j ACCEPT\n-A A -j RETURN\n-A A -j DROP",
                vec![],
            ),
            ("DROP", "-A FORWARD -g A\n-A FORWARD -j ACCEPT", policy(Yes)),
            (
                "ACCEPT",
                "-A FORWARD -j A\n-A A -j B\n-A B -m comment --comment \"no way\" -j DROP",
                rule("-A B -m comment --comment \"no way\" -j DROP"),
            ),
            (
                "DROP",
                "-A FORWARD -m limit --limit 5/sec -j A\n-A FORWARD -j ACCEPT\n-A A -i eth7 -j DROP",
                vec![],
            ),
            (
                "DROP",
                "-A FORWARD -m multiport --dports 80,400:500 -j ACCEPT",
                vec![],
            ),
            (
                "DROP",
                "-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
                policy(Yes),
            ),
            (
                "ACCEPT",
                "-A FORWARD -m physdev --physdev-is-bridged -j LOG",
                vec![],
            ),
        ] {
            assert_eq!(iptables(chain_policy, rules), expected, "{rules}");
        }
    }

    #[test]
    fn a_chain_that_leads_to_itself_ends() {
        let found = iptables("DROP", "-A FORWARD -j A\n-A A -j A");
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn nft_is_read_as_iptables_is() {
        let json = include_str!("../../tests/data/ruleset.json");
        let text = include_str!("../../tests/data/ruleset.nft");
        let tables = parse_nft(json, text).unwrap();
        let found = |change: &dyn Fn(&mut Packet)| {
            let mut packet = packet();
            change(&mut packet);
            let places: Vec<String> = drops(&tables, &[Hook::Forward], &packet)
                .iter()
                .map(Drop::place)
                .collect();
            places.join("; ")
        };
        assert_eq!(
            found(&|_| {}),
            "nft table inet filter, chain forward, rule `ip saddr @bad counter packets 0 bytes 0 drop`; \
             nft table inet filter, chain forward, rule `fib daddr type local drop`"
                .split("; ")
                .next()
                .unwrap()
        );
        let from = |address: &str, p: &mut Packet| p.source = address.parse().unwrap();
        assert_eq!(found(&|p| p.state = State::Established), "");
        assert_eq!(
            found(&|p| from("172.16.0.1", p)),
            "nft table inet filter, chain forward with policy drop"
        );
        let let_in = |p: &mut Packet| {
            from("172.16.0.1", p);
            p.incoming = Some("eth3".into());
            p.destination_port = 85;
        };
        assert_eq!(found(&let_in), "");
        let dns = |p: &mut Packet| {
            from("172.16.0.1", p);
            p.protocol = Packet::UDP;
            p.destination_port = 53;
        };
        assert_eq!(found(&dns), "");
    }
}
