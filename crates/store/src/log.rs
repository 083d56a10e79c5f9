//! The rows in the file: objects, events and dictionaries, as bytes.
//!
//! ```text
//! object row      revision u64 · packed
//! event row       kind u8 · time u64 (ms since 1970) · key · previous · packed
//!                 key: length u32 · text; previous: 0 | 1 attributes | 2 attributes length u32 · packed
//!                 attributes: labels fields; labels, fields: count u32 (name value)*
//! dictionary row  bucket: length u32 · text · bytes
//! packed          dictionary u32 · length of the object u32 · bytes
//! ```
//!
//! All numbers are little-endian. A decoder returns `None` on anything else. Packed bytes go to
//! the end of their row, or of the length before them.

use crate::{Attributes, Bucket, ChangeKind, Key, packed::PackedRow};

/// One event as the log keeps it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EventRow<'a> {
    pub kind: ChangeKind,
    pub time_ms: u64,
    pub key: Key,
    pub previous: Option<PreviousRow<'a>>,
    pub object: PackedRow<'a>,
}

/// What the object was before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PreviousRow<'a> {
    pub attributes: Attributes,
    pub object: Option<PackedRow<'a>>,
}

impl<'a> EventRow<'a> {
    pub fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(64 + self.object.bytes.len());
        row.push(match self.kind {
            ChangeKind::Created => 0,
            ChangeKind::Updated => 1,
            ChangeKind::Deleted => 2,
        });
        row.extend(self.time_ms.to_le_bytes());
        put_text(&mut row, &self.key.to_string());
        match &self.previous {
            None => row.push(0),
            Some(PreviousRow { attributes, object }) => {
                row.push(if object.is_some() { 2 } else { 1 });
                put_pairs(&mut row, attributes.labels());
                put_pairs(&mut row, attributes.fields());
                if let Some(object) = object {
                    put_len(&mut row, PACKED + object.bytes.len());
                    put_packed(&mut row, object);
                }
            }
        }
        put_packed(&mut row, &self.object);
        row
    }

    pub fn decode(row: &'a [u8]) -> Option<Self> {
        Self::decode_with(row, packed)
    }

    /// The same, where `object` reads what is an object.
    pub fn decode_with(
        row: &'a [u8],
        object: impl Fn(&'a [u8]) -> Option<PackedRow<'a>>,
    ) -> Option<Self> {
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
            1 => Some(PreviousRow {
                attributes: take_attributes(&mut rest)?,
                object: None,
            }),
            2 => Some(PreviousRow {
                attributes: take_attributes(&mut rest)?,
                object: Some(object(take_bytes(&mut rest)?)?),
            }),
            _ => return None,
        };
        Some(Self {
            kind,
            time_ms,
            key,
            previous,
            object: object(rest)?,
        })
    }

    /// The time of an event without decoding the rest of it.
    pub fn time_ms(row: &[u8]) -> Option<u64> {
        let mut rest = row.get(1..)?;
        take_u64(&mut rest)
    }
}

pub(crate) fn encode_object(revision: u64, object: &PackedRow<'_>) -> Vec<u8> {
    let mut row = Vec::with_capacity(8 + PACKED + object.bytes.len());
    row.extend(revision.to_le_bytes());
    put_packed(&mut row, object);
    row
}

pub(crate) fn decode_object(row: &[u8]) -> Option<(u64, PackedRow<'_>)> {
    let (revision, object) = decode_revision(row)?;
    Some((revision, packed(object)?))
}

/// The revision of an object, and what follows it.
pub(crate) fn decode_revision(mut row: &[u8]) -> Option<(u64, &[u8])> {
    Some((take_u64(&mut row)?, row))
}

pub(crate) fn encode_dictionary(bucket: &Bucket, bytes: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(64 + bytes.len());
    put_text(&mut row, &bucket.to_string());
    row.extend_from_slice(bytes);
    row
}

pub(crate) fn decode_dictionary(mut row: &[u8]) -> Option<(Bucket, &[u8])> {
    Some((Bucket::parse(take_text(&mut row)?)?, row))
}

/// Bytes before those of a packed object.
const PACKED: usize = 8;

fn put_packed(row: &mut Vec<u8>, object: &PackedRow<'_>) {
    row.extend(object.dictionary.to_le_bytes());
    row.extend(object.len.to_le_bytes());
    row.extend_from_slice(object.bytes);
}

fn packed(mut bytes: &[u8]) -> Option<PackedRow<'_>> {
    Some(PackedRow {
        dictionary: take_u32(&mut bytes)?,
        len: take_u32(&mut bytes)?,
        bytes,
    })
}

fn put_len(row: &mut Vec<u8>, len: usize) {
    // Names, labels and objects are far below 4 GiB: the API refuses bodies over 3 MiB.
    row.extend((len as u32).to_le_bytes());
}

fn put_text(row: &mut Vec<u8>, text: &str) {
    put_len(row, text.len());
    row.extend_from_slice(text.as_bytes());
}

fn put_pairs<'a>(row: &mut Vec<u8>, pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
    put_len(row, pairs.len());
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

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let bytes = take(rest, 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

fn take_len(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(take_u32(rest)?).ok()
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = take_len(rest)?;
    std::str::from_utf8(take(rest, len)?).ok()
}

fn take_attributes(rest: &mut &[u8]) -> Option<Attributes> {
    Some(Attributes::new(take_pairs(rest)?, take_pairs(rest)?))
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_len(rest)?;
    take(rest, len)
}

fn take_pairs<'a>(rest: &mut &'a [u8]) -> Option<Vec<(&'a str, &'a str)>> {
    let count = take_len(rest)?;
    (0..count)
        .map(|_| Some((take_text(rest)?, take_text(rest)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Bucket;

    fn packed(bytes: &[u8]) -> PackedRow<'_> {
        PackedRow {
            dictionary: 3,
            len: 9,
            bytes,
        }
    }

    #[test]
    fn an_event_reads_back() {
        for previous in [
            None,
            Some(PreviousRow {
                attributes: Attributes::new([("app", "web")], [("spec.nodeName", "")]),
                object: None,
            }),
            Some(PreviousRow {
                attributes: Attributes::new([("app", "web")], []),
                object: Some(packed(b"{\"old\":1}")),
            }),
        ] {
            let row = EventRow {
                kind: ChangeKind::Updated,
                time_ms: 1_700_000_000_123,
                key: Key::new(&Bucket::new("", "pods"), "default", "a"),
                previous,
                object: packed(b"{}"),
            };
            let encoded = row.encode();
            assert_eq!(EventRow::decode(&encoded), Some(row));
            assert_eq!(EventRow::time_ms(&encoded), Some(1_700_000_000_123));
        }
    }

    #[test]
    fn a_dictionary_reads_back() {
        let bucket = Bucket::new("apps", "deployments");
        let row = encode_dictionary(&bucket, b"all of them");
        assert_eq!(decode_dictionary(&row), Some((bucket, &b"all of them"[..])));
    }

    proptest! {
        #[test]
        fn damaged_rows_are_refused_or_read_but_never_panic(row in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = EventRow::decode(&row);
            let _ = decode_object(&row);
            let _ = decode_dictionary(&row);
        }
    }
}
