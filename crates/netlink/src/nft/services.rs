//! Tables of Services: maps, transactions of elements, and reading all of it back.

use rtnetlink::packet_core::NLM_F_CREATE;
use sealane_net::{Family, names};
use sealane_ruleset::Table;
use sealane_ruleset::services::{Bytes, Data, Element, Field, Map, Transaction};

use super::batch::{Batch, Object};
use super::encode::{
    self, ELEMENTS_PER_MESSAGE, NFT_MSG_DELSETELEM, NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM,
    NFT_SET_ELEM_INTERVAL_END, NFT_SET_INTERVAL, NFTA_DATA_VALUE, NFTA_LIST_ELEM,
    NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_FLAGS, NFTA_SET_ID, NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE,
    NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_SET_USERDATA, SET_COMMENT, comment,
};
use super::entrances;
use super::expr::put_verdict_data;
use super::message::Messages;
use crate::error::Result;
use crate::netlink::Netlink;

const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_DESC_CONCAT: u16 = 2;
const NFTA_SET_FIELD_LEN: u16 = 1;
const NFT_SET_MAP: u32 = 8;
const NFT_SET_TIMEOUT: u32 = 0x10;
const NFT_SET_EVAL: u32 = 0x20;
const NFT_SET_CONCAT: u32 = 0x80;
pub(super) const NFTA_SET_ELEM_DATA: u16 = 2;
pub(super) const NFTA_SET_ELEM_KEY_END: u16 = 10;

/// What nft writes to remember in which byte order a single number is.
const KEY_ORDER: u8 = 0;
const DATA_ORDER: u8 = 1;
const PARTS: u8 = 0;
const HOST: u8 = 1;
const NETWORK: u8 = 2;

/// Declares a map or set of Services.
pub(super) fn add_map<'a>(batch: &mut Batch<'a>, table: &'a Table, map: Map) {
    let spec = map.spec();
    let family = table.family.addresses();
    let id = batch.next_set_id();
    let mut flags = 0;
    for (is, flag) in [
        (spec.interval, NFT_SET_INTERVAL),
        (spec.interval && spec.key.len() > 1, NFT_SET_CONCAT),
        (!spec.data.is_empty(), NFT_SET_MAP),
        (spec.dynamic, NFT_SET_TIMEOUT | NFT_SET_EVAL),
    ] {
        flags |= if is { flag } else { 0 };
    }
    let kind = |fields: &[Field]| {
        let number = |sum: u32, field: &Field| sum << 6 | field.number(family);
        fields.iter().fold(0, number)
    };
    let length = |fields: &[Field]| -> usize { fields.iter().map(|f| f.bytes(family)).sum() };
    let object = Object::Map(table, map);
    batch.push(object, NFT_MSG_NEWSET, NLM_F_CREATE, table.family, |m| {
        m.put_str(NFTA_SET_TABLE, &table.name);
        m.put_str(NFTA_SET_NAME, spec.name);
        m.put_u32(NFTA_SET_FLAGS, flags);
        m.put_u32(NFTA_SET_KEY_TYPE, kind(spec.key));
        m.put_u32(NFTA_SET_KEY_LEN, length(spec.key) as u32);
        if !spec.data.is_empty() {
            m.put_u32(NFTA_SET_DATA_TYPE, kind(spec.data));
            m.put_u32(NFTA_SET_DATA_LEN, length(spec.data) as u32);
        }
        if flags & NFT_SET_CONCAT != 0 {
            m.nest(NFTA_SET_DESC, |m| {
                m.nest(NFTA_SET_DESC_CONCAT, |m| {
                    for field in spec.key {
                        let length = field.bytes(family) as u32;
                        m.nest(NFTA_LIST_ELEM, |m| m.put_u32(NFTA_SET_FIELD_LEN, length));
                    }
                });
            });
        }
        m.put_u32(NFTA_SET_ID, id);
        let mut userdata = vec![KEY_ORDER, 4, order(spec.key), 0, 0, 0];
        if spec.data == [Field::Mark] {
            userdata.extend([DATA_ORDER, 4, HOST, 0, 0, 0]);
        }
        userdata.extend(comment(SET_COMMENT, spec.comment));
        m.put(NFTA_SET_USERDATA, &userdata);
    });
}

fn order(fields: &[Field]) -> u8 {
    match fields {
        [Field::Mark] => HOST,
        [_] => NETWORK,
        _ => PARTS,
    }
}

