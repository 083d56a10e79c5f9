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
    /// Counts packets and bytes with a counter of the table, by name.
    NamedCounter(String),
    /// Replaces the source address by that of the link on which the packet leaves.
    Masquerade(NatFlags),
    /// Puts what a key leads to into a register; ends the rule if the map has no such key.
    Find {
        /// The key.
        register: Register,
        /// The name of the map.
        map: &'static str,
        /// Where to.
        to: Register,
    },
    /// Takes the verdict that a key leads to; ends the rule if the map has no such key.
    Branch {
        /// The key.
        register: Register,
        /// The name of the map.
        map: &'static str,
    },
    /// Adds an element to a map, or renews its time; ends the rule if the map is full.
    Remember {
        /// The name of the map.
        map: &'static str,
        /// The key.
        key: Register,
        /// What it leads to.
        data: Register,
        /// For how long.
        seconds: u32,
    },
    /// Takes an element out of a map, if it is there.
    Forget {
        /// The name of the map.
        map: &'static str,
        /// The key.
        key: Register,
        /// Not used; the kernel asks for it.
        data: Register,
    },
    /// Sets the packet's mark.
    SetMark(Register),
    /// A random number below another.
    Random {
        /// Where to.
        to: Register,
        /// At least 1.
        modulus: u32,
    },
    /// Replaces destination address and port, and those of the answers' source.
    Translate {
        /// Of the table's family.
        address: Register,
        /// In network byte order.
        port: Register,
    },
    /// The packet is gone, and the sender is told that nobody listens at its port.
    Reject,
    /// The packet is gone, and the sender's connection is reset. Of TCP alone: what is before it in the rule must say so.
    Reset,
    /// Connection tracking leaves the packet alone, and so does address translation.
    NoTrack,
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
    /// `fib saddr type`: what sort of address the source is to this namespace (`RTN_*`).
    SourceType,
    /// `ct state`: bits.
    ConnectionState,
    /// `ct status`: bits (`IPS_*`).
    ConnectionStatus,
}

/// Fields of a packet, in network byte order. Of the first two, offset and length follow from the table's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadField {
    /// `ip saddr`, `ip6 saddr`
    SourceAddress,
    /// `ip daddr`, `ip6 daddr`
    DestinationAddress,
    /// `ether saddr`
    EtherSource,
    /// `ether daddr`
    EtherDestination,
    /// `ip saddr`, in a table of frames
    Ipv4Source,
    /// `ip6 saddr`, in a table of frames
    Ipv6Source,
    /// `arp operation`
    ArpOperation,
    /// `arp saddr ether`
    ArpSenderMac,
    /// `arp saddr ip`
    ArpSenderAddress,
    /// `udp dport`
    UdpDestination,
    /// `udp sport`
    UdpSource,
    /// `tcp dport`
    TcpDestination,
    /// `tcp sport`
    TcpSource,
    /// `th dport`: of whatever protocol, which is asked for elsewhere.
    DestinationPort,
    /// `icmp type`
    IcmpType,
    /// `icmpv6 type`
    Icmpv6Type,
    /// `igmp type`
    IgmpType,
    /// The target of a neighbour solicitation or advertisement (RFC 4861 §4.3), which nft 1.0 shows as `@th,64,128`.
    NeighbourTarget,
}

/// What the kernel knows of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetaKey {
    /// `meta mark`: 32 bits that travel with the packet inside one namespace.
    Mark,
    /// `meta random`: 32 bits that are others each time.
    Random,
    /// `iifname`: the link it came by; 16 bytes, filled up with zeros.
    InputLink,
    /// `oifname`: the link it leaves by; 16 bytes, filled up with zeros.
    OutputLink,
    /// `iifgroup`: the number that its link's maker gave to links of a kind.
    InputGroup,
    /// `meta protocol`: the EtherType inside of VLAN tags, in network byte order.
    Protocol,
    /// `meta l4proto`: the number of the protocol behind all headers of the network.
    Transport,
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

    /// The register behind a value of `bytes` bytes that begins here.
    pub fn behind(self, bytes: usize) -> Register {
        Register(self.0 + bytes.div_ceil(4) as u8)
    }
}

/// EtherTypes, as [`MetaKey::Protocol`] holds them.
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// Numbers of protocols, as [`MetaKey::Transport`] holds them.
pub mod transport {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
}

impl PayloadField {
    /// How many bytes it has; an address whose family the table says counts as IPv6's.
    pub fn bytes(self) -> usize {
        match self {
            Self::SourceAddress
            | Self::DestinationAddress
            | Self::Ipv6Source
            | Self::NeighbourTarget => 16,
            Self::EtherSource | Self::EtherDestination | Self::ArpSenderMac => 6,
            Self::Ipv4Source | Self::ArpSenderAddress => 4,
            Self::ArpOperation
            | Self::UdpDestination
            | Self::UdpSource
            | Self::TcpDestination
            | Self::TcpSource
            | Self::DestinationPort => 2,
            Self::IcmpType | Self::Icmpv6Type | Self::IgmpType => 1,
        }
    }

    /// The comparison that a rule needs before it may ask for this field, and that nft does not show.
    pub fn needs(self) -> Option<(MetaKey, Vec<u8>)> {
        let protocol = |number: u16| Some((MetaKey::Protocol, number.to_be_bytes().to_vec()));
        let transport = |number: u8| Some((MetaKey::Transport, vec![number]));
        match self {
            Self::SourceAddress
            | Self::DestinationAddress
            | Self::EtherSource
            | Self::EtherDestination
            | Self::DestinationPort => None,
            Self::Ipv4Source => protocol(ether_type::IPV4),
            Self::Ipv6Source => protocol(ether_type::IPV6),
            Self::ArpOperation | Self::ArpSenderMac | Self::ArpSenderAddress => {
                protocol(ether_type::ARP)
            }
            Self::UdpDestination | Self::UdpSource => transport(transport::UDP),
            Self::TcpDestination | Self::TcpSource => transport(transport::TCP),
            Self::IcmpType => transport(transport::ICMP),
            Self::Icmpv6Type | Self::NeighbourTarget => transport(transport::ICMPV6),
            Self::IgmpType => transport(transport::IGMP),
        }
    }
}

impl Source {
    /// How many bytes it has.
    pub fn bytes(self) -> usize {
        match self {
            Self::Payload(field) => field.bytes(),
            Self::Meta(MetaKey::InputLink | MetaKey::OutputLink) => 16,
            Self::SourceType | Self::ConnectionState | Self::ConnectionStatus => 4,
            Self::Meta(MetaKey::Mark | MetaKey::Random | MetaKey::InputGroup) => 4,
            Self::Meta(MetaKey::Protocol) => 2,
            Self::Meta(MetaKey::Transport) => 1,
        }
    }
}
