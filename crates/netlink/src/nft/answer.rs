//! Reading what the kernel answers. Nothing that it sends may make this panic.

use nix::errno::Errno;
use sealane_ruleset::{Loaded, TableFamily};

use super::batch::{SUBSYSTEM, address_family};
use super::encode::{
    NFT_MSG_DELSETELEM, NFT_MSG_NEWOBJ, NFT_MSG_NEWSETELEM, NFTA_COUNTER_PACKETS, NFTA_DATA_VALUE,
    NFTA_OBJ_DATA, NFTA_OBJ_NAME, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_TABLE_NAME,
    NFTA_TABLE_USERDATA,
};
use crate::error::{Refusal, extended_message};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NFT_MSG_NEWTABLE: u16 = 0;
pub(crate) const MESSAGE_HEADER: usize = 16;
pub(crate) const FAMILY_HEADER: usize = 4;

/// One message, as far as we care.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The request with this number is done.
    Acknowledged(u32),
    /// The request with this number was refused.
    Refused(u32, Refusal),
    /// A list ended; whether it changed while it was read.
    Done { interrupted: bool },
    /// An entry of a list of tables.
    Table(Loaded),
    /// Keys of a set.
    Keys(Vec<Vec<u8>>),
    /// A counter and how many packets it has counted.
    Counter(String, u64),
    /// Something else, which may be skipped.
    Other,
}

/// The answers of a datagram.
pub(crate) fn answers(datagram: &[u8]) -> Vec<Answer> {
    messages(datagram).map(read).collect()
}

/// The messages of a datagram; bytes that do not make a message end it.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (message, rest) = split(datagram)?;
        datagram = rest;
        Some(message)
    })
}

/// What a message about a change tells.
pub(super) struct Edited {
    /// The port of the socket by which it came about.
    pub port: u32,
    pub table: String,
    /// Of a set or map, and nothing else.
    pub element: bool,
}

/// Reads a message about a change. Whatever the message is about, the table's name is its first attribute.
pub(super) fn edited(message: &[u8]) -> Option<Edited> {
    const PORT: usize = 12;
    const NFT_MSG_NEWGEN: u16 = 15;
    let kind = u16_at(message, 4)?;
    if kind >> 8 != SUBSYSTEM || kind & 0xff == NFT_MSG_NEWGEN {
        return None;
    }
    let body = message.get(MESSAGE_HEADER + FAMILY_HEADER..)?;
    Some(Edited {
        port: u32_at(message, PORT)?,
        table: text(find(body, NFTA_TABLE_NAME)?),
        element: matches!(kind & 0xff, NFT_MSG_NEWSETELEM | NFT_MSG_DELSETELEM),
    })
}

fn split(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32_at(datagram, 0)? as usize;
    if length < MESSAGE_HEADER {
        return None;
    }
    let message = datagram.get(..length)?;
    let rest = datagram
        .get(length.next_multiple_of(4)..)
        .unwrap_or_default();
    Some((message, rest))
}

/// Whether the list that the message is of changed while it was read.
pub(crate) fn is_interrupted(message: &[u8]) -> bool {
    u16_at(message, 6).unwrap_or_default() & NLM_F_DUMP_INTR != 0
}

pub(crate) fn read(message: &[u8]) -> Answer {
    let kind = u16_at(message, 4).unwrap_or_default();
    let body = &message[MESSAGE_HEADER..];
    let answer = match kind {
        NLMSG_ERROR | NLMSG_DONE => end(message),
        kind if kind == SUBSYSTEM << 8 | NFT_MSG_NEWTABLE => table(body).map(Answer::Table),
        kind if kind == SUBSYSTEM << 8 | NFT_MSG_NEWSETELEM => keys(body).map(Answer::Keys),
        kind if kind == SUBSYSTEM << 8 | NFT_MSG_NEWOBJ => counter(body),
        _ => None,
    };
    answer.unwrap_or(Answer::Other)
}

/// What ends a list: its end or an error. Looks at nothing else, for lists are long.
pub(crate) fn end(message: &[u8]) -> Option<Answer> {
    let kind = u16_at(message, 4).unwrap_or_default();
    let flags = u16_at(message, 6).unwrap_or_default();
    match kind {
        NLMSG_ERROR => error(&message[MESSAGE_HEADER..], flags),
        NLMSG_DONE => Some(Answer::Done {
            interrupted: flags & NLM_F_DUMP_INTR != 0,
        }),
        _ => None,
    }
}

