//! A virtual packet on its way through the encoded rules: what tests hold the kernel against, and what
//! `sealane trace` shows.
//!
//! It interprets expressions on registers as the kernel does, knows nothing of
//! what they are meant for, and refuses to read a register that its rule has not written.

use std::net::IpAddr;

use sealane_net::{Family, Protocol};

use super::element::{Bytes, Data, Element, Field, Map};
use super::image::Loaded;
use crate::{
    Chain, ChainType, CmpOp, Expr, Hook, MetaKey, PayloadField, Policy, Register, Rule, SetRef,
    Source, Verdict,
};

/// The first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where it enters.
    pub origin: Origin,
    /// From.
    pub source: IpAddr,
    /// To.
    pub destination: IpAddr,
    /// To.
    pub port: u16,
    /// Of the transport.
    pub protocol: Protocol,
    /// The packet's mark when it enters.
    pub mark: u32,
}

/// Where a packet enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It comes by a link: from a pod, another node or outside.
    Link,
    /// A process of the node sends it.
    Node,
}

/// What rules can ask about besides the packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// The addresses of the node.
    pub local_addresses: Vec<IpAddr>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Rules that did something, in their order.
    pub steps: Vec<TraceStep>,
    /// How it ended.
    pub outcome: Outcome,
    /// The mark with which the packet left.
    pub mark: u32,
    /// What rules added to maps, and took out before.
    pub remembered: Vec<Element>,
    /// Keys that rules took out of maps.
    pub forgotten: Vec<(Map, Bytes)>,
}

/// A rule that did something to the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// At which hook.
    pub hook: Hook,
    /// In which chain.
    pub chain: String,
    /// Which rule of the chain, from 0; [`Loaded::rule_text`] prints it.
    pub rule: usize,
    /// What it did.
    pub effect: String,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on to a destination.
    Passed {
        /// The address.
        destination: IpAddr,
        /// The port.
        port: u16,
        /// Whether with the node's address as its source.
        masqueraded: bool,
    },
    /// It is gone, and nobody is told.
    Dropped,
    /// It is gone, and the sender is told.
    Refused,
    /// The rules cannot be run: they read a register that was not written, for instance.
    Broken(String),
}

/// Sends a packet through a table. `choose` draws a number below its argument.
pub fn walk(
    loaded: &Loaded,
    world: &World,
    flow: &Flow,
    choose: &mut dyn FnMut(u32) -> u32,
) -> Trace {
    let mut walker = Walker {
        loaded,
        world,
        family: Family::from(flow.destination),
        packet: Packet {
            source: flow.source,
            destination: flow.destination,
            port: flow.port,
            protocol: flow.protocol,
            mark: flow.mark,
            translated: false,
            masqueraded: false,
        },
        choose,
        trace: Trace {
            steps: Vec::new(),
            outcome: Outcome::Dropped,
            mark: flow.mark,
            remembered: Vec::new(),
            forgotten: Vec::new(),
        },
    };
    let outcome = walker.path(flow.origin);
    let mut trace = walker.trace;
    trace.mark = walker.packet.mark;
    trace.outcome = match outcome {
        Ok(End::Pass) => Outcome::Passed {
            destination: walker.packet.destination,
            port: walker.packet.port,
            masqueraded: walker.packet.masqueraded,
        },
        Ok(End::Drop) => Outcome::Dropped,
        Ok(End::Refuse) => Outcome::Refused,
        Err(why) => Outcome::Broken(why),
    };
    trace
}

struct Packet {
    source: IpAddr,
    destination: IpAddr,
    port: u16,
    protocol: Protocol,
    mark: u32,
    translated: bool,
    masqueraded: bool,
}

struct Walker<'a> {
    loaded: &'a Loaded,
    world: &'a World,
    family: Family,
    packet: Packet,
    choose: &'a mut dyn FnMut(u32) -> u32,
    trace: Trace,
}

#[derive(PartialEq)]
enum End {
    Pass,
    Drop,
    Refuse,
}

/// What a rule or chain comes to.
enum Next {
    /// The following rule; at the end of a chain, back to where it was jumped from.
    Continue,
    Return,
    Jump(String),
    Goto(String),
    End(End),
}

