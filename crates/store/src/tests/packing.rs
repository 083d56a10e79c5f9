//! Objects that resemble each other: short in memory and in the file, whatever happens to their
//! dictionaries; and files of the layout that did not pack.

use std::fs;

use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};

use super::{medium::Control, *};
use crate::{Entry, OpenError};

const FIRST_OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
const FIRST_EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
const DICTIONARIES: TableDefinition<u32, &[u8]> = TableDefinition::new("dictionaries");

/// What all objects of a `kind` have in common has no repetitions, so only a dictionary helps.
fn object(kind: u32, name: &str) -> Template {
    let mut tail = String::new();
    let mut number = kind.wrapping_mul(0x9e37_79b9) | 1;
    while tail.len() < 2000 {
        number ^= number << 13;
        number ^= number >> 17;
        number ^= number << 5;
        tail.push_str(&format!("{number:x},"));
    }
    Template {
        head: format!("{name} ").into(),
        tail: tail.into(),
    }
}

fn named(name: &str) -> Attributes {
    Attributes::new([("name", name)], [])
}

async fn write(store: &Store, kind: u32, name: &str, expect: Expect) -> Arc<Entry> {
    let put = store.put(key(name), expect, object(kind, name), named(name));
    put.await.unwrap()
}

/// Writes many of them at once.
async fn write_all(store: &Store, kind: u32, names: &[String]) {
    let writes = names.iter().map(|name| {
        let current = store.get(&key(name));
        let expect = current.map_or(Expect::Absent, |it| Expect::Revision(it.revision));
        Write::put(key(name), expect, object(kind, name), named(name))
    });
    store.write(writes.collect()).await.unwrap();
}

fn names_of(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("n{number}")).collect()
}

/// All objects as their readers see them.
fn seen(store: &Store) -> Vec<(String, u64, Vec<u8>)> {
    let listing = store.list(&bucket(), None, |_| true);
    let all = listing.entries.into_iter();
    all.map(|entry| {
        let object = entry.object.unpack().to_vec();
        (entry.key.name().to_owned(), entry.revision, object)
    })
    .collect()
}

fn kept(store: &Store) -> (usize, usize) {
    let listing = store.list(&bucket(), None, |_| true);
    let sizes = listing
        .entries
        .iter()
        .map(|it| (it.object.kept(), it.object.len()));
    sizes.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

/// How many dictionaries the file has, as a kill would leave it.
fn dictionaries(folder: &TempDir) -> u64 {
    let copy = folder.path().join("copy");
    fs::copy(folder.path().join("store"), &copy).unwrap();
    let database = Database::open(&copy).unwrap();
    let read = database.begin_read().unwrap();
    read.open_table(DICTIONARIES).unwrap().len().unwrap()
}

/// A store whose syncs cost nothing.
fn open(folder: &TempDir) -> Store {
    Store::open_on(options(folder, 50), Arc::new(Control::default()).medium(1)).unwrap()
}

#[tokio::test]
async fn objects_that_resemble_each_other_are_short() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for some in names_of(0..400).chunks(20) {
        write_all(&store, 1, some).await;
    }
    let (kept, len) = kept(&store);
    assert!(kept * 2 < len, "{kept} of {len}");
    let before = seen(&store);
    for (name, revision, bytes) in &before {
        assert_eq!(*bytes, object(1, name).fill(*revision));
    }
    let since = store.revision() - 40;
    close(store).await;

    let store = reopen(&folder, 50).await;
    assert_eq!(seen(&store), before);
    // The log refers to dictionaries, too.
    let mut watch = store.watch(&bucket(), since).unwrap();
    for _ in 0..40 {
        let change = tokio::time::timeout(DEADLINE, watch.next())
            .await
            .unwrap()
            .unwrap();
        let entry = &change.entry;
        let expected = object(1, entry.key.name()).fill(entry.revision);
        assert_eq!(entry.object.unpack(), expected);
    }
    // What is written goes on with the dictionary that is there.
    let next = write(&store, 1, "next", Expect::Absent).await;
    let (kept, len) = (next.object.kept(), next.object.len());
    assert!(kept * 10 < len, "{kept} of {len}");
}

#[tokio::test]
async fn a_few_objects_have_no_dictionary() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let mut revision = write(&store, 1, "a", Expect::Absent).await.revision;
    for _ in 0..100 {
        let written = write(&store, 1, "a", Expect::Revision(revision)).await;
        revision = written.revision;
    }
    assert_eq!(dictionaries(&folder), 0);
}

/// What is written changes its form again and again.
#[tokio::test]
async fn dictionaries_go_when_nothing_refers_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let names = names_of(0..300);
    for kind in 0..12 {
        for some in names.chunks(60) {
            write_all(&store, kind, some).await;
        }
    }
    let before = seen(&store);
    let (kept, len) = kept(&store);
    assert!(kept * 2 < len, "{kept} of {len}");
    // 600 KB may have four of 16 KB; there were at least twelve.
    let left = dictionaries(&folder);
    assert!((1..=4).contains(&left), "{left}");
    close(store).await;
    let store = reopen(&folder, 50).await;
    assert_eq!(seen(&store), before);
}