/// `struct nlmsgerr`: the number, the header of the request, and attributes, since our socket asks for short answers.
fn error(body: &[u8], flags: u16) -> Option<Answer> {
    const SEQUENCE: usize = 4 + 8;
    const ATTRIBUTES: usize = 4 + MESSAGE_HEADER;
    let code = u32_at(body, 0)? as i32;
    let sequence = u32_at(body, SEQUENCE)?;
    if code == 0 {
        return Some(Answer::Acknowledged(sequence));
    }
    let attributes = body
        .get(ATTRIBUTES..)
        .filter(|_| flags & NLM_F_ACK_TLVS != 0);
    let refusal = Refusal {
        errno: Errno::from_raw(code.wrapping_neg()),
        message: attributes.and_then(extended_message),
    };
    Some(Answer::Refused(sequence, refusal))
}

fn table(body: &[u8]) -> Option<Loaded> {
    let family = *body.first()?;
    let family = TableFamily::ALL
        .into_iter()
        .find(|known| address_family(*known) == family)?;
    let mut loaded = Loaded {
        family,
        name: String::new(),
        comment: None,
    };
    for (kind, value) in attributes(body.get(FAMILY_HEADER..)?) {
        match kind {
            NFTA_TABLE_NAME => loaded.name = text(value),
            NFTA_TABLE_USERDATA => loaded.comment = comment(value),
            _ => {}
        }
    }
    Some(loaded)
}

/// The keys of a part of a set.
fn keys(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let list = find(body.get(FAMILY_HEADER..)?, NFTA_SET_ELEM_LIST_ELEMENTS)?;
    let key = |element| find(find(element, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE);
    let elements = attributes(list).map(|(_, element)| element);
    Some(elements.filter_map(key).map(<[u8]>::to_vec).collect())
}

fn counter(body: &[u8]) -> Option<Answer> {
    let body = body.get(FAMILY_HEADER..)?;
    let name = text(find(body, NFTA_OBJ_NAME)?);
    let packets = find(find(body, NFTA_OBJ_DATA)?, NFTA_COUNTER_PACKETS)?;
    let packets = u64::from_be_bytes(packets.try_into().ok()?);
    Some(Answer::Counter(name, packets))
}

/// The value of the first attribute of a kind.
pub(crate) fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}

pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const KIND: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & KIND;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The comment among a table's user data: entries of type, length and value.
fn comment(mut userdata: &[u8]) -> Option<String> {
    const TABLE_COMMENT: u8 = 0;
    while let [kind, length, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*length))?;
        if *kind == TABLE_COMMENT {
            return Some(text(value));
        }
        userdata = &rest[value.len()..];
    }
    None
}

pub(super) fn text(value: &[u8]) -> String {
    let value = value.strip_suffix(&[0]).unwrap_or(value);
    String::from_utf8_lossy(value).into_owned()
}

/// A number of 16 bits in network byte order.
pub(crate) fn u16_be(bytes: &[u8]) -> Option<u16> {
    u16_at(bytes, 0).map(u16::from_be)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::super::message::{Header, Messages};
    use super::*;

    fn message(kind: u16, flags: u16, family: u8, fill: impl FnOnce(&mut Messages)) -> Vec<u8> {
        let mut messages = Messages::default();
        let header = Header {
            kind,
            flags,
            sequence: 7,
            family,
            resource: 0,
        };
        messages.message(header, fill);
        messages.as_bytes().to_vec()
    }

    fn table_message() -> Vec<u8> {
        message(SUBSYSTEM << 8, 2, 10, |m| {
            m.put_str(NFTA_TABLE_NAME, "sealane");
            m.put(NFTA_TABLE_USERDATA, b"\x05\x01x\x00\x03hi\0");
        })
    }

    #[test]
    fn reads_tables_with_their_comment_and_the_end_of_the_list() {
        let datagram = [table_message(), message(NLMSG_DONE, 2, 0, |_| {})].concat();
        assert_eq!(
            answers(&datagram),
            [
                Answer::Table(Loaded {
                    family: TableFamily::Ip6,
                    name: "sealane".into(),
                    comment: Some("hi".into()),
                }),
                Answer::Done { interrupted: false },
            ]
        );
    }

    #[test]
    fn never_panics_on_truncated_or_changed_bytes() {
        let whole = table_message();
        for length in 0..whole.len() {
            answers(&whole[..length]);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 3, 127, 255] {
                let mut changed = whole.clone();
                changed[at] = value;
                answers(&changed);
            }
        }
        for length in 0..40 {
            let mut error = vec![0xff; length];
            error.splice(..0, [(length as u8) + 8, 0, 0, 0, 2, 0, 0, 2]);
            answers(&error);
        }
    }
}
