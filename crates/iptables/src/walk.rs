//! A virtual packet on its way through the chains, read from the text that `iptables-save` prints: what
//! `sealane trace` shows.
//!
//! It knows the matches and targets that [`compile()`](crate::compile()) writes and no others; of a rule with any other
//! word it says so, and does not guess.

use std::net::{IpAddr, SocketAddr};

use sealane_net::{IpNet, Protocol};

use crate::program::{Program, Table};
use crate::rule::word;

/// The first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// A process of the node sends it; else it comes by a link.
    pub from_node: bool,
    /// From.
    pub source: IpAddr,
    /// To.
    pub destination: IpAddr,
    /// To.
    pub port: u16,
    /// Of the transport.
    pub protocol: Protocol,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Walked {
    /// Rules that the packet has matched, in their order.
    pub steps: Vec<Step>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A rule that the packet has matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// In which table.
    pub table: Table,
    /// The rule, as `iptables-save` prints it.
    pub rule: String,
    /// Whether the packet was routed already.
    pub is_routed: bool,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on to a destination.
    Passed {
        /// Where to.
        to: SocketAddr,
        /// Whether with the node's address as its source.
        masqueraded: bool,
    },
    /// It is gone, and nobody is told.
    Dropped,
    /// It is gone, and the sender is told.
    Refused,
    /// A rule that cannot be read, or chains that lead nowhere.
    Broken(String),
}

impl Step {
    /// What follows `-j`, without its options.
    pub fn target(&self) -> &str {
        let behind = self.rule.rsplit_once(" -j ").map_or("", |(_, rest)| rest);
        behind.split(' ').next().unwrap_or_default()
    }
}

/// Sends a packet through the chains of its family, on a node with these addresses. `choose` says
/// whether a rule takes the packet that takes one with this probability.
pub fn walk(
    program: &Program,
    local: &[IpAddr],
    flow: &Flow,
    choose: &mut dyn FnMut(f64) -> bool,
) -> Walked {
    let mut walker = Walker {
        program,
        local,
        packet: Packet {
            flow: *flow,
            mark: 0,
            translated: false,
            masqueraded: false,
        },
        is_routed: false,
        steps: Vec::new(),
        choose,
    };
    let outcome = match walker.path() {
        Ok(End::Pass) => Outcome::Passed {
            to: SocketAddr::new(walker.packet.flow.destination, walker.packet.flow.port),
            masqueraded: walker.packet.masqueraded,
        },
        Ok(End::Drop) => Outcome::Dropped,
        Ok(End::Refuse) => Outcome::Refused,
        Err(why) => Outcome::Broken(why),
    };
    Walked {
        steps: walker.steps,
        outcome,
    }
}

struct Packet {
    flow: Flow,
    mark: u32,
    translated: bool,
    masqueraded: bool,
}

struct Walker<'a> {
    program: &'a Program,
    local: &'a [IpAddr],
    packet: Packet,
    is_routed: bool,
    steps: Vec<Step>,
    choose: &'a mut dyn FnMut(f64) -> bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Pass,
    Drop,
    Refuse,
}

enum Next {
    Continue,
    Return,
    Jump(String),
    End(End),
}

