//! Expressions of rules as attributes. Numbers and names are those of `linux/netfilter/nf_tables.h`.

use sealane_ruleset::{
    CmpOp, Expr, MetaKey, NatFlags, PayloadField, Register, SetRef, Source, TableFamily, Verdict,
};

use super::batch::address_family;
use super::encode::{
    ANONYMOUS_SET, NF_ACCEPT, NF_DROP, NFT_OBJECT_COUNTER, NFTA_DATA_VALUE, NFTA_DATA_VERDICT,
    NFTA_LIST_ELEM,
};
use super::message::Messages;

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

/// Appends an expression to the list of a rule.
///
/// `set_ids` yields the number of each set that the rule has to itself, in the order of its lookups.
pub(super) fn put_expr(
    m: &mut Messages,
    family: TableFamily,
    expr: &Expr,
    set_ids: &mut impl Iterator<Item = u32>,
) {
    m.nest(NFTA_LIST_ELEM, |m| {
        put_named(m, kernel_name(expr), |m| match expr {
            Expr::Load { source, to } => put_load(m, family, *source, *to),
            Expr::Bitwise {
                register,
                mask,
                xor,
            } => put_bitwise(m, *register, mask, xor),
            Expr::Cmp {
                register,
                op,
                value,
            } => put_cmp(m, *register, *op, value),
            Expr::Lookup {
                register,
                set,
                invert,
            } => put_lookup(m, *register, set, *invert, set_ids),
            Expr::Counter | Expr::NoTrack => {}
            Expr::NamedCounter(name) => put_named_counter(m, name),
            Expr::Find { register, map, to } => put_find(m, *register, map, number(*to)),
            Expr::Branch { register, map } => put_find(m, *register, map, NFT_REG_VERDICT),
            Expr::Remember {
                map,
                key,
                data,
                seconds,
            } => {
                put_dynset(m, map, NFT_DYNSET_OP_UPDATE, (*key, *data));
                let millis = u64::from(*seconds) * 1000;
                m.put(NFTA_DYNSET_TIMEOUT, &millis.to_be_bytes());
            }
            Expr::Forget { map, key, data } => {
                put_dynset(m, map, NFT_DYNSET_OP_DELETE, (*key, *data));
            }
            Expr::SetMark(from) => {
                m.put_u32(NFTA_META_KEY, NFT_META_MARK);
                m.put_u32(NFTA_META_SREG, number(*from));
            }
            Expr::Random { to, modulus } => put_random(m, *to, *modulus),
            Expr::Translate { address, port } => put_translate(m, family, *address, *port),
            Expr::Reject => put_reject(m, family),
            Expr::Reset => m.put_u32(NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST),
            Expr::Masquerade(flags) => put_masquerade(m, *flags),
            Expr::Verdict(verdict) => put_verdict(m, verdict),
        });
    });
}

/// An expression by the kernel's name for it.
pub(super) fn put_named(m: &mut Messages, name: &str, data: impl FnOnce(&mut Messages)) {
    m.put_str(NFTA_EXPR_NAME, name);
    m.nest(NFTA_EXPR_DATA, data);
}

fn kernel_name(expr: &Expr) -> &'static str {
    match expr {
        Expr::Load {
            source: Source::Payload(_),
            ..
        } => "payload",
        Expr::Load {
            source: Source::Meta(_),
            ..
        } => "meta",
        Expr::Bitwise { .. } => "bitwise",
        Expr::Cmp { .. } => "cmp",
        Expr::Lookup { .. } => "lookup",
        Expr::Load {
            source: Source::SourceType,
            ..
        } => "fib",
        Expr::Load {
            source: Source::ConnectionState | Source::ConnectionStatus,
            ..
        } => "ct",
        Expr::Find { .. } | Expr::Branch { .. } => "lookup",
        Expr::Remember { .. } | Expr::Forget { .. } => "dynset",
        Expr::SetMark(_) => "meta",
        Expr::Random { .. } => "numgen",
        Expr::Translate { .. } => "nat",
        Expr::Reject | Expr::Reset => "reject",
        Expr::NoTrack => "notrack",
        Expr::Counter => "counter",
        Expr::NamedCounter(_) => "objref",
        Expr::Masquerade(_) => "masq",
        Expr::Verdict(_) => "immediate",
    }
}

