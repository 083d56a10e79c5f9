use sealane_net::IpNet;

use crate::{
    CmpOp, Expr, Interval, MetaKey, NatFlags, PayloadField, Register, SetRef, Source, Verdict,
};

/// Expressions that run one after the other, until one ends the rule.
///
/// The methods append what nft would compile one of its words to, so a rule
/// reads like its text. Each match loads into the first register anew: no
/// value is carried from one match, or one rule, to the next.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rule {
    /// The steps.
    pub exprs: Vec<Expr>,
    /// What it is for, shown to whoever lists the table; at most 120 bytes.
    pub comment: Option<String>,
}

impl Rule {
    /// A rule that matches everything and does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// `saddr @set` or `daddr @set`: the address is in a set of the table.
    pub fn address_in(self, field: PayloadField, set: &str) -> Self {
        self.lookup(field, SetRef::Named(set.into()), false)
    }

    /// `saddr != @set` or `daddr != @set`: the address is not in a set of the table.
    pub fn address_not_in(self, field: PayloadField, set: &str) -> Self {
        self.lookup(field, SetRef::Named(set.into()), true)
    }

    /// `daddr { a, b }`, or `daddr != { a, b }` when inverted: a set of the rule's own.
    pub fn address_in_list(
        self,
        field: PayloadField,
        intervals: Vec<Interval>,
        invert: bool,
    ) -> Self {
        self.lookup(field, SetRef::Anonymous(intervals), invert)
    }

    /// `saddr 172.29.0.0/24`: the address is in a network, or, with [`CmpOp::Ne`], is not.
    pub fn address(self, field: PayloadField, op: CmpOp, network: IpNet) -> Self {
        let (value, mask) = match network.trunc() {
            IpNet::V4(v4) => (v4.addr().octets().to_vec(), v4.netmask().octets().to_vec()),
            IpNet::V6(v6) => (v6.addr().octets().to_vec(), v6.netmask().octets().to_vec()),
        };
        let rule = self.load(Source::Payload(field));
        let rule = if network.prefix_len() == network.max_prefix_len() {
            rule
        } else {
            let xor = vec![0; mask.len()];
            rule.with(Expr::Bitwise {
                register: Register::FIRST,
                mask,
                xor,
            })
        };
        rule.cmp(op, value)
    }

    /// `oifname "eth0"`: the packet leaves by this link, or, with [`CmpOp::Ne`], by another.
    pub fn output_link(self, op: CmpOp, name: &str) -> Self {
        self.link(MetaKey::OutputLink, op, name)
    }

    /// `iifname "eth0"`: the packet came by this link, or, with [`CmpOp::Ne`], by another.
    pub fn input_link(self, op: CmpOp, name: &str) -> Self {
        self.link(MetaKey::InputLink, op, name)
    }

    /// `meta mark & bits == bits`: these bits of the mark are set.
    pub fn mark_has(self, bits: u32) -> Self {
        self.load(Source::Meta(MetaKey::Mark))
            .with(Expr::Bitwise {
                register: Register::FIRST,
                mask: bits.to_ne_bytes().to_vec(),
                xor: vec![0; 4],
            })
            .cmp(CmpOp::Eq, bits.to_ne_bytes().to_vec())
    }

    /// `iifgroup 94`: the packet came by a link of this group, or, with [`CmpOp::Ne`], by another.
    pub fn input_group(self, op: CmpOp, group: u32) -> Self {
        self.load(Source::Meta(MetaKey::InputGroup))
            .cmp(op, group.to_ne_bytes().to_vec())
    }

    /// `meta protocol ip`: the frame carries this, see [`crate::ether_type`].
    pub fn protocol(self, ether_type: u16) -> Self {
        self.load(Source::Meta(MetaKey::Protocol))
            .cmp(CmpOp::Eq, ether_type.to_be_bytes().to_vec())
    }

