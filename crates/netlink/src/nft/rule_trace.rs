//! Which rules a packet meets, told by the kernel while it passes (`meta nftrace`).
//!
//! A table of our own picks the packets out. It belongs to the socket that made it (`NFT_TABLE_F_OWNER`,
//! Linux 5.12): the kernel deletes it when the process ends, however it ends.

use std::io;

use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use rtnetlink::sys::{Socket as Listener, protocols::NETLINK_NETFILTER};
use sealane_net::{Family, Protocol};
use sealane_ruleset::{CmpOp, MetaKey, Register, Source, TableFamily, Verdict};

use super::answer::{FAMILY_HEADER, MESSAGE_HEADER, find, messages, text, u32_at};
use super::batch::{Batch, Object, SUBSYSTEM};
use super::encode::{
    NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME,
    NFTA_CHAIN_TABLE, NFTA_CHAIN_TYPE, NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_LIST_ELEM,
    NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_TABLE, NFTA_TABLE_NAME,
};
use super::expr::{
    NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE, put_cmp, put_load, put_named, put_nftrace,
    put_transport_field, verdict_of,
};
use super::message::Messages;
use super::socket::Socket;
use crate::error::{Error, Result};

/// Not among the names that agents look after.
const TABLE: &str = "trace-by-sealane";
/// Before everything else, also before connection tracking.
const PRIORITY: i32 = -400;
/// `NFNLGRP_NFTRACE`
const GROUP: u32 = 9;
const NFT_MSG_TRACE: u16 = 17;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFT_TABLE_F_OWNER: u32 = 2;

const NFTA_TRACE_TABLE: u16 = 1;
const NFTA_TRACE_CHAIN: u16 = 2;
const NFTA_TRACE_RULE_HANDLE: u16 = 3;
const NFTA_TRACE_VERDICT: u16 = 5;
const NFTA_TRACE_ID: u16 = 6;
const NFTA_TRACE_NETWORK_HEADER: u16 = 8;
const NFTA_TRACE_TRANSPORT_HEADER: u16 = 9;
const NFTA_TRACE_POLICY: u16 = 16;

/// By what packets of a probe are known, whatever addresses and ports they are given on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The maximum segment size that a TCP SYN tells, always its first option.
    SegmentSize(u16),
    /// How the data of a UDP datagram begins.
    Token([u8; 16]),
}

/// A rule, or the end of a chain, that a packet of the probe has met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetRule {
    /// The same for all that one packet meets.
    pub packet: u32,
    /// nft's word for the table's family.
    pub family: &'static str,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule's handle; none at the end of a chain.
    pub rule: Option<u64>,
    /// What became of the packet; none: it went on.
    pub verdict: Option<Verdict>,
    /// The beginning of the IP and of the transport header, in the first message of each chain.
    pub headers: Option<(Vec<u8>, Vec<u8>)>,
}

/// Tells which rules packets with a sign meet, for as long as it exists.
pub struct RuleTrace {
    listener: Listener,
    /// With it the tables go.
    _owner: Socket,
}

impl RuleTrace {
    /// Begins in the namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel refuses, as one before Linux 5.12 does.
    pub fn begin(family: Family, sign: Sign) -> Result<Self> {
        let failed = |error| Error::system("listen to nftrace", error);
        let listener = listen().map_err(failed)?;
        let owner = Socket::open().map_err(|error| Error::system("open netlink", error))?;
        let mut batch = Batch::new();
        for family in [TableFamily::from(family), TableFamily::Bridge] {
            add_table(&mut batch, family, sign);
        }
        owner
            .commit(batch)
            .map_err(|(_, failure)| failure.during(format!("load table {TABLE}")))?;
        Ok(Self {
            listener,
            _owner: owner,
        })
    }