fn number(register: Register) -> u32 {
    /// `NFT_REG32_00`
    const FIRST: u32 = 8;
    FIRST + u32::from(register.0)
}

const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFT_PAYLOAD_LL_HEADER: u32 = 0;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_META_SREG: u16 = 3;
const NFT_META_MARK: u32 = 3;
const NFTA_FIB_DREG: u16 = 1;
const NFTA_FIB_RESULT: u16 = 2;
const NFTA_FIB_FLAGS: u16 = 3;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFTA_FIB_F_SADDR: u32 = 1;
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFT_CT_STATE: u32 = 0;
const NFT_CT_STATUS: u32 = 2;

pub(super) fn put_load(m: &mut Messages, family: TableFamily, source: Source, to: Register) {
    match source {
        Source::Payload(field) => put_payload(m, location(family, field), to),
        Source::Meta(key) => {
            let key = match key {
                MetaKey::Mark => NFT_META_MARK,
                MetaKey::InputLink => 6,
                MetaKey::OutputLink => 7,
                MetaKey::InputGroup => 21,
                MetaKey::Protocol => 1,
                MetaKey::Transport => 16,
                MetaKey::Random => 24,
            };
            m.put_u32(NFTA_META_DREG, number(to));
            m.put_u32(NFTA_META_KEY, key);
        }
        Source::SourceType => {
            m.put_u32(NFTA_FIB_DREG, number(to));
            m.put_u32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
            m.put_u32(NFTA_FIB_FLAGS, NFTA_FIB_F_SADDR);
        }
        Source::ConnectionState => put_ct(m, NFT_CT_STATE, to),
        Source::ConnectionStatus => put_ct(m, NFT_CT_STATUS, to),
    }
}

fn put_payload(m: &mut Messages, (base, offset, length): (u32, u32, u32), to: Register) {
    m.put_u32(NFTA_PAYLOAD_DREG, number(to));
    m.put_u32(NFTA_PAYLOAD_BASE, base);
    m.put_u32(NFTA_PAYLOAD_OFFSET, offset);
    m.put_u32(NFTA_PAYLOAD_LEN, length);
}

/// Bytes behind the beginning of the transport header.
pub(super) fn put_transport_field(m: &mut Messages, offset: u32, length: u32, to: Register) {
    put_payload(m, (NFT_PAYLOAD_TRANSPORT_HEADER, offset, length), to);
}

/// The kernel tells which rules the packet meets from here on, if the register is not zero.
pub(super) fn put_nftrace(m: &mut Messages, from: Register) {
    const NFT_META_NFTRACE: u32 = 12;
    m.put_u32(NFTA_META_KEY, NFT_META_NFTRACE);
    m.put_u32(NFTA_META_SREG, number(from));
}

/// Base, offset and length: IEEE 802.3, RFC 791 §3.1, RFC 8200 §3, RFC 826, RFC 768, RFC 4861 §4.3.
fn location(family: TableFamily, field: PayloadField) -> (u32, u32, u32) {
    use PayloadField as P;
    let link = |offset, length| (NFT_PAYLOAD_LL_HEADER, offset, length);
    let network = |offset, length| (NFT_PAYLOAD_NETWORK_HEADER, offset, length);
    let transport = |offset, length| (NFT_PAYLOAD_TRANSPORT_HEADER, offset, length);
    match (family, field) {
        (TableFamily::Ip6, P::SourceAddress) | (_, P::Ipv6Source) => network(8, 16),
        (TableFamily::Ip6, P::DestinationAddress) => network(24, 16),
        (_, P::SourceAddress | P::Ipv4Source) => network(12, 4),
        (_, P::DestinationAddress) => network(16, 4),
        (_, P::EtherDestination) => link(0, 6),
        (_, P::EtherSource) => link(6, 6),
        (_, P::ArpOperation) => network(6, 2),
        (_, P::ArpSenderMac) => network(8, 6),
        (_, P::ArpSenderAddress) => network(14, 4),
        (_, P::UdpSource | P::TcpSource) => transport(0, 2),
        (_, P::UdpDestination | P::TcpDestination | P::DestinationPort) => transport(2, 2),
        (_, P::IcmpType | P::Icmpv6Type | P::IgmpType) => transport(0, 1),
        (_, P::NeighbourTarget) => transport(8, 16),
    }
}

