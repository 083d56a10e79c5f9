//! The file: what is read at the start, one commit, a range of the event log.
//!
//! The database sits behind a lock as an option, since redb refuses all work after an input or
//! output error until the file is opened anew: [`Disk::reopen`] does that before the next write,
//! so that a disk which was full for a while does not need a restart.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition,
};

use crate::{
    Bounds, ChangeKind, Key, OpenError,
    log::{EventRow, decode_object, encode_object},
};

const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

const LAYOUT: &str = "layout";
const REVISION: &str = "revision";
const COMPACTED: &str = "compacted";

/// The version of the layout of the tables and rows.
const LAYOUT_VERSION: u64 = 1;
/// Pages that redb may keep in memory. The index answers reads, so this serves only commits.
const CACHE_BYTES: usize = 4 << 20;
/// Events removed by one commit beyond those it adds, so that a shrunk bound costs no long pause.
const TRIM_STEP: usize = 64;

/// Opens the database in a file, or makes it. Tests put a disk that fails in its place.
pub(crate) type Opener = fn(&Path) -> Result<Database, DatabaseError>;

pub(crate) struct Disk {
    path: PathBuf,
    bounds: Bounds,
    opener: Opener,
    database: RwLock<Option<Database>>,
}

/// What a store knows of itself, besides its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The revision of the newest event.
    pub revision: u64,
    /// The revision of the newest event that was removed from the log.
    pub compacted: u64,
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
        opener: Opener,
        mut object: impl FnMut(Key, u64, &[u8]),
    ) -> Result<(Self, Position), OpenError> {
        let fail = |cause: redb::Error| open_error(path, cause);
        let mut database = opener(path).map_err(|cause| fail(cause.into()))?;
        // redb checks a file that was not closed; this also finds what was changed while closed.
        if !database
            .check_integrity()
            .map_err(|cause| fail(cause.into()))?
        {
            tracing::warn!(path = %path.display(), "the store was repaired");
        }
        let position = prepare(&database, path)?;
        let damaged = |cause: String| OpenError::Damaged {
            path: path.to_owned(),
            cause,
        };
        let read = database.begin_read().map_err(|cause| fail(cause.into()))?;
        let objects = read
            .open_table(OBJECTS)
            .map_err(|cause| fail(cause.into()))?;
        for row in objects.iter().map_err(|cause| fail(cause.into()))? {
            let (key, value) = row.map_err(|cause| fail(cause.into()))?;
            let parsed = Key::parse(key.value())
                .ok_or_else(|| damaged(format!("{:?} is no key of an object", key.value())))?;
            let (revision, bytes) = decode_object(value.value())
                .filter(|(revision, _)| *revision <= position.revision)
                .ok_or_else(|| damaged(format!("the row of {parsed} cannot be read")))?;
            object(parsed, revision, bytes);
        }
        drop(objects);
        drop(read);
        let database = RwLock::new(Some(database));
        Ok((
            Self {
                path: path.to_owned(),
                bounds,
                opener,
                database,
            },
            position,
        ))
    }

    /// Writes `rows`, in order of their revisions, and trims the log; durable when it returns.
    pub fn commit(&self, rows: &[Row<'_>], now_ms: u64) -> Result<Position, redb::Error> {
        let guard = self.read()?;
        let database = guard.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        let transaction = database.begin_write()?;
        let position;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            let mut events = transaction.open_table(EVENTS)?;
            let mut numbers = transaction.open_table(NUMBERS)?;
            let mut revision = number(&numbers, REVISION)?;
            for row in rows {
                let key = row.event.key.to_string();
                match row.event.kind {
                    ChangeKind::Deleted => objects.remove(key.as_str())?,
                    ChangeKind::Created | ChangeKind::Updated => objects.insert(
                        key.as_str(),
                        &*encode_object(row.revision, row.event.object),
                    )?,
                };
                events.insert(row.revision, &*row.event.encode())?;
                revision = row.revision;
            }
            numbers.insert(REVISION, revision)?;
            let compacted = match trim(&mut events, self.bounds, rows.len(), now_ms)? {
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
        Ok(position)
    }

    /// Shows the events after `since`, oldest first, with their revisions.
    pub fn events(
        &self,
        since: u64,
        mut event: impl FnMut(u64, EventRow<'_>),
    ) -> Result<Position, redb::Error> {
        let guard = self.read()?;
        let read = guard
            .as_ref()
            .ok_or(redb::Error::DatabaseClosed)?
            .begin_read()?;
        for row in read.open_table(EVENTS)?.range(since + 1..)? {
            let (revision, value) = row?;
            let revision = revision.value();
            let decoded = EventRow::decode(value.value()).ok_or_else(|| {
                redb::Error::Corrupted(format!("event {revision} cannot be read"))
            })?;
            event(revision, decoded);
        }
        let numbers = read.open_table(NUMBERS)?;
        Ok(Position {
            revision: number(&numbers, REVISION)?,
            compacted: number(&numbers, COMPACTED)?,
        })
    }

    /// Closes the file and opens it again, after an error that made redb refuse further work.
    pub fn reopen(&self) -> Result<(), redb::Error> {
        let mut guard = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *guard = None;
        *guard = Some((self.opener)(&self.path)?);
        Ok(())
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, Option<Database>>, redb::Error> {
        Ok(self.database.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Opens a file of this machine.
pub(crate) fn open_file(path: &Path) -> Result<Database, DatabaseError> {
    builder().create(path)
}

pub(crate) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes the tables of a new file, checks the layout of an old one, and reads its position.
fn prepare(database: &Database, path: &Path) -> Result<Position, OpenError> {
    let work = || {
        if !has_tables(database)? {
            make_tables(database)?;
        }
        read_numbers(database)
    };
    let (found, position) = work().map_err(|cause| open_error(path, cause))?;
    if found != LAYOUT_VERSION {
        return Err(OpenError::Layout {
            path: path.to_owned(),
            found,
            expected: LAYOUT_VERSION,
        });
    }
    Ok(position)
}

/// A file with all tables is not written to, so that it can be opened on a disk that is full.
fn has_tables(database: &Database) -> Result<bool, redb::Error> {
    let read = database.begin_read()?;
    let tables = read.list_tables()?.count();
    Ok(tables == 3)
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(OBJECTS)?;
        transaction.open_table(EVENTS)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        numbers.insert(LAYOUT, LAYOUT_VERSION)?;
        // Clients take "0" to mean "any revision", so the first state is revision 1.
        numbers.insert(REVISION, 1)?;
        numbers.insert(COMPACTED, 0)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The version of the layout, and the position.
fn read_numbers(database: &Database) -> Result<(u64, Position), redb::Error> {
    let numbers = database.begin_read()?.open_table(NUMBERS)?;
    let position = Position {
        revision: number(&numbers, REVISION)?,
        compacted: number(&numbers, COMPACTED)?,
    };
    Ok((number(&numbers, LAYOUT)?, position))
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
    now_ms: u64,
) -> Result<Option<u64>, redb::Error> {
    let age_ms = u64::try_from(bounds.age.as_millis()).unwrap_or(u64::MAX);
    let mut compacted = None;
    for _ in 0..added + TRIM_STEP {
        let too_many = events.len()? > bounds.events as u64;
        let too_old = events.first()?.is_some_and(|(_, row)| {
            EventRow::time_ms(row.value()).is_some_and(|time| time.saturating_add(age_ms) < now_ms)
        });
        if !too_many && !too_old {
            break;
        }
        match events.pop_first()? {
            Some((revision, _)) => compacted = Some(revision.value()),
            None => break,
        }
    }
    Ok(compacted)
}

fn open_error(path: &Path, cause: redb::Error) -> OpenError {
    let path = path.to_owned();
    match cause {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path },
        redb::Error::Io(cause) if is_content(&cause) => OpenError::Damaged {
            path,
            cause: cause.to_string(),
        },
        redb::Error::Io(cause) => OpenError::Io {
            path,
            cause: cause.to_string(),
        },
        cause => OpenError::Damaged {
            path,
            cause: cause.to_string(),
        },
    }
}

/// Whether the system read the file well but what was in it is wrong or cut short.
fn is_content(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bucket;

    const AGE: std::time::Duration = std::time::Duration::from_secs(60);

    fn open(path: &Path, events: usize) -> Disk {
        Disk::open(path, Bounds { events, age: AGE }, open_file, |_, _, _| {})
            .unwrap()
            .0
    }

    fn write(disk: &Disk, revision: u64, now_ms: u64) -> Position {
        let key = Key::new(&Bucket::new("", "pods"), "default", "a");
        let kind = ChangeKind::Updated;
        let event = EventRow {
            kind,
            time_ms: now_ms,
            key,
            previous: None,
            object: b"{}",
        };
        disk.commit(&[Row { revision, event }], now_ms).unwrap()
    }

    fn logged(disk: &Disk) -> Vec<u64> {
        let mut revisions = Vec::new();
        disk.events(0, |revision, _| revisions.push(revision))
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
            disk.events(0, |_, _| {}).unwrap(),
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
    fn a_second_opener_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _held = open(&path, 3);
        let second = Disk::open(
            &path,
            Bounds {
                events: 3,
                age: AGE,
            },
            open_file,
            |_, _, _| {},
        );
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
