//! Tables as messages. Numbers and names are those of `linux/netfilter/nf_tables.h`.

use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use sealane_net::Family;
use sealane_ruleset::{
    Base, Chain, ChainType, Element, Expr, Hook, Interval, KeyedSet, Loaded, Policy, Rule, Set,
    SetRef, Table, TableFamily,
};

use super::batch::{Batch, Object};
use super::expr::put_expr;
use super::message::Messages;
use super::services;

pub(super) const NFT_MSG_NEWTABLE: u16 = 0;
pub(super) const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_DELTABLE: u16 = 2;
pub(super) const NFT_MSG_NEWCHAIN: u16 = 3;
pub(super) const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_DELCHAIN: u16 = 5;
pub(super) const NFT_MSG_NEWRULE: u16 = 6;
pub(super) const NFT_MSG_NEWSET: u16 = 9;
pub(super) const NFT_MSG_NEWSETELEM: u16 = 12;
pub(super) const NFT_MSG_GETSETELEM: u16 = 13;
pub(super) const NFT_MSG_DELSETELEM: u16 = 14;
pub(super) const NFT_MSG_NEWOBJ: u16 = 18;
pub(super) const NFT_MSG_GETOBJ: u16 = 19;

pub(super) const NFTA_TABLE_NAME: u16 = 1;
pub(super) const NFTA_TABLE_USERDATA: u16 = 6;

/// Intervals in one message: an attribute, and so the list, must stay below 64 KiB.
pub(super) const ELEMENTS_PER_MESSAGE: usize = 500;

/// How a rule refers to a set that is made for it in the same transaction; the kernel fills the number in.
pub(super) const ANONYMOUS_SET: &str = "__set%d";

/// Replaces a table. Adding it first makes the deletion valid whether it was there or not.
pub(super) fn replace_table<'a>(batch: &mut Batch<'a>, table: &'a Table) {
    replace_without_chains(batch, table);
    add_chains(batch, table, &table.chains);
}

/// Replaces a table by one of which the chains are still missing.
pub(super) fn replace_without_chains<'a>(batch: &mut Batch<'a>, table: &'a Table) {
    let object = Object::Table(table);
    batch.push(object, NFT_MSG_NEWTABLE, NLM_F_CREATE, table.family, |m| {
        m.put_str(NFTA_TABLE_NAME, &table.name);
    });
    batch.push(object, NFT_MSG_DELTABLE, 0, table.family, |m| {
        m.put_str(NFTA_TABLE_NAME, &table.name);
    });
    add_table(batch, table);
}

/// Deletes a table; the kernel refuses if it is absent.
pub(super) fn delete_table<'a>(batch: &mut Batch<'a>, family: TableFamily, name: &'a str) {
    let object = Object::DeleteTable(family, name);
    batch.push(object, NFT_MSG_DELTABLE, 0, family, |m| {
        m.put_str(NFTA_TABLE_NAME, name);
    });
}

fn add_table<'a>(batch: &mut Batch<'a>, table: &'a Table) {
    let object = Object::Table(table);
    batch.push(object, NFT_MSG_NEWTABLE, NLM_F_CREATE, table.family, |m| {
        m.put_str(NFTA_TABLE_NAME, &table.name);
        m.put(NFTA_TABLE_USERDATA, &comment(TABLE_COMMENT, &table.stamp()));
    });
    for name in &table.counters {
        add_counter(batch, table, name);
    }
    for set in &table.keyed {
        add_keyed_set(batch, table, set);
    }
    for set in &table.sets {
        add_named_set(batch, table, set);
    }
    for map in &table.maps {
        services::add_map(batch, table, *map);
    }
}

/// Adds chains with their rules to a table that is there.
pub(super) fn add_chains<'a>(
    batch: &mut Batch<'a>,
    table: &'a Table,
    chains: impl IntoIterator<Item = &'a Chain> + Clone,
) {
    // All chains before all rules: a rule may jump to a chain that stands below it.
    for chain in chains.clone() {
        add_chain(batch, table, chain);
    }
    for chain in chains {
        for (index, rule) in chain.rules.iter().enumerate() {
            add_rule(batch, Object::Rule(table, chain, index), table, chain, rule);
        }
    }
}

// Comments: type, length, text with a zero at its end.

const TABLE_COMMENT: u8 = 0;
const RULE_COMMENT: u8 = 0;
pub(super) const SET_COMMENT: u8 = 7;

