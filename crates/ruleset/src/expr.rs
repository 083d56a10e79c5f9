//! The kernel's expressions: each reads or writes registers, and a comparison that fails ends the rule.

use crate::Interval;

/// One of the 16 registers of 32 bits. A longer value fills as many as it needs, beginning with the one named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(pub u8);

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Puts something of the packet into a register.
    Load {
        /// What.
        source: Source,
        /// Where to.
        to: Register,
    },
    /// `register = (register & mask) ^ xor`, byte by byte.
    Bitwise {
        /// What is changed in place.
        register: Register,
        /// Which bits are kept.
        mask: Vec<u8>,
        /// Which bits are turned over; as long as the mask.
        xor: Vec<u8>,
    },
    /// Ends the rule unless the comparison holds.
    Cmp {
        /// What is compared.
        register: Register,
        /// How.
        op: CmpOp,
        /// With what, in the byte order of the register's source.
        value: Vec<u8>,
    },
    /// Ends the rule unless the set contains the register's value, or, inverted, if it does.
    Lookup {
        /// The key.
        register: Register,
        /// The set.
        set: SetRef,
        /// Whether the rule goes on when the key is not found.
        invert: bool,
    },
    /// Counts packets and bytes.
    Counter,
    /// Replaces the source address by that of the link on which the packet leaves.
    Masquerade(NatFlags),
    /// Ends or moves on. In the kernel: an immediate value for the verdict register.
    Verdict(Verdict),
}

/// What can be loaded from a packet or its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A field of the network header, in network byte order.
    Payload(PayloadField),
    /// What the kernel knows besides, in the byte order of this machine.
    Meta(MetaKey),
}

/// Fields of the network header; offset and length follow from the table's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadField {
    /// `ip saddr`, `ip6 saddr`
    SourceAddress,
    /// `ip daddr`, `ip6 daddr`
    DestinationAddress,
}

/// What the kernel knows of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetaKey {
    /// `meta mark`: 32 bits that travel with the packet inside one namespace.
    Mark,
    /// `iifname`: the link it came by; 16 bytes, filled up with zeros.
    InputLink,
    /// `oifname`: the link it leaves by; 16 bytes, filled up with zeros.
    OutputLink,
}

/// How a register is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CmpOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
}

/// Which set a lookup asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetRef {
    /// One of the table, by name.
    Named(String),
    /// One that lives and dies with the rule, written in braces.
    Anonymous(Vec<Interval>),
}

/// Where evaluation goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The packet goes on to later hooks.
    Accept,
    /// The packet is gone.
    Drop,
    /// Back to the chain that jumped here.
    Return,
    /// To a chain, and back at its end.
    Jump(String),
    /// To a chain, not coming back.
    Goto(String),
}

/// How a translated connection gets its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct NatFlags {
    /// `fully-random`: chosen at random, so that two connections set up at the
    /// same moment do not race for one port and lose a packet.
    pub fully_random: bool,
}

impl Register {
    /// The first register.
    pub const FIRST: Register = Register(0);
}