    /// `meta l4proto tcp`: the packet carries this, see [`crate::transport`].
    pub fn transport(self, number: u8) -> Self {
        self.load(Source::Meta(MetaKey::Transport))
            .cmp(CmpOp::Eq, vec![number])
    }

    /// `udp dport 68`: a field has a value, in network byte order; what the field needs is asked before.
    pub fn field(self, field: PayloadField, value: &[u8]) -> Self {
        self.needing(field)
            .load(Source::Payload(field))
            .cmp(CmpOp::Eq, value.to_vec())
    }

    /// `ether daddr & mask == value`
    pub fn masked_field(self, field: PayloadField, mask: &[u8], value: &[u8]) -> Self {
        let xor = vec![0; mask.len()];
        (self.needing(field).load(Source::Payload(field)))
            .with(Expr::Bitwise {
                register: Register::FIRST,
                mask: mask.to_vec(),
                xor,
            })
            .cmp(CmpOp::Eq, value.to_vec())
    }

    /// `iifname . ether saddr . ip saddr @set`: these, one behind the other, are a key of a [`crate::KeyedSet`],
    /// or, inverted, are not.
    pub fn key_in(self, key: &[Source], set: &str, invert: bool) -> Self {
        let mut rule = key.iter().fold(self, |rule, source| match source {
            Source::Payload(field) => rule.needing(*field),
            _ => rule,
        });
        let mut to = Register::FIRST;
        for source in key {
            rule = rule.with(Expr::Load {
                source: *source,
                to,
            });
            to = to.behind(source.bytes());
        }
        rule.with(Expr::Lookup {
            register: Register::FIRST,
            set: SetRef::Named(set.into()),
            invert,
        })
    }

    /// Asks for what a field needs, unless the rule has asked already.
    fn needing(self, field: PayloadField) -> Self {
        let asked = |(key, value): &(MetaKey, Vec<u8>)| {
            let is_it = |pair: &[Expr]| {
                matches!(pair, [Expr::Load { source, .. }, Expr::Cmp { value: found, .. }]
                    if *source == Source::Meta(*key) && found == value)
            };
            self.exprs.windows(2).any(is_it)
        };
        match field.needs() {
            Some(need) if !asked(&need) => {
                let (key, value) = need;
                self.load(Source::Meta(key)).cmp(CmpOp::Eq, value)
            }
            _ => self,
        }
    }

    /// `counter name "dropped"`
    pub fn named_counter(self, name: &str) -> Self {
        self.with(Expr::NamedCounter(name.into()))
    }

    /// `notrack`
    pub fn notrack(self) -> Self {
        self.with(Expr::NoTrack)
    }

    /// `counter`
    pub fn counter(self) -> Self {
        self.with(Expr::Counter)
    }

    /// `masquerade fully-random`
    pub fn masquerade(self) -> Self {
        self.with(Expr::Masquerade(NatFlags { fully_random: true }))
    }

    /// `accept`, `drop`, `jump chain`, …
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.with(Expr::Verdict(verdict))
    }

    /// `comment "…"`
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Appends an expression.
    pub fn with(mut self, expr: Expr) -> Self {
        self.exprs.push(expr);
        self
    }

    fn load(self, source: Source) -> Self {
        self.with(Expr::Load {
            source,
            to: Register::FIRST,
        })
    }

    fn cmp(self, op: CmpOp, value: Vec<u8>) -> Self {
        self.with(Expr::Cmp {
            register: Register::FIRST,
            op,
            value,
        })
    }

    fn lookup(self, field: PayloadField, set: SetRef, invert: bool) -> Self {
        self.load(Source::Payload(field)).with(Expr::Lookup {
            register: Register::FIRST,
            set,
            invert,
        })
    }

    fn link(self, key: MetaKey, op: CmpOp, name: &str) -> Self {
        const LINK_NAME_SIZE: usize = 16;
        let mut value = name.as_bytes().to_vec();
        value.resize(LINK_NAME_SIZE, 0);
        self.load(Source::Meta(key)).cmp(op, value)
    }
}
