//! The text of maps and rules, as `nft -s -t list table` prints it.
//!
//! A rule reads as nft reconstructs it: a register stands for the words of
//! what was put into it, so a lookup's key is the words of its parts.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

use sealane_net::Family;

use super::element::{Field, Map};
use crate::render::{source_text, verdict_text};
use crate::{CmpOp, Expr, Register, Rule, SetRef, Source, TableFamily};

impl Map {
    /// Its declaration.
    pub(crate) fn text(&self, family: Family) -> String {
        let spec = self.spec();
        let words = |fields: &[Field]| {
            let words: Vec<_> = fields.iter().map(|field| field.word(family)).collect();
            words.join(" . ")
        };
        let kind = if spec.data.is_empty() { "set" } else { "map" };
        let mut text = format!("\t{kind} {} {{\n\t\ttype {}", spec.name, words(spec.key));
        if !spec.data.is_empty() {
            let _ = write!(text, " : {}", words(spec.data));
        }
        text.push('\n');
        if spec.dynamic {
            text.push_str("\t\tsize 65535\n\t\tflags dynamic,timeout\n");
        }
        if spec.interval {
            text.push_str("\t\tflags interval\n");
        }
        let _ = write!(text, "\t\tcomment \"{}\"\n\t}}\n", spec.comment);
        text
    }
}

/// The text of a rule with an expression that only rules of Services have; `None` for others.
pub(crate) fn rule_text(rule: &Rule, family: TableFamily) -> Option<String> {
    let ours = |expr: &Expr| match expr {
        Expr::Load { source, .. } => matches!(
            source,
            Source::SourceType | Source::ConnectionState | Source::ConnectionStatus
        ),
        Expr::Find { .. } | Expr::Branch { .. } | Expr::SetMark(_) => true,
        _ => false,
    };
    if !rule.exprs.iter().any(ours) {
        return None;
    }
    let mut held = Held {
        family,
        words: BTreeMap::new(),
    };
    let each = rule.exprs.iter().filter_map(|expr| held.take(expr));
    let comment = rule.comment.iter().map(|c| format!("comment \"{c}\""));
    Some(each.chain(comment).collect::<Vec<_>>().join(" "))
}

/// The words of what each register holds.
struct Held {
    family: TableFamily,
    words: BTreeMap<Register, String>,
}

impl Held {
    fn at(&self, register: Register) -> &str {
        self.words.get(&register).map_or("?", String::as_str)
    }

    fn key(&self, map: &str, mut register: Register) -> String {
        let family = self.family.addresses();
        let fields = Map::named(map).map_or(&[][..], |map| map.spec().key);
        let mut parts = Vec::new();
        for field in fields {
            parts.push(self.at(register));
            if *field == Field::Draw {
                parts.push(self.at(register.behind(4)));
            }
            register = register.behind(field.bytes(family));
        }
        parts.join(" . ")
    }

    /// What nft prints for an expression; nothing for those that only fill registers.
    fn take(&mut self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Load { source, to } => {
                self.words.insert(*to, source_text(*source, self.family));
                None
            }
            Expr::Bitwise {
                register,
                mask,
                xor,
            } => {
                let words = self.at(*register);
                let dotted = <[u8; 4]>::try_from(mask.as_slice());
                let (mask, xor) = (word(mask), word(xor));
                let words = match (mask, xor) {
                    _ if words == "ip daddr" => {
                        format!("{words} & {}", Ipv4Addr::from(dotted.unwrap_or_default()))
                    }
                    // As nft shows a bit that is set.
                    (mask, xor) if xor != 0 && mask == !xor => format!("{words} | 0x{xor:08x}"),
                    _ => format!("{words} & 0x{mask:08x}"),
                };
                self.words.insert(*register, words);
                None
            }
            Expr::Cmp {
                register,
                op,
                value,
            } => Some(self.compared(*register, *op, word(value))),
            Expr::Lookup {
                register,
                set,
                invert,
            } => {
                let SetRef::Named(name) = set else {
                    return None;
                };
                let not = if *invert { " !=" } else { "" };
                Some(format!("{}{not} @{name}", self.key(name, *register)))
            }
            Expr::Find { register, map, to } => {
                let words = format!("{} map @{map}", self.key(map, *register));
                self.words.insert(*to, words);
                None
            }
            Expr::Branch { register, map } => {
                Some(format!("{} vmap @{map}", self.key(map, *register)))
            }
            Expr::Remember {
                map,
                key,
                data,
                seconds,
            } => {
                let (key, data) = (self.key(map, *key), self.at(*data));
                let time = duration(*seconds);
                Some(format!("update @{map} {{ {key} timeout {time} : {data} }}"))
            }
            Expr::Forget { map, key, data } => {
                let (key, data) = (self.key(map, *key), self.at(*data));
                Some(format!("delete @{map} {{ {key} : {data} }}"))
            }
            Expr::SetMark(from) => Some(format!("meta mark set {}", self.at(*from))),
            Expr::Random { to, modulus } => {
                let words = format!("numgen random mod {modulus}");
                self.words.insert(*to, words);
                None
            }
            Expr::Translate { address, .. } => {
                let family = self.family.word();
                Some(format!("dnat {family} to {}", self.at(*address)))
            }
            Expr::Reject => Some("reject".into()),
            Expr::Reset => Some("reject with tcp reset".into()),
            Expr::NoTrack => Some("notrack".into()),
            Expr::Counter => Some("counter".into()),
            Expr::NamedCounter(name) => Some(format!("counter name \"{name}\"")),
            Expr::Masquerade(flags) if flags.fully_random => Some("masquerade fully-random".into()),
            Expr::Masquerade(_) => Some("masquerade".into()),
            Expr::Verdict(verdict) => Some(verdict_text(verdict)),
        }
    }

    fn compared(&self, register: Register, op: CmpOp, value: u32) -> String {
        let words = self.at(register);
        match (words, op, value) {
            ("fib saddr type", CmpOp::Eq, 2) => "fib saddr type local".into(),
            ("ct state & 0x00000001", CmpOp::Ne, 0) => "ct state invalid".into(),
            ("ct status & 0x00000020", CmpOp::Ne, 0) => "ct status dnat".into(),
            (_, CmpOp::Eq, _) => format!("{words} == 0x{value:08x}"),
            (_, CmpOp::Ne, _) => format!("{words} != 0x{value:08x}"),
        }
    }
}

/// A number in the byte order of this machine.
fn word(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_ne_bytes)
}

/// As nft writes a time: `3h`, `1m30s`.
fn duration(seconds: u32) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut text = String::new();
    for (length, unit) in units {
        if rest >= length {
            let _ = write!(text, "{}{unit}", rest / length);
            rest %= length;
        }
    }
    text
}