pub(super) fn comment(kind: u8, text: &str) -> Vec<u8> {
    /// What nft itself accepts, without the zero.
    const MAX: usize = 127;
    let mut end = text.len().min(MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text.as_bytes()[..end];
    let mut bytes = vec![kind, text.len() as u8 + 1];
    bytes.extend(text);
    bytes.push(0);
    bytes
}

// Sets

pub(super) const NFTA_SET_TABLE: u16 = 1;
pub(super) const NFTA_SET_NAME: u16 = 2;
pub(super) const NFTA_SET_FLAGS: u16 = 3;
pub(super) const NFTA_SET_KEY_TYPE: u16 = 4;
pub(super) const NFTA_SET_KEY_LEN: u16 = 5;
pub(super) const NFTA_SET_ID: u16 = 10;
pub(super) const NFTA_SET_USERDATA: u16 = 13;

const NFT_SET_ANONYMOUS: u32 = 1;
const NFT_SET_CONSTANT: u32 = 2;
pub(super) const NFT_SET_INTERVAL: u32 = 4;

fn add_named_set<'a>(batch: &mut Batch<'a>, table: &'a Table, set: &'a Set) {
    let object = Object::Set(table, set);
    let id = batch.next_set_id();
    let mut userdata = KEY_IN_NETWORK_ORDER.to_vec();
    if !set.comment.is_empty() {
        userdata.extend(comment(SET_COMMENT, &set.comment));
    }
    let name = &set.name;
    add_set(batch, object, table, name, NFT_SET_INTERVAL, id, &userdata);
    add_elements(batch, object, table, name, id, &set.elements);
}

fn add_keyed_set<'a>(batch: &mut Batch<'a>, table: &'a Table, set: &'a KeyedSet) {
    let id = batch.next_set_id();
    let object = Object::Keyed(table, set);
    let mut userdata = KEY_IN_ORDER_OF_ITS_PARTS.to_vec();
    if !set.comment.is_empty() {
        userdata.extend(comment(SET_COMMENT, set.comment));
    }
    batch.push(object, NFT_MSG_NEWSET, NLM_F_CREATE, table.family, |m| {
        m.put_str(NFTA_SET_TABLE, &table.name);
        m.put_str(NFTA_SET_NAME, set.name);
        m.put_u32(NFTA_SET_FLAGS, 0);
        m.put_u32(NFTA_SET_KEY_TYPE, set.key_number());
        m.put_u32(NFTA_SET_KEY_LEN, set.key_bytes() as u32);
        m.put_u32(NFTA_SET_ID, id);
        m.put(NFTA_SET_USERDATA, &userdata);
    });
}

/// Puts an element into a keyed set; nothing changes when it is there.
pub(super) fn add_element<'a>(batch: &mut Batch<'a>, element: &'a Element) {
    put_element(
        batch,
        Object::AddElement(element),
        NFT_MSG_NEWSETELEM,
        NLM_F_CREATE,
        element,
    );
}

/// Takes an element out of a keyed set; the kernel refuses if it is absent.
pub(super) fn delete_element<'a>(batch: &mut Batch<'a>, element: &'a Element) {
    put_element(
        batch,
        Object::DeleteElement(element),
        NFT_MSG_DELSETELEM,
        0,
        element,
    );
}

fn put_element<'a>(
    batch: &mut Batch<'a>,
    object: Object<'a>,
    kind: u16,
    flags: u16,
    element: &'a Element,
) {
    batch.push(object, kind, flags, element.family, |m| {
        m.put_str(NFTA_SET_ELEM_LIST_TABLE, element.table);
        m.put_str(NFTA_SET_ELEM_LIST_SET, element.set);
        m.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
            m.nest(NFTA_LIST_ELEM, |m| {
                m.nest(NFTA_SET_ELEM_KEY, |m| m.put(NFTA_DATA_VALUE, &element.key));
            });
        });
    });
}

// Counters

pub(super) const NFTA_OBJ_TABLE: u16 = 1;
pub(super) const NFTA_OBJ_NAME: u16 = 2;
pub(super) const NFTA_OBJ_TYPE: u16 = 3;
pub(super) const NFTA_OBJ_DATA: u16 = 4;
pub(super) const NFTA_COUNTER_PACKETS: u16 = 2;
/// `NFT_OBJECT_COUNTER`
pub(super) const NFT_OBJECT_COUNTER: u32 = 1;

