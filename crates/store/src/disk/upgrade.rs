//! Files of the first layout, in which objects are not packed, become files of this one: in one
//! commit, so that whatever happens meanwhile the file is wholly the one or wholly the other.
//!
//! ```text
//! first layout   table "objects"  key · revision u64 · object
//!                table "events"   as now, with objects as they are in the place of packed ones
//! ```

use std::{path::Path, sync::Arc};

use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::{
    DICTIONARIES, EVENTS, LAYOUT, LAYOUT_VERSION, LOGGED, NUMBERS, OBJECTS, open::open_error, read,
    write_dictionaries,
};
use crate::{
    Bucket, Key, OpenError, Packed,
    dictionaries::Dictionaries,
    log::{EventRow, decode_revision, encode_object},
    packed::PackedRow,
    packer::{Of, Packer},
};

const FIRST_LAYOUT: u64 = 1;
const FIRST_OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
const FIRST_EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");

/// Makes a file of the first layout one of this layout; leaves every other as it is.
pub(super) fn upgrade(database: &mut Database, path: &Path) -> Result<(), OpenError> {
    let fail = |cause| open_error(path, cause);
    if read::layout(database).map_err(fail)? != FIRST_LAYOUT {
        return Ok(());
    }
    tracing::info!(path = %path.display(), "the store is of the first layout: its objects are packed, once");
    convert(database).map_err(fail)?;
    // The tables that are gone are most of the file.
    database.compact().map_err(|cause| fail(cause.into()))?;
    Ok(())
}

fn convert(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let dictionaries = Arc::new(Dictionaries::default());
    let mut packer = Packer::new(dictionaries.clone());
    objects(&transaction, &mut packer)?;
    let logged = events(&transaction, &mut packer)?;
    transaction.delete_table(FIRST_OBJECTS)?;
    transaction.delete_table(FIRST_EVENTS)?;
    transaction.open_table(DICTIONARIES)?;
    write_dictionaries(&transaction, &dictionaries.pending())?;
    {
        let mut numbers = transaction.open_table(NUMBERS)?;
        numbers.insert(LAYOUT, LAYOUT_VERSION)?;
        numbers.insert(LOGGED, logged)?;
    }
    transaction.commit()?;
    Ok(())
}

fn objects(transaction: &WriteTransaction, packer: &mut Packer) -> Result<(), redb::Error> {
    let first = transaction.open_table(FIRST_OBJECTS)?;
    let mut objects = transaction.open_table(OBJECTS)?;
    let mut before: Option<(Bucket, u64)> = None;
    for row in first.iter()? {
        let (name, value) = row?;
        let name = name.value();
        let unreadable = || redb::Error::Corrupted(format!("the row of {name} cannot be read"));
        let known = before.as_ref().map(|(bucket, _)| bucket);
        let key = Key::parse_after(name, known).ok_or_else(unreadable)?;
        let (revision, object) = decode_revision(value.value()).ok_or_else(unreadable)?;
        let held = before
            .filter(|(bucket, _)| bucket == key.bucket())
            .map_or(0, |(_, held)| held)
            + object.len() as u64;
        let of = Of {
            bucket: key.bucket(),
            revision,
            held,
            compacted: 0,
        };
        let packed = packer.pack(&of, object);
        objects.insert(name, &*encode_object(revision, &packed.row()))?;
        before = Some((key.bucket().clone(), held));
    }
    Ok(())
}

/// The bytes of all rows.
fn events(transaction: &WriteTransaction, packer: &mut Packer) -> Result<u64, redb::Error> {
    let first = transaction.open_table(FIRST_EVENTS)?;
    let mut events: Table<'_, u64, &[u8]> = transaction.open_table(EVENTS)?;
    let mut logged = 0;
    for row in first.iter()? {
        let (revision, value) = row?;
        let revision = revision.value();
        let decoded = EventRow::decode_with(value.value(), |object| Some(as_it_is(object)))
            .ok_or_else(|| redb::Error::Corrupted(format!("event {revision} cannot be read")))?;
        let of = Of {
            bucket: decoded.key.bucket(),
            revision,
            // Too little to make dictionaries for.
            held: 0,
            compacted: 0,
        };
        let object = packer.pack(&of, decoded.object.bytes);
        let previous = decoded.previous.as_ref().and_then(|it| it.object);
        let previous: Option<Packed> = previous.map(|it| packer.pack(&of, it.bytes));
        let mut packed = decoded;
        packed.object = object.row();
        if let Some(before) = &mut packed.previous {
            before.object = previous.as_ref().map(Packed::row);
        }
        let row = packed.encode();
        logged += row.len() as u64;
        events.insert(revision, &*row)?;
    }
    Ok(logged)
}

fn as_it_is(object: &[u8]) -> PackedRow<'_> {
    PackedRow {
        dictionary: 0,
        // The API refuses bodies over 3 MiB.
        len: object.len() as u32,
        bytes: object,
    }
}