fn put_ct(m: &mut Messages, key: u32, to: Register) {
    m.put_u32(NFTA_CT_DREG, number(to));
    m.put_u32(NFTA_CT_KEY, key);
}

const NFTA_LOOKUP_DREG: u16 = 3;

/// A lookup that puts what it finds into a register, or follows the verdict.
fn put_find(m: &mut Messages, key: Register, map: &str, to: u32) {
    m.put_str(NFTA_LOOKUP_SET, map);
    m.put_u32(NFTA_LOOKUP_SREG, number(key));
    m.put_u32(NFTA_LOOKUP_DREG, to);
}

const NFTA_DYNSET_SET_NAME: u16 = 1;
const NFTA_DYNSET_OP: u16 = 3;
const NFTA_DYNSET_SREG_KEY: u16 = 4;
const NFTA_DYNSET_SREG_DATA: u16 = 5;
const NFTA_DYNSET_TIMEOUT: u16 = 6;
const NFT_DYNSET_OP_UPDATE: u32 = 1;
const NFT_DYNSET_OP_DELETE: u32 = 2;

fn put_dynset(m: &mut Messages, map: &str, op: u32, (key, data): (Register, Register)) {
    m.put_str(NFTA_DYNSET_SET_NAME, map);
    m.put_u32(NFTA_DYNSET_OP, op);
    m.put_u32(NFTA_DYNSET_SREG_KEY, number(key));
    m.put_u32(NFTA_DYNSET_SREG_DATA, number(data));
}

const NFTA_NG_DREG: u16 = 1;
const NFTA_NG_MODULUS: u16 = 2;
const NFTA_NG_TYPE: u16 = 3;
const NFTA_NG_OFFSET: u16 = 4;
const NFT_NG_RANDOM: u32 = 1;

fn put_random(m: &mut Messages, to: Register, modulus: u32) {
    m.put_u32(NFTA_NG_DREG, number(to));
    m.put_u32(NFTA_NG_MODULUS, modulus);
    m.put_u32(NFTA_NG_TYPE, NFT_NG_RANDOM);
    m.put_u32(NFTA_NG_OFFSET, 0);
}

const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NFT_NAT_DNAT: u32 = 1;

fn put_translate(m: &mut Messages, family: TableFamily, address: Register, port: Register) {
    m.put_u32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
    m.put_u32(NFTA_NAT_FAMILY, u32::from(address_family(family)));
    m.put_u32(NFTA_NAT_REG_ADDR_MIN, number(address));
    m.put_u32(NFTA_NAT_REG_PROTO_MIN, number(port));
}

const NFTA_REJECT_TYPE: u16 = 1;
const NFTA_REJECT_ICMP_CODE: u16 = 2;
const NFT_REJECT_ICMP_UNREACH: u32 = 0;
const NFT_REJECT_TCP_RST: u32 = 1;

