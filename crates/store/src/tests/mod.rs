//! The store as its users see it: order, conflicts, watches, restarts, disks that fail.

mod corpus;
mod damage;
mod growth;
mod medium;
mod packing;
mod power;

use std::{sync::Arc, time::Duration};

use tempfile::TempDir;

use crate::{
    Attributes, Bounds, Bucket, ChangeKind, Expect, Key, Options, Store, Template, Watch,
    WatchError, Write, WriteError,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn bucket() -> Bucket {
    Bucket::new("", "configmaps")
}

fn key(name: &str) -> Key {
    Key::new(&bucket(), "default", name)
}

fn options(folder: &TempDir, events: usize) -> Options {
    Options {
        path: folder.path().join("store"),
        bounds: Bounds {
            events,
            ..Bounds::default()
        },
        // An object is its name, a space, its revision.
        describe: Arc::new(|key, _| Attributes::new([("name", key.name())], [])),
    }
}

fn template(name: &str) -> Template {
    Template {
        head: format!("{name} ").into(),
        tail: Vec::new(),
    }
}

async fn put(store: &Store, name: &str, expect: Expect) -> Result<u64, WriteError> {
    let attributes = Attributes::new([("name", name)], []);
    let entry = store
        .put(key(name), expect, template(name), attributes)
        .await?;
    assert_eq!(entry.object.unpack(), format!("{name} {}", entry.revision));
    Ok(entry.revision)
}

async fn delete(store: &Store, name: &str, revision: u64) -> Result<u64, WriteError> {
    let deleted = store.delete(key(name), revision, template(name), Attributes::default());
    deleted.await.map(|entry| entry.revision)
}

fn names(store: &Store) -> Vec<String> {
    let listing = store.list(&bucket(), Some("default"), |_| true);
    listing
        .entries
        .iter()
        .map(|entry| entry.key.name().to_owned())
        .collect()
}

/// The next changes, as `+a` (created), `~a` (updated), `-a` (deleted).
async fn next(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..count {
        let change = tokio::time::timeout(DEADLINE, watch.next())
            .await
            .unwrap()
            .unwrap();
        let sign = match change.kind {
            ChangeKind::Created => '+',
            ChangeKind::Updated => '~',
            ChangeKind::Deleted => '-',
        };
        seen.push(format!("{sign}{}", change.entry.key.name()));
    }
    seen
}

#[tokio::test]
async fn writes_compare_revisions() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(&folder, 100)).unwrap();
    let first = put(&store, "a", Expect::Absent).await.unwrap();
    assert_eq!(
        put(&store, "a", Expect::Absent).await,
        Err(WriteError::Exists { key: key("a") })
    );
    let second = put(&store, "a", Expect::Revision(first)).await.unwrap();
    assert!(second > first);
    assert_eq!(
        put(&store, "a", Expect::Revision(first)).await,
        Err(WriteError::Conflict {
            key: key("a"),
            expected: first,
            found: second
        })
    );
    assert_eq!(
        put(&store, "b", Expect::Revision(1)).await,
        Err(WriteError::Absent { key: key("b") })
    );
    delete(&store, "a", second).await.unwrap();
    assert_eq!(
        delete(&store, "a", second).await,
        Err(WriteError::Absent { key: key("a") })
    );
    assert_eq!(store.get(&key("a")), None);
    assert_eq!(store.revision(), second + 1);
}

#[tokio::test]
async fn what_belongs_together_is_written_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(&folder, 100)).unwrap();
    let write =
        |name: &str, expect| Write::put(key(name), expect, template(name), Attributes::default());
    let both = vec![write("a", Expect::Absent), write("b", Expect::Absent)];
    let written = store.write(both).await.unwrap();
    assert_eq!(written[1].revision, written[0].revision + 1);
    let refused = store.write(vec![
        write("c", Expect::Absent),
        Write::delete(
            key("a"),
            written[0].revision,
            template("a"),
            Attributes::default(),
        ),
        write("b", Expect::Absent),
    ]);
    assert_eq!(refused.await, Err(WriteError::Exists { key: key("b") }));
    assert_eq!(names(&store), ["a", "b"]);
    assert_eq!(store.revision(), written[1].revision);
    drop(store);
    let store = reopen(&folder, 100).await;
    assert_eq!(names(&store), ["a", "b"]);
}

