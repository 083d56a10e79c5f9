//! A transaction in the making: messages, and what each of them is about.

use std::fmt;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use sealane_ruleset::services::Map;
use sealane_ruleset::{Chain, Element, KeyedSet, Loaded, Set, Table, TableFamily};

use super::message::{Header, Messages};

/// `NFNL_SUBSYS_NFTABLES`
pub(super) const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// Messages between a begin and an end. The sequence number of each is its index in `objects`.
pub(super) struct Batch<'a> {
    messages: Messages,
    objects: Vec<Object<'a>>,
    last: usize,
    set_ids: u32,
}

/// What a message is about, so that a refusal can name it.
#[derive(Clone, Copy)]
pub(super) enum Object<'a> {
    Transaction,
    DeleteTable(TableFamily, &'a str),
    Table(&'a Table),
    Set(&'a Table, &'a Set),
    Keyed(&'a Table, &'a KeyedSet),
    Counter(&'a Table, &'a str),
    AddElement(&'a Element),
    DeleteElement(&'a Element),
    Map(&'a Table, Map),
    AddElements(&'a Table, Map),
    DeleteElements(&'a Table, Map),
    Chain(&'a Table, &'a Chain),
    DeleteChain(&'a Loaded, &'a str),
    Rule(&'a Table, &'a Chain, usize),
}

impl<'a> Batch<'a> {
    pub(super) fn new() -> Self {
        let mut batch = Self {
            messages: Messages::default(),
            objects: vec![],
            last: 0,
            set_ids: 0,
        };
        batch.bracket(BATCH_BEGIN);
        batch
    }

    /// Appends a message of nf_tables.
    pub(super) fn push(
        &mut self,
        object: Object<'a>,
        kind: u16,
        flags: u16,
        family: TableFamily,
        attributes: impl FnOnce(&mut Messages),
    ) {
        self.append(
            object,
            Header {
                kind: SUBSYSTEM << 8 | kind,
                flags: NLM_F_REQUEST | flags,
                sequence: 0,
                family: address_family(family),
                resource: 0,
            },
            attributes,
        );
    }

    /// A number for a set that rules of the same transaction refer to.
    pub(super) fn next_set_id(&mut self) -> u32 {
        self.set_ids += 1;
        self.set_ids
    }

    /// Closes the transaction. The last message before the end asks for an
    /// acknowledgement, which the kernel sends only if it has committed all.
    pub(super) fn close(mut self) -> Closed<'a> {
        self.messages.add_flags(self.last, NLM_F_ACK);
        self.bracket(BATCH_END);
        Closed {
            messages: self.messages,
            objects: self.objects,
        }
    }

    fn bracket(&mut self, kind: u16) {
        self.append(
            Object::Transaction,
            Header {
                kind,
                flags: NLM_F_REQUEST,
                sequence: 0,
                family: 0,
                resource: SUBSYSTEM,
            },
            |_| {},
        );
    }

    fn append(
        &mut self,
        object: Object<'a>,
        header: Header,
        attributes: impl FnOnce(&mut Messages),
    ) {
        if header.kind != BATCH_END {
            self.last = self.messages.as_bytes().len();
        }
        let sequence = self.objects.len() as u32;
        self.objects.push(object);
        self.messages
            .message(Header { sequence, ..header }, attributes);
    }
}

/// A transaction that can be sent.
pub(super) struct Closed<'a> {
    messages: Messages,
    objects: Vec<Object<'a>>,
}

impl Closed<'_> {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.messages.as_bytes()
    }

    /// The sequence number of the acknowledgement.
    pub(super) fn last_sequence(&self) -> u32 {
        self.objects.len() as u32 - 2
    }

    /// What the message with this number is about.
    pub(super) fn describe(&self, sequence: u32) -> String {
        let object = self.objects.get(sequence as usize);
        object.unwrap_or(&Object::Transaction).to_string()
    }
}

/// `NFPROTO_*`
pub(super) fn address_family(family: TableFamily) -> u8 {
    match family {
        TableFamily::Ip => 2,
        TableFamily::Arp => 3,
        TableFamily::Bridge => 7,
        TableFamily::Ip6 => 10,
    }
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Transaction => write!(f, "commit nft transaction"),
            Object::DeleteTable(family, name) => {
                write!(f, "delete table {} {name}", family.word())
            }
            Object::Table(table) => write!(f, "load {}", table.title()),
            Object::Set(table, set) => write!(f, "add set {} to {}", set.name, table.title()),
            Object::Keyed(table, set) => write!(f, "add set {} to {}", set.name, table.title()),
            Object::Counter(table, name) => write!(f, "add counter {name} to {}", table.title()),
            Object::AddElement(element) => write!(f, "add element {element}"),
            Object::DeleteElement(element) => write!(f, "delete element {element}"),
            Object::Map(table, map) => write!(f, "add {} to {}", map.spec().name, table.title()),
            Object::AddElements(table, map) => {
                write!(
                    f,
                    "add elements to {} of {}",
                    map.spec().name,
                    table.title()
                )
            }
            Object::DeleteElements(table, map) => {
                let name = map.spec().name;
                write!(f, "delete elements of {name} of {}", table.title())
            }
            Object::Chain(table, chain) => {
                write!(f, "add chain {} to {}", chain.name, table.title())
            }
            Object::DeleteChain(table, chain) => {
                let (family, name) = (table.family.word(), &table.name);
                write!(f, "delete chain {chain} of table {family} {name}")
            }
            Object::Rule(table, chain, index) => write!(
                f,
                "add rule {:?} to chain {} of {}",
                chain.rules[*index].text(table.family),
                chain.name,
                table.title()
            ),
        }
    }
}
