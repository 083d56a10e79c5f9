//! Whether a table holds what was loaded as its program, and nothing else.
//!
//! The kernel numbers what comes into a table, chains, rules, sets and named
//! counters alike, from 1 on, and gives no number twice
//! (`nf_tables_alloc_handle` in net/netfilter/nf_tables_api.c). What one
//! transaction has loaded into a new table thus has the numbers from 1 to as
//! many as it is. Whoever adds, replaces or takes away anything leaves a number
//! too much or a gap. Elements have no numbers, and are compared.
//!
//! Rejected: comparing rules expression by expression, since each kernel shows
//! them with other details than they were sent with.

use std::collections::BTreeMap;

use sealane_ruleset::Table;

use super::answer::{FAMILY_HEADER, MESSAGE_HEADER, attributes, find, messages, text, u32_at};
use super::batch::{Batch, SUBSYSTEM};
use super::encode::{
    self, NFT_MSG_GETCHAIN, NFT_MSG_GETOBJ, NFT_MSG_GETSETELEM, NFT_MSG_NEWCHAIN, NFT_MSG_NEWOBJ,
    NFT_MSG_NEWRULE, NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM, NFT_SET_ELEM_INTERVAL_END,
    NFTA_DATA_VALUE, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS,
    NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE,
};
use super::message::Messages;
use super::socket::Socket;
use crate::error::Result;
use crate::netlink::{Failure, Netlink};

const NFT_MSG_GETRULE: u16 = 7;
const NFT_MSG_GETSET: u16 = 10;
/// `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE` and `NFTA_OBJ_TABLE`.
const TABLE: u16 = 1;
const NFTA_CHAIN_POLICY: u16 = 5;
const NF_ACCEPT: u32 = 1;

/// What has numbers: how it is asked for, what the answers are, and which attribute is the number.
const NUMBERED: [(u16, u16, u16); 4] = [
    (NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN, 2),
    (NFT_MSG_GETRULE, NFT_MSG_NEWRULE, 3),
    (NFT_MSG_GETSET, NFT_MSG_NEWSET, 16),
    (NFT_MSG_GETOBJ, NFT_MSG_NEWOBJ, 6),
];

impl Netlink {
    /// Whether a table, which must be there with the stamp of this program, is as it was loaded. What
    /// comes and goes apart from tables, as the elements of keyed sets, is not looked at.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn is_intact(&self, table: &Table) -> Result<bool> {
        let answer = self.nft().is_intact(table);
        let action = || format!("list table {} {}", table.family.word(), table.name);
        answer
            .or_else(|failure| failure.unless_absent())
            .map_err(self.failed(action))
    }
}

/// Key and flags of each element that is not zero and an end: kernels need not keep that one.
type Elements = Vec<(Vec<u8>, u32)>;

impl Socket {
    pub(super) fn is_intact(&self, table: &Table) -> std::result::Result<bool, Failure> {
        let mut batch = Batch::new();
        encode::replace_table(&mut batch, table);
        let batch = batch.close();
        let loaded = Loaded::of(messages(batch.as_bytes()));
        let (mut numbers, mut lets_pass) = (Vec::new(), true);
        for (ask, answer, number) in NUMBERED {
            let of_table = |m: &mut Messages| m.put_str(TABLE, &table.name);
            self.each(ask, table.family, of_table, |message| {
                let Some(body) = body(message, answer).filter(|body| is_of(body, table)) else {
                    return;
                };
                numbers.extend(find(body, number).and_then(u64_of));
                let policy = find(body, NFTA_CHAIN_POLICY).and_then(be32);
                lets_pass &= answer != NFT_MSG_NEWCHAIN || policy.is_none_or(|p| p == NF_ACCEPT);
            })?;
        }
        numbers.sort_unstable();
        if !lets_pass || !numbers.into_iter().eq(1..=loaded.numbered) {
            return Ok(false);
        }
        for set in &table.sets {
            let mut found = Elements::new();
            let of_set = |m: &mut Messages| {
                m.put_str(NFTA_SET_ELEM_LIST_TABLE, &table.name);
                m.put_str(NFTA_SET_ELEM_LIST_SET, &set.name);
            };
            self.each(NFT_MSG_GETSETELEM, table.family, of_set, |message| {
                found.extend(
                    body(message, NFT_MSG_NEWSETELEM)
                        .into_iter()
                        .flat_map(elements),
                );
            })?;
            found.sort_unstable();
            if loaded.elements.get(&set.name).map_or(&[][..], |e| e) != found {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What the messages that load a table put into it.
#[derive(Default)]
struct Loaded {
    numbered: u64,
    /// By set, in order.
    elements: BTreeMap<String, Elements>,
}

impl Loaded {
    fn of<'a>(messages: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut loaded = Self::default();
        for message in messages {
            let is = |kind: u16| body(message, kind).is_some();
            loaded.numbered += u64::from(NUMBERED.iter().any(|(_, kind, _)| is(*kind)));
            if let Some(body) = body(message, NFT_MSG_NEWSETELEM)
                && let Some(set) = find(body, NFTA_SET_ELEM_LIST_SET)
            {
                let of_set = loaded.elements.entry(text(set)).or_default();
                of_set.extend(elements(body));
                of_set.sort_unstable();
            }
        }
        loaded
    }
}

/// The attributes of a message of this kind.
pub(super) fn body(message: &[u8], kind: u16) -> Option<&[u8]> {
    const KIND: usize = 4;
    let found = u16::from_ne_bytes(*message.get(KIND..)?.first_chunk()?);
    (found == SUBSYSTEM << 8 | kind)
        .then(|| message.get(MESSAGE_HEADER + FAMILY_HEADER..))
        .flatten()
}

fn is_of(body: &[u8], table: &Table) -> bool {
    find(body, TABLE).is_some_and(|name| text(name) == table.name)
}

fn elements(body: &[u8]) -> Elements {
    let list = find(body, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    let element = |element| {
        let key = find(find(element, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)?;
        let flags = find(element, NFTA_SET_ELEM_FLAGS).and_then(be32);
        Some((key.to_vec(), flags.unwrap_or_default()))
    };
    attributes(list)
        .filter_map(|(_, value)| element(value))
        .filter(|(key, flags)| {
            *flags != NFT_SET_ELEM_INTERVAL_END || key.iter().any(|byte| *byte != 0)
        })
        .collect()
}

fn be32(value: &[u8]) -> Option<u32> {
    u32_at(value, 0).map(u32::from_be)
}

fn u64_of(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}