/// Commits with dictionaries in them fail at each of their steps.
#[tokio::test]
async fn a_dictionary_survives_a_disk_that_fails() {
    for failing in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let control = Arc::new(Control::default());
        let store = Store::open_on(options(&folder, 50), control.medium(1)).unwrap();
        // Enough for a dictionary, which comes with some of the next.
        write_all(&store, 1, &names_of(0..70)).await;
        for number in 70..140 {
            let name = format!("n{number}");
            if number % 8 == 0 {
                control.fail_after(failing);
                let put = store.put(key(&name), Expect::Absent, object(1, &name), named(&name));
                let _ = put.await;
                control.heal();
            }
            let put = store.put(key(&name), Expect::Absent, object(1, &name), named(&name));
            match put.await {
                Ok(_) | Err(WriteError::Exists { .. }) => {}
                Err(cause) => panic!("{cause}"),
            }
        }
        assert_eq!(dictionaries(&folder), 1);
        let before = seen(&store);
        assert_eq!(before.len(), 140);
        close(store).await;
        let store = reopen(&folder, 50).await;
        assert_eq!(seen(&store), before);
    }
}

/// Writes a file as the first version did.
fn first_layout(folder: &TempDir, objects: usize) -> Vec<(String, u64, Vec<u8>)> {
    let database = Database::create(folder.path().join("store")).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut all = Vec::new();
    {
        let mut table = transaction.open_table(FIRST_OBJECTS).unwrap();
        let mut events = transaction.open_table(FIRST_EVENTS).unwrap();
        for number in 0..objects {
            let (name, revision) = (format!("n{number:05}"), number as u64 + 2);
            let bytes = object(1, &name).fill(revision);
            let mut row = revision.to_le_bytes().to_vec();
            row.extend(&bytes);
            table
                .insert(key(&name).to_string().as_str(), &*row)
                .unwrap();
            events
                .insert(revision, &*first_event(&name, &bytes))
                .unwrap();
            all.push((name, revision, bytes));
        }
        let mut numbers = transaction.open_table(NUMBERS).unwrap();
        let revision = objects as u64 + 1;
        for (name, value) in [("layout", 1), ("revision", revision), ("compacted", 1)] {
            numbers.insert(name, value).unwrap();
        }
    }
    transaction.commit().unwrap();
    all
}

/// An update of an object that had no labels and one field.
fn first_event(name: &str, object: &[u8]) -> Vec<u8> {
    let mut row = vec![1];
    row.extend(0u64.to_le_bytes());
    let text = |row: &mut Vec<u8>, text: &[u8]| {
        row.extend((text.len() as u32).to_le_bytes());
        row.extend(text);
    };
    text(&mut row, key(name).to_string().as_bytes());
    row.push(2);
    row.extend(0u32.to_le_bytes());
    row.extend(1u32.to_le_bytes());
    text(&mut row, b"field");
    text(&mut row, b"value");
    text(&mut row, b"before");
    row.extend(object);
    row
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_packed() {
    let folder = tempfile::tempdir().unwrap();
    let all = first_layout(&folder, 500);
    let path = folder.path().join("store");
    let before = fs::metadata(&path).unwrap().len();
    let store = Store::open(options(&folder, 1000)).unwrap();
    assert_eq!(seen(&store), all);
    assert_eq!(store.revision(), 501);
    let (kept, len) = kept(&store);
    assert!(kept * 2 < len, "{kept} of {len}");
    let mut watch = store.watch(&bucket(), 1).unwrap();
    for (name, revision, bytes) in &all {
        let change = tokio::time::timeout(DEADLINE, watch.next())
            .await
            .unwrap()
            .unwrap();
        let entry = &change.entry;
        assert_eq!(
            (entry.key.name(), entry.revision),
            (name.as_str(), *revision)
        );
        assert_eq!(entry.object.unpack(), bytes);
        let previous = change.previous.as_ref().unwrap();
        assert_eq!(previous.attributes.field("field"), Some("value"));
        assert_eq!(previous.object.as_ref().unwrap().unpack(), "before");
    }
    assert_eq!(put(&store, "next", Expect::Absent).await, Ok(502));
    drop(watch);
    close(store).await;
    let store = reopen(&folder, 1000).await;
    assert_eq!(seen(&store).len(), 501);
    let after = fs::metadata(&path).unwrap().len();
    assert!(after * 2 < before, "{after} of {before}");
}

/// The disk fails at each step: the file is wholly of the one layout or of the other.
#[tokio::test]
async fn a_disk_that_fails_while_a_file_is_packed_loses_nothing() {
    let mut failed = 0;
    for failing in (0..8).chain((8..300).step_by(29)) {
        let folder = tempfile::tempdir().unwrap();
        let all = first_layout(&folder, 60);
        let control = Arc::new(Control::default());
        control.fail_after(failing);
        match Store::open_on(options(&folder, 100), control.medium(1)) {
            Ok(store) => close(store).await,
            Err(OpenError::Io { .. }) => failed += 1,
            Err(cause) => panic!("after {failing} steps: {cause}"),
        }
        control.heal();
        let store = reopen(&folder, 100).await;
        assert_eq!(seen(&store), all, "after {failing} steps");
    }
    assert!(failed > 0);
}

#[test]
fn a_later_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    first_layout(&folder, 1);
    let database = Database::open(folder.path().join("store")).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut numbers = transaction.open_table(NUMBERS).unwrap();
    numbers.insert("layout", 3).unwrap();
    drop(numbers);
    transaction.commit().unwrap();
    drop(database);
    let refused = Store::open(options(&folder, 50)).unwrap_err();
    let OpenError::Layout {
        found: 3,
        expected: 2,
        ..
    } = refused
    else {
        panic!("{refused}");
    };
}