/// The registers of a rule, of which each byte is known or not.
struct Registers([Option<u8>; 64]);

impl Registers {
    fn read(&self, from: Register, length: usize) -> Result<Vec<u8>, String> {
        let start = usize::from(from.0) * 4;
        let bytes = self.0.get(start..start + length);
        let bytes: Option<Vec<u8>> = bytes.and_then(|bytes| bytes.iter().copied().collect());
        bytes.ok_or_else(|| format!("register {} is read and was not written", from.0))
    }

    /// Fills the last word up with zeros, as the kernel does.
    fn write(&mut self, to: Register, bytes: &[u8]) -> Result<(), String> {
        let start = usize::from(to.0) * 4;
        let end = start + bytes.len().next_multiple_of(4);
        let room = self.0.get_mut(start..end);
        let room = room.ok_or_else(|| format!("register {} has no room", to.0))?;
        room.fill(Some(0));
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = Some(*byte);
        }
        Ok(())
    }
}

impl Walker<'_> {
    fn path(&mut self, origin: Origin) -> Result<End, String> {
        let first = match origin {
            Origin::Link => Hook::Prerouting,
            Origin::Node => Hook::Output,
        };
        for hook in [first, Hook::Input, Hook::Forward, Hook::Postrouting] {
            let is_local = self
                .world
                .local_addresses
                .contains(&self.packet.destination);
            let passes = match hook {
                Hook::Input => origin == Origin::Link && is_local,
                Hook::Forward => origin == Origin::Link && !is_local,
                Hook::Postrouting => origin == Origin::Node || !is_local,
                Hook::Prerouting | Hook::Output => true,
            };
            if !passes {
                continue;
            }
            let end = self.hook(hook)?;
            if end != End::Pass {
                return Ok(end);
            }
        }
        Ok(End::Pass)
    }

    fn hook(&mut self, hook: Hook) -> Result<End, String> {
        let loaded = self.loaded;
        let mut chains: Vec<&Chain> = loaded.table.chains.iter().collect();
        chains.retain(|chain| chain.base.is_some_and(|base| base.hook == hook));
        chains.sort_by_key(|chain| chain.base.map(|base| base.priority));
        for chain in chains {
            let Some(base) = chain.base else { continue };
            let end = match self.chain(hook, base.kind, chain, 0)? {
                Next::End(end) => end,
                _ if base.policy == Policy::Drop => End::Drop,
                _ => End::Pass,
            };
            if end != End::Pass {
                return Ok(end);
            }
        }
        Ok(End::Pass)
    }

    fn chain(
        &mut self,
        hook: Hook,
        kind: ChainType,
        chain: &Chain,
        depth: usize,
    ) -> Result<Next, String> {
        /// `NFT_JUMP_STACK_SIZE`
        const DEEPEST: usize = 16;
        if depth > DEEPEST {
            return Err("too many jumps".into());
        }
        for (index, rule) in chain.rules.iter().enumerate() {
            let next = self.rule(hook, kind, chain, index, rule)?;
            let find = |name: &str| {
                let found = self.loaded.chain(name);
                found.ok_or_else(|| format!("chain {name} is missing"))
            };
            match next {
                Next::Continue => {}
                Next::Return => return Ok(Next::Continue),
                Next::End(end) => return Ok(Next::End(end)),
                Next::Goto(name) => {
                    let to = find(&name)?;
                    return self.chain(hook, kind, to, depth);
                }
                Next::Jump(name) => {
                    let to = find(&name)?;
                    if let Next::End(end) = self.chain(hook, kind, to, depth + 1)? {
                        return Ok(Next::End(end));
                    }
                }
            }
        }
        Ok(Next::Continue)
    }

    fn rule(
        &mut self,
        hook: Hook,
        kind: ChainType,
        chain: &Chain,
        index: usize,
        rule: &Rule,
    ) -> Result<Next, String> {
        let mut registers = Registers([None; 64]);
        let before = self.packet.mark;
        let mut next = Next::Continue;
        let mut effect = String::new();
        for expr in &rule.exprs {
            match self.expr(kind, expr, &mut registers, &mut effect)? {
                None => {
                    // A rule that breaks off has done what it did so far.
                    if self.packet.mark != before {
                        return Err(format!("a rule of {} ends with another mark", chain.name));
                    }
                    return Ok(Next::Continue);
                }
                Some(Next::Continue) => {}
                Some(ended) => {
                    next = ended;
                    break;
                }
            }
        }
        if self.packet.mark != before && effect.is_empty() {
            effect = format!("mark {:#x}", self.packet.mark);
        }
        match &next {
            Next::Jump(to) => effect = format!("jump {to}"),
            Next::Goto(to) => effect = format!("goto {to}"),
            Next::End(End::Drop) => effect = "drop".into(),
            Next::End(End::Refuse) => effect = "reject".into(),
            _ => {}
        }
        if !effect.is_empty() {
            self.trace.steps.push(TraceStep {
                hook,
                chain: chain.name.clone(),
                rule: index,
                effect,
            });
        }
        Ok(next)
    }

    /// `None` ends the rule.
    fn expr(
        &mut self,
        kind: ChainType,
        expr: &Expr,
        registers: &mut Registers,
        effect: &mut String,
    ) -> Result<Option<Next>, String> {
        let go_on = Ok(Some(Next::Continue));
        match expr {
            Expr::Load { source, to } => {
                registers.write(*to, &self.load(*source)?)?;
                go_on
            }
            Expr::Bitwise {
                register,
                mask,
                xor,
            } => {
                let value = registers.read(*register, mask.len())?;
                let each = value.iter().zip(mask.iter().zip(xor));
                let value: Vec<u8> = each.map(|(v, (m, x))| v & m ^ x).collect();
                registers.write(*register, &value)?;
                go_on
            }
            Expr::Cmp {
                register,
                op,
                value,
            } => {
                let equal = registers.read(*register, value.len())? == *value;
                Ok((equal == (*op == CmpOp::Eq)).then_some(Next::Continue))
            }
            Expr::Lookup {
                register,
                set,
                invert,
            } => {
                let SetRef::Named(name) = set else {
                    return Err("a set of a rule's own is not walked".into());
                };
                let found = self.find(name, *register, registers)?.is_some();
                Ok((found != *invert).then_some(Next::Continue))
            }
            Expr::Find { register, map, to } => match self.lead(map, *register, registers)? {
                Some(Data::Value(value)) => {
                    registers.write(*to, value.as_slice())?;
                    go_on
                }
                _ => Ok(None),
            },
            Expr::Branch { register, map } => match self.find(map, *register, registers)? {
                Some(Data::Verdict(verdict)) => Ok(Some(next(&verdict))),
                _ => Ok(None),
            },
            Expr::SetMark(from) => {
                let value = registers.read(*from, 4)?;
                self.packet.mark = value.try_into().map_or(0, u32::from_ne_bytes);
                go_on
            }
            Expr::Random { to, modulus } => {
                let drawn = (self.choose)(*modulus).min(modulus - 1);
                registers.write(*to, &drawn.to_ne_bytes())?;
                go_on
            }
            Expr::Remember { map, key, data, .. } => {
                let map = known_map(map)?;
                let element = Element::value(
                    map,
                    self.key(map, *key, registers)?,
                    Bytes::new(&registers.read(*data, 4)?).unwrap_or_default(),
                );
                self.trace.remembered.push(element);
                go_on
            }
            Expr::Forget { map, key, .. } => {
                let map = known_map(map)?;
                let key = self.key(map, *key, registers)?;
                self.trace.forgotten.push((map, key));
                go_on
            }
            Expr::Translate { address, port } => {
                let width = usize::from(self.family.address_bits() / 8);
                let bytes = Bytes::new(&registers.read(*address, width)?).unwrap_or_default();
                let to = bytes.address_at(0, self.family);
                self.packet.destination = to.ok_or("no address to translate to")?;
                let bytes = registers.read(*port, 2)?;
                self.packet.port = bytes.try_into().map_or(0, u16::from_be_bytes);
                self.packet.translated = true;
                let to = std::net::SocketAddr::new(self.packet.destination, self.packet.port);
                *effect = format!("dnat to {to}");
                Ok(Some(Next::End(End::Pass)))
            }
            Expr::Masquerade(_) => {
                if kind != ChainType::Nat {
                    return Err("masquerade outside of a nat chain".into());
                }
                self.packet.masqueraded = true;
                *effect = "masquerade".into();
                Ok(Some(Next::End(End::Pass)))
            }
            Expr::Reject | Expr::Reset => Ok(Some(Next::End(End::Refuse))),
            Expr::Verdict(verdict) => Ok(Some(next(verdict))),
            Expr::Counter => go_on,
            other => Err(format!("{other:?} is not walked")),
        }
    }

    fn load(&self, source: Source) -> Result<Vec<u8>, String> {
        let packet = &self.packet;
        let address = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        Ok(match source {
            Source::Payload(PayloadField::SourceAddress) => address(packet.source),
            Source::Payload(PayloadField::DestinationAddress) => address(packet.destination),
            Source::Payload(PayloadField::DestinationPort) => packet.port.to_be_bytes().to_vec(),
            Source::Meta(MetaKey::Mark) => packet.mark.to_ne_bytes().to_vec(),
            // The map that it is looked up in says between how many one draws.
            Source::Meta(MetaKey::Random) => vec![0; 4],
            // Who is not the node itself comes by another link than lo.
            Source::Meta(MetaKey::InputLink) => {
                let mut name = b"eth0".to_vec();
                name.resize(16, 0);
                name
            }
            Source::Meta(MetaKey::Transport) => vec![packet.protocol.number()],
            Source::SourceType => {
                let local = self.world.local_addresses.contains(&packet.source);
                let kind: u32 = if local { 2 } else { 1 };
                kind.to_ne_bytes().to_vec()
            }
            // It is new: bit 3.
            Source::ConnectionState => 8_u32.to_ne_bytes().to_vec(),
            Source::ConnectionStatus => {
                let status = if packet.translated { 1_u32 << 5 } else { 0 };
                status.to_ne_bytes().to_vec()
            }
            other => return Err(format!("{other:?} is not walked")),
        })
    }

    fn key(&self, map: Map, from: Register, registers: &Registers) -> Result<Bytes, String> {
        let parts = map.spec().key.iter();
        let length = parts.map(|part| part.bytes(self.family)).sum();
        Ok(Bytes::new(&registers.read(from, length)?).unwrap_or_default())
    }

    /// As `find`; of ranges for a random number, which are of one width, one is drawn.
    fn lead(
        &mut self,
        name: &str,
        from: Register,
        registers: &Registers,
    ) -> Result<Option<Data>, String> {
        let map = known_map(name)?;
        if map.spec().key != [Field::Draw] {
            return self.find(name, from, registers);
        }
        let key = self.key(map, from, registers)?;
        let prefix = Bytes::new(&key.as_slice()[..4]).unwrap_or_default();
        let image = &self.loaded.image;
        let count = image.of_prefix(map, &prefix).count() as u32;
        if count == 0 {
            return Ok(None);
        }
        let drawn = (self.choose)(count).min(count - 1) as usize;
        Ok(image.of_prefix(map, &prefix).nth(drawn).cloned())
    }

    fn find(
        &self,
        name: &str,
        from: Register,
        registers: &Registers,
    ) -> Result<Option<Data>, String> {
        let map = known_map(name)?;
        let key = self.key(map, from, registers)?;
        Ok(self.loaded.image.get(map, &key).cloned())
    }
}

fn known_map(name: &str) -> Result<Map, String> {
    Map::named(name).ok_or_else(|| format!("map {name} is missing"))
}

fn next(verdict: &Verdict) -> Next {
    match verdict {
        Verdict::Accept => Next::End(End::Pass),
        Verdict::Drop => Next::End(End::Drop),
        Verdict::Return => Next::Return,
        Verdict::Jump(to) => Next::Jump(to.clone()),
        Verdict::Goto(to) => Next::Goto(to.clone()),
    }
}
