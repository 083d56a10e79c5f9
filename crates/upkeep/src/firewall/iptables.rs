//! What `iptables-save` prints.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use sealane_net::Family;

use super::model::{
    Base, Chain, Condition, Hook, Match, Rule, Source, State, Table, TableFamily, Verdict,
    addresses, protocol,
};

/// Which of the two programs that are called iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Rules in nftables.
    Nft,
    /// Rules where they were before that.
    Legacy,
}

/// The tables of a listing; lines that make no sense are left out.
pub fn parse(text: &str, variant: Variant, family: Family) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            tables.push(Table {
                source: match variant {
                    Variant::Nft => Source::IptablesNft,
                    Variant::Legacy => Source::IptablesLegacy,
                },
                family: match family {
                    Family::V4 => TableFamily::Ip,
                    Family::V6 => TableFamily::Ip6,
                },
                name: name.to_owned(),
                chains: Vec::new(),
            });
        }
        let Some(table) = tables.last_mut() else {
            continue;
        };
        if let Some(chain) = line.strip_prefix(':').and_then(chain) {
            table.chains.push(chain);
        } else if let Some((name, rule)) = rule(line) {
            let chain = table.chains.iter_mut().find(|chain| chain.name == name);
            if let Some(chain) = chain {
                chain.rules.push(rule);
            }
        }
    }
    tables
}

/// `FORWARD DROP [0:0]`
fn chain(line: &str) -> Option<Chain> {
    let mut words = line.split(' ');
    let (name, policy) = (words.next()?, words.next()?);
    let base = Hook::named(name).filter(|_| policy != "-");
    Some(Chain {
        name: name.to_owned(),
        base: base.map(|hook| Base {
            hook,
            drops: policy == "DROP",
            device: None,
        }),
        rules: Vec::new(),
    })
}

/// `-A FORWARD ! -i eth0 -m comment --comment "not there" -j DROP`
fn rule(line: &str) -> Option<(String, Rule)> {
    let words = words(line);
    let mut words = words.iter().map(String::as_str);
    if words.next()? != "-A" {
        return None;
    }
    let name = words.next()?.to_owned();
    let mut rule = Rule {
        text: line.to_owned(),
        matches: Vec::new(),
        verdict: None,
    };
    let mut negated = false;
    while let Some(word) = words.next() {
        match word {
            // What follows are options of the target.
            "-j" => {
                rule.verdict = words.next().and_then(target);
                break;
            }
            "-g" => {
                rule.verdict = words.next().map(|name| Verdict::Goto(name.to_owned()));
                break;
            }
            "-m" => rule.matches.extend(words.next().and_then(extension)),
            "--comment" => drop(words.next()),
            option if option.starts_with('-') => rule.matches.push(Match {
                condition: condition(option, &mut words),
                negated,
            }),
            _ => {}
        }
        negated = word == "!";
    }
    Some((name, rule))
}

fn target(word: &str) -> Option<Verdict> {
    match word {
        "ACCEPT" => Some(Verdict::Accept),
        "DROP" | "REJECT" => Some(Verdict::Drop),
        "RETURN" => Some(Verdict::Return),
        // Targets are in capitals, and so are many chains; those of the kernel's that go on are these.
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TCPMSS" | "CT" | "NOTRACK" | "TRACE" | "SNAT"
        | "DNAT" | "MASQUERADE" | "REDIRECT" | "CHECKSUM" | "CLASSIFY" | "DSCP" | "SET"
        | "TPROXY" | "NFQUEUE" | "AUDIT" | "SECMARK" | "CONNSECMARK" | "HL" | "TTL" => None,
        chain => Some(Verdict::Jump(chain.to_owned())),
    }
}

/// An extension whose options we do not know decides something that we do not follow.
fn extension(name: &str) -> Option<Match> {
    let known = [
        "comment",
        "tcp",
        "udp",
        "conntrack",
        "state",
        "multiport",
        "mark",
        "addrtype",
        "icmp",
        "icmp6",
    ];
    (!known.contains(&name)).then_some(Match {
        condition: Condition::Unknown,
        negated: false,
    })
}

/// An option that we do not know may have a value, which the caller passes over.
fn condition<'a>(option: &str, words: &mut impl Iterator<Item = &'a str>) -> Condition {
    let read: fn(&str) -> Option<Condition> = match option {
        "-i" => |value| Some(Condition::In(vec![value.replace('+', "*")])),
        "-o" => |value| Some(Condition::Out(vec![value.replace('+', "*")])),
        "-s" => |value| ranges(value).map(Condition::From),
        "-d" => |value| ranges(value).map(Condition::To),
        "-p" => |value| Some(Condition::Protocol(vec![protocol(value)?])),
        "--sport" | "--sports" => |value| ports(value).map(Condition::SourcePort),
        "--dport" | "--dports" => |value| ports(value).map(Condition::DestinationPort),
        "--ctstate" | "--state" => |value| Some(Condition::State(states(value))),
        "--mark" => mark,
        "--dst-type" => |value| (value == "LOCAL").then_some(Condition::ToThisNode),
        _ => return Condition::Unknown,
    };
    words.next().and_then(read).unwrap_or(Condition::Unknown)
}

fn states(text: &str) -> Vec<State> {
    text.split(',').map(State::named).collect()
}

fn ranges(text: &str) -> Option<Vec<RangeInclusive<IpAddr>>> {
    text.split(',').map(addresses).collect()
}

fn ports(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let range = |part: &str| {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').map(range).collect()
}

fn mark(text: &str) -> Option<Condition> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    Some(Condition::Mark(number(value)?, number(mask)?))
}

/// Words of a line; what is in quotes is one.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}