impl Walker<'_> {
    /// Through the kernel's own chains, as far as ours hang in them.
    fn path(&mut self) -> Result<End, String> {
        let first = if self.packet.flow.from_node {
            "OUTPUT"
        } else {
            "PREROUTING"
        };
        let mut end = self.hook(Table::Nat, first)?;
        self.is_routed = true;
        let is_local = self.is_local(self.packet.flow.destination);
        let filter = match self.packet.flow.from_node {
            true => "OUTPUT",
            false if is_local => "INPUT",
            false => "FORWARD",
        };
        if end == End::Pass {
            end = self.hook(Table::Filter, filter)?;
        }
        if end == End::Pass && filter != "INPUT" {
            end = self.hook(Table::Nat, "POSTROUTING")?;
        }
        Ok(end)
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.local.contains(&address)
    }

    fn hook(&mut self, table: Table, name: &str) -> Result<End, String> {
        // The last that is put in front is the first.
        let leads = self.program.leads.iter().rev();
        let own = leads.filter(|(of, rule)| *of == table && rule.split(' ').next() == Some(name));
        let rules: String = own.map(|(_, rule)| format!("-A {rule}\n")).collect();
        match self.rules(table, &rules, 0)? {
            Next::End(end) => Ok(end),
            _ => Ok(End::Pass),
        }
    }

    fn rules(&mut self, table: Table, rules: &str, depth: usize) -> Result<Next, String> {
        /// More than any program of ours has.
        const DEEPEST: usize = 16;
        if depth > DEEPEST {
            return Err("too many jumps".to_owned());
        }
        for rule in rules.lines() {
            let next = self.rule(rule)?;
            if let Next::Continue = next {
                continue;
            }
            self.steps.push(Step {
                table,
                rule: rule.to_owned(),
                is_routed: self.is_routed,
            });
            match next {
                Next::Jump(name) if name.is_empty() => {}
                Next::Jump(name) => {
                    let chain = self.program.chains.get(&(table, name.clone()));
                    let chain = chain.ok_or_else(|| format!("chain {name} is missing"))?;
                    if let Next::End(end) = self.rules(table, chain, depth + 1)? {
                        return Ok(Next::End(end));
                    }
                }
                ended => return Ok(ended),
            }
        }
        Ok(Next::Return)
    }

    /// What a rule does to the packet; [`Next::Jump`] without a name: it goes on behind it.
    fn rule(&mut self, rule: &str) -> Result<Next, String> {
        let words = words(rule);
        let mut words = words.iter().map(String::as_str).skip(2);
        let unread = |what: &str| format!("{what:?} in rule {rule:?} is not walked");
        let mut invert = false;
        while let Some(option) = words.next() {
            if option == "!" {
                invert = true;
                continue;
            }
            let mut value = || words.next().ok_or_else(|| unread(option));
            let holds = match option {
                "-j" => {
                    let target = value()?;
                    let options: Vec<&str> = words.collect();
                    return self.target(target, &options).ok_or_else(|| unread(target));
                }
                // Which match the following options are of; all have names of their own.
                "-m" => {
                    value()?;
                    continue;
                }
                "--comment" | "--mode" | "--seconds" | "--name" | "--mask" => {
                    value()?;
                    continue;
                }
                "--reap" | "--rsource" | "--set" => continue,
                // A new client is in no list.
                "--rcheck" => false,
                "-s" => network(value()?, rule)?.contains(&self.packet.flow.source),
                "-d" => network(value()?, rule)?.contains(&self.packet.flow.destination),
                "-p" => value()? == word(self.packet.flow.protocol),
                "--dport" => value()?.parse() == Ok(self.packet.flow.port),
                "--dst-type" => value()? == "LOCAL" && self.is_local(self.packet.flow.destination),
                "--src-type" => value()? == "LOCAL" && self.is_local(self.packet.flow.source),
                "--ctstate" => value()?.split(',').any(|state| match state {
                    "NEW" => true,
                    "DNAT" => self.packet.translated,
                    _ => false,
                }),
                "--mark" => {
                    let (wanted, mask) = marks(value()?).ok_or_else(|| unread(option))?;
                    self.packet.mark & mask == wanted
                }
                "--probability" => {
                    let chance = value()?.parse().map_err(|_| unread(option))?;
                    (self.choose)(chance)
                }
                other => return Err(unread(other)),
            };
            if holds == std::mem::take(&mut invert) {
                return Ok(Next::Continue);
            }
        }
        Ok(Next::Continue)
    }

    fn target(&mut self, target: &str, options: &[&str]) -> Option<Next> {
        let passed = Next::End(End::Pass);
        Some(match (target, options) {
            ("ACCEPT", _) => passed,
            ("RETURN", _) => Next::Return,
            ("DROP", _) => Next::End(End::Drop),
            ("REJECT", _) => Next::End(End::Refuse),
            ("MARK", ["--set-xmark", text, ..]) => {
                let (value, mask) = marks(text)?;
                self.packet.mark = (self.packet.mark & !mask) ^ value;
                Next::Jump(String::new())
            }
            ("DNAT", ["--to-destination", to, ..]) => {
                let to: SocketAddr = to.parse().ok()?;
                self.packet.flow.destination = to.ip();
                self.packet.flow.port = to.port();
                self.packet.translated = true;
                passed
            }
            ("MASQUERADE", _) => {
                self.packet.masqueraded = true;
                passed
            }
            (chain, []) => Next::Jump(chain.to_owned()),
            _ => return None,
        })
    }
}

/// The words of a rule; quotes keep a comment together.
fn words(rule: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in rule.split('"').enumerate() {
        match place % 2 {
            1 => words.push(part.to_owned()),
            _ => words.extend(part.split_whitespace().map(str::to_owned)),
        }
    }
    words
}

fn network(text: &str, rule: &str) -> Result<IpNet, String> {
    let whole = || text.parse::<IpAddr>().map(IpNet::from);
    let read = text.parse().or_else(|_| whole());
    read.map_err(|_| format!("{text:?} in rule {rule:?} is no network"))
}

/// Value and mask: `0x4000/0x4000`.
fn marks(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    match text.split_once('/') {
        Some((value, mask)) => Some((number(value)?, number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}