/// Port unreachable: RFC 792, RFC 4443 §3.1.
fn put_reject(m: &mut Messages, family: TableFamily) {
    let code = match family {
        TableFamily::Ip6 => 4,
        _ => 3,
    };
    m.put_u32(NFTA_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
    m.put(NFTA_REJECT_ICMP_CODE, &[code]);
}

const NFTA_OBJREF_IMM_TYPE: u16 = 1;
const NFTA_OBJREF_IMM_NAME: u16 = 2;

fn put_named_counter(m: &mut Messages, name: &str) {
    m.put_u32(NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
    m.put_str(NFTA_OBJREF_IMM_NAME, name);
}

const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;

fn put_bitwise(m: &mut Messages, register: Register, mask: &[u8], xor: &[u8]) {
    m.put_u32(NFTA_BITWISE_SREG, number(register));
    m.put_u32(NFTA_BITWISE_DREG, number(register));
    m.put_u32(NFTA_BITWISE_LEN, mask.len() as u32);
    m.nest(NFTA_BITWISE_MASK, |m| m.put(NFTA_DATA_VALUE, mask));
    m.nest(NFTA_BITWISE_XOR, |m| m.put(NFTA_DATA_VALUE, xor));
}

const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;

pub(super) fn put_cmp(m: &mut Messages, register: Register, op: CmpOp, value: &[u8]) {
    let op = match op {
        CmpOp::Eq => 0,
        CmpOp::Ne => 1,
    };
    m.put_u32(NFTA_CMP_SREG, number(register));
    m.put_u32(NFTA_CMP_OP, op);
    m.nest(NFTA_CMP_DATA, |m| m.put(NFTA_DATA_VALUE, value));
}

const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_SET_ID: u16 = 4;
const NFTA_LOOKUP_FLAGS: u16 = 5;
const NFT_LOOKUP_F_INV: u32 = 1;

fn put_lookup(
    m: &mut Messages,
    register: Register,
    set: &SetRef,
    invert: bool,
    set_ids: &mut impl Iterator<Item = u32>,
) {
    match set {
        SetRef::Named(name) => m.put_str(NFTA_LOOKUP_SET, name),
        SetRef::Anonymous(_) => {
            m.put_str(NFTA_LOOKUP_SET, ANONYMOUS_SET);
            // One number was made for each lookup of this kind, in this order.
            m.put_u32(NFTA_LOOKUP_SET_ID, set_ids.next().unwrap_or_default());
        }
    }
    m.put_u32(NFTA_LOOKUP_SREG, number(register));
    if invert {
        m.put_u32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
    }
}

const NFTA_MASQ_FLAGS: u16 = 1;
const NF_NAT_RANGE_PROTO_RANDOM_FULLY: u32 = 0x10;

fn put_masquerade(m: &mut Messages, flags: NatFlags) {
    if flags.fully_random {
        m.put_u32(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
    }
}

const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
pub(super) const NFTA_VERDICT_CODE: u16 = 1;
pub(super) const NFTA_VERDICT_CHAIN: u16 = 2;
const NFT_REG_VERDICT: u32 = 0;
const NFT_JUMP: i32 = -3;
const NFT_GOTO: i32 = -4;
const NFT_RETURN: i32 = -5;

fn put_verdict(m: &mut Messages, verdict: &Verdict) {
    m.put_u32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    m.nest(NFTA_IMMEDIATE_DATA, |m| put_verdict_data(m, verdict));
}

/// A verdict as the data of an expression, or of an element of a map.
pub(super) fn put_verdict_data(m: &mut Messages, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Accept => (NF_ACCEPT, None),
        Verdict::Drop => (NF_DROP, None),
        Verdict::Return => (NFT_RETURN as u32, None),
        Verdict::Jump(chain) => (NFT_JUMP as u32, Some(chain)),
        Verdict::Goto(chain) => (NFT_GOTO as u32, Some(chain)),
    };
    m.nest(NFTA_DATA_VERDICT, |m| {
        m.put_u32(NFTA_VERDICT_CODE, code);
        if let Some(chain) = chain {
            m.put_str(NFTA_VERDICT_CHAIN, chain);
        }
    });
}

/// The verdict with this code and chain.
pub(super) fn verdict_of(code: i32, chain: Option<String>) -> Option<Verdict> {
    match (code, chain) {
        (NFT_JUMP, Some(chain)) => Some(Verdict::Jump(chain)),
        (NFT_GOTO, Some(chain)) => Some(Verdict::Goto(chain)),
        (NFT_RETURN, _) => Some(Verdict::Return),
        (0, _) => Some(Verdict::Drop),
        (1, _) => Some(Verdict::Accept),
        _ => None,
    }
}