fn add_transaction<'a>(batch: &mut Batch<'a>, table: &'a Table, transaction: &'a Transaction) {
    encode::add_chains(batch, table, &transaction.chains);
    put_elements(batch, table, &transaction.delete, false);
    put_elements(batch, table, &transaction.add, true);
}

/// Elements stand in the order of their maps, so neighbours share a message.
fn put_elements<'a>(batch: &mut Batch<'a>, table: &'a Table, elements: &'a [Element], add: bool) {
    let same = |a: &Element, b: &Element| a.map == b.map;
    for run in elements.chunk_by(same) {
        for chunk in run.chunks(ELEMENTS_PER_MESSAGE) {
            let map = chunk[0].map;
            let (object, kind, flags) = if add {
                let object = Object::AddElements(table, map);
                (object, NFT_MSG_NEWSETELEM, NLM_F_CREATE)
            } else {
                (Object::DeleteElements(table, map), NFT_MSG_DELSETELEM, 0)
            };
            batch.push(object, kind, flags, table.family, |m| {
                m.put_str(NFTA_SET_ELEM_LIST_TABLE, &table.name);
                m.put_str(NFTA_SET_ELEM_LIST_SET, map.spec().name);
                m.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
                    chunk
                        .iter()
                        .for_each(|element| put_element(m, element, add));
                });
            });
        }
    }
}

fn put_element(m: &mut Messages, element: &Element, with_data: bool) {
    let pair = is_pair(element.map);
    m.nest(NFTA_LIST_ELEM, |m| {
        put_value(m, NFTA_SET_ELEM_KEY, &element.key);
        if let Some(last) = element.last.filter(|_| !pair) {
            put_value(m, NFTA_SET_ELEM_KEY_END, &last);
        }
        match &element.data {
            Data::Value(value) if with_data => put_value(m, NFTA_SET_ELEM_DATA, value),
            Data::Verdict(verdict) if with_data => {
                m.nest(NFTA_SET_ELEM_DATA, |m| put_verdict_data(m, verdict));
            }
            _ => {}
        }
    });
    if let Some(end) = element.last.filter(|_| pair).and_then(after) {
        m.nest(NFTA_LIST_ELEM, |m| {
            m.put_u32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
            put_value(m, NFTA_SET_ELEM_KEY, &end);
        });
    }
}

fn put_value(m: &mut Messages, kind: u16, value: &Bytes) {
    m.nest(kind, |m| m.put(NFTA_DATA_VALUE, value.as_slice()));
}

/// One more, as a number in network byte order; none after the last.
fn after(bytes: Bytes) -> Option<Bytes> {
    let mut next = bytes.as_slice().to_vec();
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Bytes::new(&next);
        }
    }
    None
}

/// Ranges of a single part are two elements, those of several parts one.
pub(super) fn is_pair(map: Map) -> bool {
    map.spec().interval && map.spec().key.len() == 1
}

impl Netlink {
    /// Puts a table of Services in the place of the one that is there, with elements, in one transaction. No packet
    /// comes in before [`Netlink::open_services`].
    ///
    /// # Errors
    /// Names what the kernel refused; nothing has changed then.
    pub fn replace_services(&self, table: &Table, transactions: &[Transaction]) -> Result<()> {
        let mut batch = Batch::new();
        encode::replace_without_chains(&mut batch, table);
        encode::add_chains(&mut batch, table, entrances::inner(table));
        for transaction in transactions {
            add_transaction(&mut batch, table, transaction);
        }
        self.commit_services(batch)
    }

    /// Does what a transaction says to the table of Services of a family.
    ///
    /// # Errors
    /// Names what the kernel refused; nothing has changed then.
    pub fn change_services(&self, family: Family, transaction: &Transaction) -> Result<()> {
        self.change_services_in(names::SERVICES_TABLE, family, transaction)
    }

    /// As [`Netlink::change_services`], to a table of Services with another name.
    ///
    /// # Errors
    /// As [`Netlink::change_services`].
    pub fn change_services_in(
        &self,
        name: &str,
        family: Family,
        transaction: &Transaction,
    ) -> Result<()> {
        let table = Table::new(family, name);
        let mut batch = Batch::new();
        add_transaction(&mut batch, &table, transaction);
        self.commit_services(batch)
    }

    pub(super) fn commit_services(&self, batch: Batch<'_>) -> Result<()> {
        let committed = self.nft().commit(batch);
        committed.map_err(|(object, failure)| failure.during(format!("{object}{}", self.place)))
    }
}
