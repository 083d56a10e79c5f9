//! The file: what is read at the start, one commit, a range of the event log.
//!
//! The database sits behind a lock as an option, since redb refuses all work after an input or
//! output error until the file is opened anew: [`Disk::reopen`] does that before the next write,
//! so that a disk which was full for a while does not need a restart.

mod backend;
mod open;
mod read;
pub(crate) mod seal;
mod upgrade;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition, WriteTransaction,
};

pub(crate) use self::open::Medium;
pub(crate) use self::seal::{Boot, HEADER, SEALED};
use self::{backend::Unsynced, open::open_error};
use crate::{
    Bounds, ChangeKind, Key, OpenError, Packed, Previous,
    dictionaries::{Dictionaries, Pending},
    log::{EventRow, decode_dictionary, encode_dictionary, encode_object},
    packed::{Dictionary, PackedRow},
};

const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects, packed");
const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events, packed");
const DICTIONARIES: TableDefinition<u32, &[u8]> = TableDefinition::new("dictionaries");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

const LAYOUT: &str = "layout";
const REVISION: &str = "revision";
const COMPACTED: &str = "compacted";
/// Bytes in the rows of the log. Files of the first version do not have it.
const LOGGED: &str = "logged";

/// The version of the layout of the tables and rows. In the first one objects are not packed; a
/// file of it is made one of this when it is opened.
const LAYOUT_VERSION: u64 = 2;
/// Events removed by one commit beyond those it adds, so that a shrunk bound costs no long pause.
const TRIM_STEP: usize = 64;

pub(crate) struct Disk {
    path: PathBuf,
    /// The same for messages, from the root on.
    shown: Arc<Path>,
    bounds: Bounds,
    medium: Medium,
    unsynced: Unsynced,
    database: RwLock<Option<Database>>,
    dictionaries: Arc<Dictionaries>,
}

/// What a store knows of itself, besides its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The revision of the newest event.
    pub revision: u64,
    /// The revision of the newest event that was removed from the log.
    pub compacted: u64,
}

/// What the log tells of a change.
pub(crate) struct Logged {
    pub kind: ChangeKind,
    pub key: Key,
    pub previous: Option<Previous>,
    pub object: Packed,
    /// The same, unpacked.
    pub unpacked: Vec<u8>,
}

/// One object's change within a commit.
pub(crate) struct Row<'a> {
    pub revision: u64,
    pub event: EventRow<'a>,
}

impl Disk {
    /// Opens or makes the file, checks it, and shows every object in it.
    pub fn open(
        path: &Path,
        bounds: Bounds,
        medium: Medium,
        mut object: impl FnMut(Key, u64, Packed),
    ) -> Result<(Self, Position), OpenError> {
        let unsynced = Unsynced::default();
        let dictionaries = Arc::new(Dictionaries::default());
        let mut database = match path.try_exists() {
            Ok(false) => open::new(path, &medium, &unsynced, |database| {
                make_tables(database).map_err(|cause| open_error(path, cause))
            })?,
            _ => open::existing(path, &medium, &unsynced)?,
        };
        upgrade::upgrade(&mut database, path)?;
        let position = read::position(&database, path)?;
        read::dictionaries(&database, path, position, &dictionaries)?;
        read::objects(&database, path, position, &dictionaries, &mut object)?;
        let disk = Self {
            path: path.to_owned(),
            shown: std::path::absolute(path).map_or_else(|_| path.into(), Into::into),
            bounds,
            medium,
            unsynced,
            database: RwLock::new(Some(database)),
            dictionaries,
        };
        Ok((disk, position))
    }

    /// The file, for messages.
    pub fn path(&self) -> &Arc<Path> {
        &self.shown
    }

    /// The dictionaries of its objects.
    pub fn dictionaries(&self) -> &Arc<Dictionaries> {
        &self.dictionaries
    }

    /// Writes `rows`, in order of their revisions, and trims the log; durable when it returns.
    pub fn commit(&self, rows: &[Row<'_>], now_ms: u64) -> Result<Position, redb::Error> {
        let guard = self.read()?;
        let database = guard.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        let transaction = database.begin_write()?;
        let pending = self.dictionaries.pending();
        write_dictionaries(&transaction, &pending)?;
        let position;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            let mut events = transaction.open_table(EVENTS)?;
            let mut numbers = transaction.open_table(NUMBERS)?;
            let mut revision = number(&numbers, REVISION)?;
            let mut logged = numbers.get(LOGGED)?.map_or(0, |bytes| bytes.value());
            for row in rows {
                let key = row.event.key.to_string();
                match row.event.kind {
                    ChangeKind::Deleted => objects.remove(key.as_str())?,
                    ChangeKind::Created | ChangeKind::Updated => objects.insert(
                        key.as_str(),
                        &*encode_object(row.revision, &row.event.object),
                    )?,
                };
                let event = row.event.encode();
                logged += event.len() as u64;
                events.insert(row.revision, &*event)?;
                revision = row.revision;
            }
            numbers.insert(REVISION, revision)?;
            let trimmed = trim(&mut events, self.bounds, rows.len(), &mut logged, now_ms)?;
            numbers.insert(LOGGED, logged)?;
            let compacted = match trimmed {
                Some(compacted) => {
                    numbers.insert(COMPACTED, compacted)?;
                    compacted
                }
                None => number(&numbers, COMPACTED)?,
            };
            position = Position {
                revision,
                compacted,
            };
        }
        transaction.commit()?;
        self.dictionaries.saved(&pending);
        Ok(position)
    }