fn add_counter<'a>(batch: &mut Batch<'a>, table: &'a Table, name: &'a str) {
    let object = Object::Counter(table, name);
    batch.push(object, NFT_MSG_NEWOBJ, NLM_F_CREATE, table.family, |m| {
        m.put_str(NFTA_OBJ_TABLE, &table.name);
        m.put_str(NFTA_OBJ_NAME, name);
        m.put_u32(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
        m.nest(NFTA_OBJ_DATA, |_| {});
    });
}

/// What nft writes to remember that each part of a key has an order of its own.
const KEY_IN_ORDER_OF_ITS_PARTS: [u8; 6] = [0, 4, 0, 0, 0, 0];

/// What nft writes to remember how to print keys.
const KEY_IN_NETWORK_ORDER: [u8; 6] = [0, 4, 2, 0, 0, 0];

fn add_set<'a>(
    batch: &mut Batch<'a>,
    object: Object<'a>,
    table: &Table,
    name: &str,
    flags: u32,
    id: u32,
    userdata: &[u8],
) {
    // nft's numbers for `ipv4_addr` and `ipv6_addr`; the kernel only keeps them.
    let (key_type, key_length) = match table.family.addresses() {
        Family::V4 => (7, 4),
        Family::V6 => (8, 16),
    };
    batch.push(object, NFT_MSG_NEWSET, NLM_F_CREATE, table.family, |m| {
        m.put_str(NFTA_SET_TABLE, &table.name);
        m.put_str(NFTA_SET_NAME, name);
        m.put_u32(NFTA_SET_FLAGS, flags);
        m.put_u32(NFTA_SET_KEY_TYPE, key_type);
        m.put_u32(NFTA_SET_KEY_LEN, key_length);
        m.put_u32(NFTA_SET_ID, id);
        m.put(NFTA_SET_USERDATA, userdata);
    });
}

pub(super) const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
pub(super) const NFTA_SET_ELEM_LIST_SET: u16 = 2;
pub(super) const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_LIST_SET_ID: u16 = 4;
pub(super) const NFTA_SET_ELEM_KEY: u16 = 1;
pub(super) const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
pub(super) const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
pub(super) const NFTA_LIST_ELEM: u16 = 1;

/// An element with which nft marks an interval that has no end.
const INTERVAL_IS_OPEN: [u8; 6] = [1, 4, 1, 0, 0, 0];

fn add_elements<'a>(
    batch: &mut Batch<'a>,
    object: Object<'a>,
    table: &Table,
    set: &str,
    id: u32,
    intervals: &[Interval],
) {
    for (n, chunk) in intervals.chunks(ELEMENTS_PER_MESSAGE).enumerate() {
        batch.push(
            object,
            NFT_MSG_NEWSETELEM,
            NLM_F_CREATE,
            table.family,
            |m| {
                m.put_str(NFTA_SET_ELEM_LIST_TABLE, &table.name);
                m.put_str(NFTA_SET_ELEM_LIST_SET, set);
                m.put_u32(NFTA_SET_ELEM_LIST_SET_ID, id);
                m.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
                    let starts_at_zero = chunk.first().is_some_and(|i| is_zero(i.first()));
                    if n == 0 && !starts_at_zero {
                        // As nft does: what lies before the first interval is outside.
                        put_end(m, zero(table.family.addresses()));
                    }
                    chunk.iter().for_each(|interval| put_interval(m, interval));
                });
            },
        );
    }
}

/// An interval is its first address, and the address after its last one, marked as an end.
fn put_interval(m: &mut Messages, interval: &Interval) {
    let end = interval.end();
    m.nest(NFTA_LIST_ELEM, |m| {
        m.nest(NFTA_SET_ELEM_KEY, |m| put_address(m, interval.first()));
        if end.is_none() {
            m.put(NFTA_SET_ELEM_USERDATA, &INTERVAL_IS_OPEN);
        }
    });
    if let Some(end) = end {
        put_end(m, end);
    }
}

fn put_end(m: &mut Messages, address: IpAddr) {
    m.nest(NFTA_LIST_ELEM, |m| {
        m.put_u32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
        m.nest(NFTA_SET_ELEM_KEY, |m| put_address(m, address));
    });
}

fn zero(family: Family) -> IpAddr {
    family.everything().network()
}

fn is_zero(address: IpAddr) -> bool {
    address == zero(Family::from(address))
}

pub(super) const NFTA_DATA_VALUE: u16 = 1;
pub(super) const NFTA_DATA_VERDICT: u16 = 2;

fn put_address(m: &mut Messages, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => m.put(NFTA_DATA_VALUE, &v4.octets()),
        IpAddr::V6(v6) => m.put(NFTA_DATA_VALUE, &v6.octets()),
    }
}