    /// What packets have met since the last call, without the rules of this table itself.
    pub fn met(&self) -> Vec<MetRule> {
        let mut met = Vec::new();
        loop {
            match self.listener.recv_from_full() {
                Ok((datagram, _)) => met.extend(messages(&datagram).filter_map(met_rule)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // More than there was room for: the rest is as true.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {}
                Err(_) => return met,
            }
        }
    }
}

fn listen() -> io::Result<Listener> {
    let mut socket = Listener::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    socket.add_membership(GROUP)?;
    Ok(socket)
}

fn add_table(batch: &mut Batch<'_>, family: TableFamily, sign: Sign) {
    let object = Object::Transaction;
    batch.push(object, NFT_MSG_NEWTABLE, NLM_F_CREATE, family, |m| {
        m.put_str(NFTA_TABLE_NAME, TABLE);
        m.put_u32(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
    });
    // `NF_INET_PRE_ROUTING`, `NF_INET_LOCAL_OUT`
    for (chain, hook) in [("arrives", 0), ("leaves", 3)] {
        batch.push(object, NFT_MSG_NEWCHAIN, NLM_F_CREATE, family, |m| {
            m.put_str(NFTA_CHAIN_TABLE, TABLE);
            m.put_str(NFTA_CHAIN_NAME, chain);
            m.put_str(NFTA_CHAIN_TYPE, "filter");
            m.nest(NFTA_CHAIN_HOOK, |m| {
                m.put_u32(NFTA_HOOK_HOOKNUM, hook);
                m.put_u32(NFTA_HOOK_PRIORITY, PRIORITY.cast_unsigned());
            });
        });
        let flags = NLM_F_CREATE | NLM_F_APPEND;
        batch.push(object, NFT_MSG_NEWRULE, flags, family, |m| {
            m.put_str(NFTA_RULE_TABLE, TABLE);
            m.put_str(NFTA_RULE_CHAIN, chain);
            m.nest(NFTA_RULE_EXPRESSIONS, |m| put_match(m, family, sign));
        });
    }
}

/// The packet has the sign: its bit is set from what is in the register then, the protocol's number.
fn put_match(m: &mut Messages, family: TableFamily, sign: Sign) {
    const DATA_OF_UDP: u32 = 8;
    const OPTIONS_OF_TCP: u32 = 20;
    let (protocol, offset, value) = match sign {
        Sign::Token(token) => (Protocol::Udp, DATA_OF_UDP, token.to_vec()),
        Sign::SegmentSize(size) => {
            // RFC 9293 §3.2: kind 2, length 4.
            let option = [&[2, 4], &size.to_be_bytes()[..]].concat();
            (Protocol::Tcp, OPTIONS_OF_TCP, option)
        }
    };
    let (field, number) = (Register(4), Register::FIRST);
    let mut step = |name, data: &dyn Fn(&mut Messages)| {
        m.nest(NFTA_LIST_ELEM, |m| put_named(m, name, data));
    };
    step("meta", &|m| {
        put_load(m, family, Source::Meta(MetaKey::Transport), number)
    });
    step("cmp", &|m| {
        put_cmp(m, number, CmpOp::Eq, &[protocol.number()])
    });
    step("payload", &|m| {
        put_transport_field(m, offset, value.len() as u32, field)
    });
    step("cmp", &|m| put_cmp(m, field, CmpOp::Eq, &value));
    step("meta", &|m| put_nftrace(m, number));
}

fn met_rule(message: &[u8]) -> Option<MetRule> {
    let kind = u32_at(message, 4)? & 0xffff;
    if kind != u32::from(SUBSYSTEM << 8 | NFT_MSG_TRACE) {
        return None;
    }
    let body = message.get(MESSAGE_HEADER..)?;
    let family = match body.first()? {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => return None,
    };
    let body = body.get(FAMILY_HEADER..)?;
    let table = text(find(body, NFTA_TRACE_TABLE)?);
    if table == TABLE {
        return None;
    }
    let number = |bytes: &[u8]| Some(u32::from_be(u32_at(bytes, 0)?));
    let verdict = || {
        let verdict = find(body, NFTA_TRACE_VERDICT)?;
        let code = number(find(verdict, NFTA_VERDICT_CODE)?)?;
        verdict_of(
            code.cast_signed(),
            find(verdict, NFTA_VERDICT_CHAIN).map(text),
        )
    };
    let policy = || {
        let code = number(find(body, NFTA_TRACE_POLICY)?)?;
        verdict_of(code.cast_signed(), None)
    };
    let handle = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    let header = |kind| find(body, kind).map(<[u8]>::to_vec);
    Some(MetRule {
        packet: number(find(body, NFTA_TRACE_ID)?)?,
        family,
        table,
        chain: text(find(body, NFTA_TRACE_CHAIN)?),
        rule: find(body, NFTA_TRACE_RULE_HANDLE).and_then(handle),
        verdict: verdict().or_else(policy),
        headers: header(NFTA_TRACE_NETWORK_HEADER).zip(header(NFTA_TRACE_TRANSPORT_HEADER)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::message::Header;
    use super::*;

    fn message() -> Vec<u8> {
        let mut messages = Messages::default();
        let header = Header {
            kind: SUBSYSTEM << 8 | NFT_MSG_TRACE,
            flags: 0,
            sequence: 0,
            family: 1,
            resource: 0,
        };
        messages.message(header, |m| {
            m.put_u32(NFTA_TRACE_ID, 7);
            m.put_str(NFTA_TRACE_TABLE, "wall");
            m.put_str(NFTA_TRACE_CHAIN, "forward");
            m.put(NFTA_TRACE_RULE_HANDLE, &4_u64.to_be_bytes());
            m.nest(NFTA_TRACE_VERDICT, |m| m.put_u32(NFTA_VERDICT_CODE, 0));
        });
        messages.as_bytes().to_vec()
    }

    #[test]
    fn reads_what_the_kernel_tells_and_survives_anything_else() {
        let whole = message();
        let expected = MetRule {
            packet: 7,
            family: "inet",
            table: "wall".into(),
            chain: "forward".into(),
            rule: Some(4),
            verdict: Some(Verdict::Drop),
            headers: None,
        };
        assert_eq!(met_rule(&whole), Some(expected));
        for length in 0..whole.len() {
            met_rule(&whole[..length]);
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] = 0xff;
            met_rule(&changed);
        }
    }
}
