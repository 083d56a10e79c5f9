//! What the file holds, read at the start.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::{
    COMPACTED, DICTIONARIES, LAYOUT, LAYOUT_VERSION, NUMBERS, OBJECTS, Position, REVISION, number,
    open::open_error,
};
use crate::{
    Key, OpenError, Packed,
    dictionaries::Dictionaries,
    log::{decode_dictionary, decode_object},
};

/// Checks the layout of a file and reads its position.
pub(super) fn position(database: &Database, path: &Path) -> Result<Position, OpenError> {
    let found = layout(database).map_err(|cause| open_error(path, cause))?;
    if found != LAYOUT_VERSION {
        return Err(OpenError::Layout {
            path: path.to_owned(),
            found,
            expected: LAYOUT_VERSION,
        });
    }
    numbers(database).map_err(|cause| open_error(path, cause))
}

/// The version of the layout.
pub(super) fn layout(database: &Database) -> Result<u64, redb::Error> {
    number(&database.begin_read()?.open_table(NUMBERS)?, LAYOUT)
}

fn numbers(database: &Database) -> Result<Position, redb::Error> {
    let numbers = database.begin_read()?.open_table(NUMBERS)?;
    Ok(Position {
        revision: number(&numbers, REVISION)?,
        compacted: number(&numbers, COMPACTED)?,
    })
}

pub(super) fn dictionaries(
    database: &Database,
    path: &Path,
    position: Position,
    to: &Dictionaries,
) -> Result<(), OpenError> {
    let fail = |cause: redb::Error| open_error(path, cause);
    let read = database.begin_read().map_err(|cause| fail(cause.into()))?;
    let table = read
        .open_table(DICTIONARIES)
        .map_err(|cause| fail(cause.into()))?;
    for row in table.iter().map_err(|cause| fail(cause.into()))? {
        let (id, value) = row.map_err(|cause| fail(cause.into()))?;
        let id = id.value();
        let (bucket, bytes) = decode_dictionary(value.value())
            .ok_or_else(|| OpenError::damaged(path, format!("dictionary {id} cannot be read")))?;
        to.load(id, bucket, bytes, position.revision);
    }
    Ok(())
}

/// Shows every object, in order of the keys; whether it can be unpacked is for others to see.
pub(super) fn objects(
    database: &Database,
    path: &Path,
    position: Position,
    dictionaries: &Dictionaries,
    object: &mut impl FnMut(Key, u64, Packed),
) -> Result<(), OpenError> {
    let fail = |cause: redb::Error| open_error(path, cause);
    let read = database.begin_read().map_err(|cause| fail(cause.into()))?;
    let objects = read
        .open_table(OBJECTS)
        .map_err(|cause| fail(cause.into()))?;
    let mut bucket = None;
    for row in objects.iter().map_err(|cause| fail(cause.into()))? {
        let (key, value) = row.map_err(|cause| fail(cause.into()))?;
        let parsed = Key::parse_after(key.value(), bucket.as_ref()).ok_or_else(|| {
            OpenError::damaged(path, format!("{:?} is no key of an object", key.value()))
        })?;
        let (revision, row) = decode_object(value.value())
            .filter(|(revision, _)| *revision <= position.revision)
            .ok_or_else(|| OpenError::unreadable(path, &parsed))?;
        let dictionary = dictionaries.get(row.dictionary);
        if row.dictionary != 0 && dictionary.is_none() {
            return Err(OpenError::unreadable(path, &parsed));
        }
        bucket = Some(parsed.bucket().clone());
        object(parsed, revision, Packed::from_row(row, dictionary));
    }
    Ok(())
}