    /// Shows the events after `since` of the objects that are `wanted`, oldest first, with their
    /// revisions. Each revision has one.
    pub fn events(
        &self,
        since: u64,
        wanted: impl Fn(&Key) -> bool,
        mut event: impl FnMut(u64, Logged),
    ) -> Result<Position, redb::Error> {
        let guard = self.read()?;
        let read = guard
            .as_ref()
            .ok_or(redb::Error::DatabaseClosed)?
            .begin_read()?;
        for row in read.open_table(EVENTS)?.range(since + 1..)? {
            let (revision, value) = row?;
            let revision = revision.value();
            let unreadable = || redb::Error::Corrupted(format!("event {revision} cannot be read"));
            let row = EventRow::decode(value.value()).ok_or_else(unreadable)?;
            if wanted(&row.key) {
                let logged = self.logged(&read, row)?.ok_or_else(unreadable)?;
                event(revision, logged);
            }
        }
        let numbers = read.open_table(NUMBERS)?;
        Ok(Position {
            revision: number(&numbers, REVISION)?,
            compacted: number(&numbers, COMPACTED)?,
        })
    }

    /// `None` if its objects cannot be unpacked.
    fn logged(
        &self,
        read: &ReadTransaction,
        row: EventRow<'_>,
    ) -> Result<Option<Logged>, redb::Error> {
        let Some((object, unpacked)) = self.unpacked(read, row.object)? else {
            return Ok(None);
        };
        let mut previous = None;
        if let Some(before) = row.previous {
            let object = match before.object {
                None => None,
                Some(object) => match self.unpacked(read, object)? {
                    None => return Ok(None),
                    Some((object, _)) => Some(object),
                },
            };
            let attributes = before.attributes;
            previous = Some(Previous { attributes, object });
        }
        Ok(Some(Logged {
            kind: row.kind,
            key: row.key,
            previous,
            object,
            unpacked,
        }))
    }

    fn unpacked(
        &self,
        read: &ReadTransaction,
        row: PackedRow<'_>,
    ) -> Result<Option<(Packed, Vec<u8>)>, redb::Error> {
        let dictionary = self.dictionary(read, row.dictionary)?;
        if row.dictionary != 0 && dictionary.is_none() {
            return Ok(None);
        }
        let packed = Packed::from_row(row, dictionary);
        Ok(packed.try_unpack().map(|unpacked| (packed, unpacked)))
    }

    /// One of those in memory, or one that has gone since this reading began.
    fn dictionary(
        &self,
        read: &ReadTransaction,
        id: u32,
    ) -> Result<Option<Arc<Dictionary>>, redb::Error> {
        if id == 0 {
            return Ok(None);
        }
        if let Some(found) = self.dictionaries.get(id) {
            return Ok(Some(found));
        }
        let row = read.open_table(DICTIONARIES)?.get(id)?;
        let found = row.as_ref().and_then(|row| decode_dictionary(row.value()));
        Ok(found.map(|(_, bytes)| Dictionary::new(id, bytes.into(), 0)))
    }

