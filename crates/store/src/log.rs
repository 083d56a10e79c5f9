//! The rows on disk: objects and events, as bytes.
//!
//! ```text
//! object row   revision u64 · object
//! event row    kind u8 · time u64 (ms since 1970) · key · previous · object
//!              key: length u32 · text; previous: 0 | 1 attributes | 2 attributes length u32 · object
//!              attributes: labels fields; labels, fields: count u32 (name value)*
//! ```
//!
//! All numbers are little-endian. A decoder returns `None` on anything else.

use bytes::Bytes;

use crate::{Attributes, ChangeKind, Key, Previous};

/// One event as the log keeps it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EventRow<'a> {
    pub kind: ChangeKind,
    pub time_ms: u64,
    pub key: Key,
    pub previous: Option<Previous>,
    pub object: &'a [u8],
}

impl<'a> EventRow<'a> {
    pub fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(64 + self.object.len());
        row.push(match self.kind {
            ChangeKind::Created => 0,
            ChangeKind::Updated => 1,
            ChangeKind::Deleted => 2,
        });
        row.extend(self.time_ms.to_le_bytes());
        put_text(&mut row, &self.key.to_string());
        match &self.previous {
            None => row.push(0),
            Some(Previous { attributes, object }) => {
                row.push(if object.is_some() { 2 } else { 1 });
                put_pairs(&mut row, attributes.labels());
                put_pairs(&mut row, attributes.fields());
                if let Some(object) = object {
                    put_bytes(&mut row, object);
                }
            }
        }
        row.extend_from_slice(self.object);
        row
    }

    pub fn decode(row: &'a [u8]) -> Option<Self> {
        let mut rest = row;
        let kind = match take(&mut rest, 1)?[0] {
            0 => ChangeKind::Created,
            1 => ChangeKind::Updated,
            2 => ChangeKind::Deleted,
            _ => return None,
        };
        let time_ms = take_u64(&mut rest)?;
        let key = Key::parse(take_text(&mut rest)?)?;
        let previous = match take(&mut rest, 1)?[0] {
            0 => None,
            1 => Some(Previous {
                attributes: take_attributes(&mut rest)?,
                object: None,
            }),
            2 => Some(Previous {
                attributes: take_attributes(&mut rest)?,
                object: Some(take_bytes(&mut rest)?),
            }),
            _ => return None,
        };
        Some(Self {
            kind,
            time_ms,
            key,
            previous,
            object: rest,
        })
    }

    /// The time of an event without decoding the rest of it.
    pub fn time_ms(row: &[u8]) -> Option<u64> {
        let mut rest = row.get(1..)?;
        take_u64(&mut rest)
    }
}

pub(crate) fn encode_object(revision: u64, object: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(8 + object.len());
    row.extend(revision.to_le_bytes());
    row.extend_from_slice(object);
    row
}

pub(crate) fn decode_object(mut row: &[u8]) -> Option<(u64, &[u8])> {
    Some((take_u64(&mut row)?, row))
}

fn put_text(row: &mut Vec<u8>, text: &str) {
    // Names and labels are far below 4 GiB: the API refuses bodies over 3 MiB.
    row.extend((text.len() as u32).to_le_bytes());
    row.extend_from_slice(text.as_bytes());
}

fn put_bytes(row: &mut Vec<u8>, bytes: &[u8]) {
    // As little: the API refuses bodies over 3 MiB.
    row.extend((bytes.len() as u32).to_le_bytes());
    row.extend_from_slice(bytes);
}

fn put_pairs<'a>(row: &mut Vec<u8>, pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
    row.extend((pairs.len() as u32).to_le_bytes());
    for (name, value) in pairs {
        put_text(row, name);
        put_text(row, value);
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

fn take_u32(rest: &mut &[u8]) -> Option<usize> {
    let bytes = take(rest, 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = take_u32(rest)?;
    std::str::from_utf8(take(rest, len)?).ok()
}

fn take_attributes(rest: &mut &[u8]) -> Option<Attributes> {
    Some(Attributes::new(take_pairs(rest)?, take_pairs(rest)?))
}

fn take_bytes(rest: &mut &[u8]) -> Option<Bytes> {
    let len = take_u32(rest)?;
    take(rest, len).map(Bytes::copy_from_slice)
}

fn take_pairs<'a>(rest: &mut &'a [u8]) -> Option<Vec<(&'a str, &'a str)>> {
    let count = take_u32(rest)?;
    (0..count)
        .map(|_| Some((take_text(rest)?, take_text(rest)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Bucket;

    #[test]
    fn an_event_reads_back() {
        for previous in [
            None,
            Some(Previous {
                attributes: Attributes::new([("app", "web")], [("spec.nodeName", "")]),
                object: None,
            }),
            Some(Previous {
                attributes: Attributes::new([("app", "web")], []),
                object: Some(Bytes::from_static(b"{\"old\":1}")),
            }),
        ] {
            let row = EventRow {
                kind: ChangeKind::Updated,
                time_ms: 1_700_000_000_123,
                key: Key::new(&Bucket::new("", "pods"), "default", "a"),
                previous,
                object: b"{}",
            };
            let encoded = row.encode();
            assert_eq!(EventRow::decode(&encoded), Some(row));
            assert_eq!(EventRow::time_ms(&encoded), Some(1_700_000_000_123));
        }
    }

    proptest! {
        #[test]
        fn damaged_rows_are_refused_or_read_but_never_panic(row in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = EventRow::decode(&row);
            let _ = decode_object(&row);
        }
    }
}