#[tokio::test]
async fn of_writes_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(&folder, 100)).unwrap();
    let first = put(&store, "a", Expect::Absent).await.unwrap();
    let writes = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { put(&store, "a", Expect::Revision(first)).await })
    });
    let mut won = 0;
    for write in writes.collect::<Vec<_>>() {
        won += usize::from(write.await.unwrap().is_ok());
    }
    assert_eq!((won, store.revision()), (1, first + 1));
}

#[tokio::test]
async fn a_restart_brings_everything_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(&folder, 100)).unwrap();
    let start = store.revision();
    put(&store, "a", Expect::Absent).await.unwrap();
    let b = put(&store, "b", Expect::Absent).await.unwrap();
    delete(&store, "b", b).await.unwrap();
    let revision = store.revision();
    close(store).await;

    let store = reopen(&folder, 100).await;
    assert_eq!(
        (store.revision(), names(&store)),
        (revision, vec!["a".to_owned()])
    );
    assert_eq!(
        store.get(&key("a")).unwrap().attributes.label("name"),
        Some("a")
    );
    let mut watch = store.watch(&bucket(), start).unwrap();
    assert_eq!(next(&mut watch, 3).await, ["+a", "+b", "-b"]);
    // Nothing that is left tells of the last change.
    let mut last = store.watch(&bucket(), b).unwrap();
    assert_eq!(next(&mut last, 1).await, ["-b"]);
    put(&store, "c", Expect::Absent).await.unwrap();
    assert_eq!(next(&mut watch, 1).await, ["+c"]);
}

/// Drops the last handle.
async fn close(store: Store) {
    drop(store);
}

/// The writer thread lets go of the file soon after the last handle is dropped.
async fn reopen(folder: &TempDir, events: usize) -> Store {
    let opened = async {
        loop {
            match Store::open(options(folder, events)) {
                Ok(store) => return store,
                Err(crate::OpenError::InUse { .. }) => {
                    tokio::time::sleep(Duration::from_millis(2)).await
                }
                Err(cause) => panic!("{cause}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, opened).await.unwrap()
}

#[tokio::test]
async fn watchers_see_their_bucket_only_and_each_change_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(&folder, 10_000)).unwrap();
    let mut early = store.watch(&bucket(), store.revision()).unwrap();
    let other = Key::new(&Bucket::new("", "pods"), "default", "p");
    store
        .put(other, Expect::Absent, template("p"), Attributes::default())
        .await
        .unwrap();
    let mut revision = put(&store, "a", Expect::Absent).await.unwrap();
    let middle = revision;
    // More than the ring of the fan-out holds: the early watcher falls behind and catches up.
    for _ in 0..600 {
        revision = put(&store, "a", Expect::Revision(revision)).await.unwrap();
    }
    let mut late = store.watch(&bucket(), middle).unwrap();
    let seen = next(&mut early, 601).await;
    assert_eq!((seen[0].as_str(), seen[600].as_str()), ("+a", "~a"));
    assert_eq!(next(&mut late, 600).await, vec!["~a"; 600]);
    assert_eq!(early.progress(), Some(revision));
    delete(&store, "a", revision).await.unwrap();
    assert_eq!(early.progress(), None);
    assert_eq!(next(&mut early, 1).await, ["-a"]);
}

#[tokio::test]
async fn a_forgotten_place_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(&folder, 5)).unwrap();
    let start = store.revision();
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        put(&store, name, Expect::Absent).await.unwrap();
    }
    let refused = store.watch(&bucket(), start).unwrap_err();
    assert_eq!(
        refused,
        WatchError::Compacted {
            since: start,
            compacted: start + 2
        }
    );
    let mut watch = store.watch(&bucket(), start + 2).unwrap();
    assert_eq!(next(&mut watch, 5).await, ["+c", "+d", "+e", "+f", "+g"]);
}