    /// Closes the file and opens it again, after an error that made redb refuse further work.
    pub fn reopen(&self) -> Result<(), OpenError> {
        let mut guard = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *guard = None;
        *guard = Some(open::existing(&self.path, &self.medium, &self.unsynced)?);
        Ok(())
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, Option<Database>>, redb::Error> {
        Ok(self.database.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn write_dictionaries(
    transaction: &WriteTransaction,
    pending: &Pending,
) -> Result<(), redb::Error> {
    if pending.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(DICTIONARIES)?;
    for (bucket, dictionary) in &pending.new {
        let row = encode_dictionary(bucket, &dictionary.bytes);
        table.insert(dictionary.id, &*row)?;
    }
    for id in &pending.gone {
        table.remove(id)?;
    }
    Ok(())
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(OBJECTS)?;
        transaction.open_table(EVENTS)?;
        transaction.open_table(DICTIONARIES)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        numbers.insert(LAYOUT, LAYOUT_VERSION)?;
        // Clients take "0" to mean "any revision", so the first state is revision 1.
        numbers.insert(REVISION, 1)?;
        numbers.insert(COMPACTED, 0)?;
        numbers.insert(LOGGED, 0)?;
    }
    transaction.commit()?;
    Ok(())
}

fn number(
    numbers: &impl ReadableTable<&'static str, u64>,
    name: &'static str,
) -> Result<u64, redb::Error> {
    let value = numbers.get(name)?.map(|value| value.value());
    value.ok_or_else(|| redb::Error::Corrupted(format!("the number {name:?} is missing")))
}

/// Removes the oldest events beyond the bounds; the revision of the newest one removed.
fn trim(
    events: &mut redb::Table<'_, u64, &'static [u8]>,
    bounds: Bounds,
    added: usize,
    logged: &mut u64,
    now_ms: u64,
) -> Result<Option<u64>, redb::Error> {
    let age_ms = u64::try_from(bounds.age.as_millis()).unwrap_or(u64::MAX);
    let mut compacted = None;
    for _ in 0..added + TRIM_STEP {
        let too_many = events.len()? > bounds.events as u64;
        let too_large = *logged > bounds.bytes && events.len()? > 1;
        let too_old = events.first()?.is_some_and(|(_, row)| {
            EventRow::time_ms(row.value()).is_some_and(|time| time.saturating_add(age_ms) < now_ms)
        });
        if !too_many && !too_large && !too_old {
            break;
        }
        let Some((revision, row)) = events.pop_first()? else {
            break;
        };
        *logged = logged.saturating_sub(row.value().len() as u64);
        compacted = Some(revision.value());
    }
    Ok(compacted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bucket;

    const AGE: std::time::Duration = std::time::Duration::from_secs(60);

    fn open(path: &Path, events: usize) -> Disk {
        Disk::open(path, bounds(events), Medium::file(), |_, _, _| {})
            .unwrap()
            .0
    }

    fn bounds(events: usize) -> Bounds {
        Bounds {
            events,
            bytes: 1000,
            age: AGE,
        }
    }

    fn write(disk: &Disk, revision: u64, now_ms: u64) -> Position {
        write_object(disk, revision, now_ms, b"{}")
    }

    fn write_object(disk: &Disk, revision: u64, now_ms: u64, object: &[u8]) -> Position {
        let key = Key::new(&Bucket::new("", "pods"), "default", "a");
        let kind = ChangeKind::Updated;
        let object = Packed::from(object);
        let event = EventRow {
            kind,
            time_ms: now_ms,
            key,
            previous: None,
            object: object.row(),
        };
        disk.commit(&[Row { revision, event }], now_ms).unwrap()
    }

    fn logged(disk: &Disk) -> Vec<u64> {
        let mut revisions = Vec::new();
        disk.events(0, |_| true, |revision, _| revisions.push(revision))
            .unwrap();
        revisions
    }

    #[test]
    fn the_log_is_bounded_by_count() {
        let dir = tempfile::tempdir().unwrap();
        let disk = open(&dir.path().join("s"), 3);
        for revision in 2..=6 {
            write(&disk, revision, 1000);
        }
        assert_eq!(logged(&disk), [4, 5, 6]);
        assert_eq!(
            disk.events(0, |_| true, |_, _| {}).unwrap(),
            Position {
                revision: 6,
                compacted: 3
            }
        );
    }

    #[test]
    fn the_log_is_bounded_by_age() {
        let dir = tempfile::tempdir().unwrap();
        let disk = open(&dir.path().join("s"), 100);
        write(&disk, 2, 1_000);
        write(&disk, 3, 40_000);
        let position = write(&disk, 4, 62_000);
        assert_eq!(
            position,
            Position {
                revision: 4,
                compacted: 2
            }
        );
        assert_eq!(logged(&disk), [3, 4]);
    }

    #[test]
    fn the_log_is_bounded_by_bytes_but_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let disk = open(&dir.path().join("s"), 100);
        for revision in 2..=6 {
            write_object(&disk, revision, 1_000, &[7; 400]);
        }
        // Three have more than the 1,000 bytes that are allowed.
        assert_eq!(logged(&disk), [5, 6]);
        write_object(&disk, 7, 1_000, &[7; 5_000]);
        assert_eq!(logged(&disk), [7]);
        write(&disk, 8, 1_000);
        assert_eq!(logged(&disk), [8]);
    }

    #[test]
    fn a_second_opener_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _held = open(&path, 3);
        let second = Disk::open(&path, bounds(3), Medium::file(), |_, _, _| {});
        assert!(matches!(second.err(), Some(OpenError::InUse { .. })));
    }

    #[test]
    fn a_reopened_file_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let disk = open(&dir.path().join("s"), 9);
        write(&disk, 2, 0);
        disk.reopen().unwrap();
        write(&disk, 3, 0);
        assert_eq!(logged(&disk), [2, 3]);
    }
}