// Chains

pub(super) const NFTA_CHAIN_TABLE: u16 = 1;
pub(super) const NFTA_CHAIN_NAME: u16 = 3;
pub(super) const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
pub(super) const NFTA_CHAIN_TYPE: u16 = 7;
pub(super) const NFTA_HOOK_HOOKNUM: u16 = 1;
pub(super) const NFTA_HOOK_PRIORITY: u16 = 2;

pub(super) const NF_DROP: u32 = 0;
pub(super) const NF_ACCEPT: u32 = 1;

fn add_chain<'a>(batch: &mut Batch<'a>, table: &'a Table, chain: &'a Chain) {
    let object = Object::Chain(table, chain);
    batch.push(object, NFT_MSG_NEWCHAIN, NLM_F_CREATE, table.family, |m| {
        m.put_str(NFTA_CHAIN_TABLE, &table.name);
        m.put_str(NFTA_CHAIN_NAME, &chain.name);
        if let Some(base) = &chain.base {
            put_base(m, table.family, base);
        }
    });
}

/// Deletes chains with their rules; the kernel refuses if one is absent, or jumped to.
pub(super) fn delete_chains<'a>(batch: &mut Batch<'a>, table: &'a Loaded, chains: &'a [String]) {
    for chain in chains {
        let object = Object::DeleteChain(table, chain);
        batch.push(object, NFT_MSG_DELCHAIN, 0, table.family, |m| {
            m.put_str(NFTA_CHAIN_TABLE, &table.name);
            m.put_str(NFTA_CHAIN_NAME, chain);
        });
    }
}

fn put_base(m: &mut Messages, family: TableFamily, base: &Base) {
    m.put_str(
        NFTA_CHAIN_TYPE,
        match base.kind {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
        },
    );
    m.put_u32(
        NFTA_CHAIN_POLICY,
        match base.policy {
            Policy::Accept => NF_ACCEPT,
            Policy::Drop => NF_DROP,
        },
    );
    m.nest(NFTA_CHAIN_HOOK, |m| {
        let hook = match base.hook {
            Hook::Prerouting => 0,
            // `NF_ARP_IN`: ARP is not routed.
            Hook::Input if family == TableFamily::Arp => 0,
            Hook::Input => 1,
            Hook::Forward => 2,
            Hook::Output => 3,
            Hook::Postrouting => 4,
        };
        m.put_u32(NFTA_HOOK_HOOKNUM, hook);
        m.put_u32(NFTA_HOOK_PRIORITY, base.priority as u32);
    });
}

// Rules

pub(super) const NFTA_RULE_TABLE: u16 = 1;
pub(super) const NFTA_RULE_CHAIN: u16 = 2;
pub(super) const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;

fn add_rule<'a>(
    batch: &mut Batch<'a>,
    object: Object<'a>,
    table: &'a Table,
    chain: &'a Chain,
    rule: &'a Rule,
) {
    let set_ids = add_anonymous_sets(batch, object, table, rule);
    let flags = NLM_F_CREATE | NLM_F_APPEND;
    batch.push(object, NFT_MSG_NEWRULE, flags, table.family, |m| {
        m.put_str(NFTA_RULE_TABLE, &table.name);
        m.put_str(NFTA_RULE_CHAIN, &chain.name);
        m.nest(NFTA_RULE_EXPRESSIONS, |m| {
            let mut set_ids = set_ids.into_iter();
            for expr in &rule.exprs {
                put_expr(m, table.family, expr, &mut set_ids);
            }
        });
        if let Some(text) = &rule.comment {
            m.put(NFTA_RULE_USERDATA, &comment(RULE_COMMENT, text));
        }
    });
}

/// Makes the sets that the rule has to itself; their numbers in the order of its lookups.
fn add_anonymous_sets<'a>(
    batch: &mut Batch<'a>,
    object: Object<'a>,
    table: &Table,
    rule: &Rule,
) -> Vec<u32> {
    let mut ids = Vec::new();
    for expr in &rule.exprs {
        let Expr::Lookup {
            set: SetRef::Anonymous(intervals),
            ..
        } = expr
        else {
            continue;
        };
        let id = batch.next_set_id();
        let flags = NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_INTERVAL;
        let userdata = &KEY_IN_NETWORK_ORDER;
        add_set(batch, object, table, ANONYMOUS_SET, flags, id, userdata);
        add_elements(batch, object, table, ANONYMOUS_SET, id, intervals);
        ids.push(id);
    }
    ids
}
