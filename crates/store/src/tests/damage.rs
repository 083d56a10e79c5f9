//! Disks that refuse and files that were spoilt: said plainly, nothing lost without a word.

use std::{fs, path::Path, sync::atomic::Ordering};

use super::{
    medium::{Control, Dice},
    *,
};
use crate::{OpenError, disk::Medium};

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let control = Arc::new(Control::default());
    let store = Store::open_on(options(&folder, 100), control.medium(1)).unwrap();
    let start = store.revision();
    let first = put(&store, "a", Expect::Absent).await.unwrap();
    let mut watch = store.watch(&bucket(), first).unwrap();
    control.fail_after(0);
    for _ in 0..3 {
        let refused = put(&store, "b", Expect::Absent).await.unwrap_err();
        let text = refused.to_string();
        let file = folder.path().join("store").display().to_string();
        assert!(
            text.contains(&file) && text.contains("No space left"),
            "{text}"
        );
    }
    assert_eq!(
        (names(&store), store.revision()),
        (vec!["a".to_owned()], first)
    );
    control.heal();
    put(&store, "b", Expect::Absent).await.unwrap();
    assert_eq!(next(&mut watch, 1).await, ["+b"]);
    assert_eq!(names(&store), ["a", "b"]);
    let mut resumed = store.watch(&bucket(), start).unwrap();
    assert_eq!(next(&mut resumed, 2).await, ["+a", "+b"]);
}

/// The disk fails at every step of a commit, for one, two or all further steps.
#[tokio::test]
async fn a_disk_that_fails_within_a_commit_loses_nothing() {
    for (failing, healed_after) in (0..12).flat_map(|at| [(at, false), (at, true)]) {
        let folder = tempfile::tempdir().unwrap();
        let control = Arc::new(Control::default());
        let store = Store::open_on(options(&folder, 100), control.medium(1)).unwrap();
        let first = put(&store, "a", Expect::Absent).await.unwrap();
        let mut watch = store.watch(&bucket(), first).unwrap();
        control.fail_after(failing);
        let written = put(&store, "b", Expect::Absent).await;
        if healed_after {
            control.heal();
        }
        // Reads go on, and show nothing that was refused unless it turned out to be done.
        assert!(names(&store).contains(&"a".to_owned()));
        control.heal();
        let second = put(&store, "b", Expect::Absent).await;
        match (&written, &second) {
            (Ok(_), Err(WriteError::Exists { .. })) | (Err(_), Ok(_)) => {}
            (Err(WriteError::Disk { .. }), Err(WriteError::Exists { .. })) => {}
            other => panic!("failing after {failing} steps: {other:?}"),
        }
        put(&store, "c", Expect::Absent).await.unwrap();
        assert_eq!(next(&mut watch, 2).await, ["+b", "+c"]);
        let revision = store.revision();
        drop(store);
        drop(watch);
        let store = reopen(&folder, 100).await;
        assert_eq!(names(&store), ["a", "b", "c"]);
        assert_eq!(store.revision(), revision);
    }
}

/// A file with some objects, closed or as a kill leaves it.
async fn spoilable(folder: &TempDir, closed: bool) -> Vec<u8> {
    let store = Store::open_on(options(folder, 30), Medium::file()).unwrap();
    for number in 0..60 {
        put(&store, &format!("n{number}"), Expect::Absent)
            .await
            .unwrap();
    }
    let path = folder.path().join("store");
    if !closed {
        return fs::read(path).unwrap();
    }
    drop(store);
    drop(reopen(folder, 30).await);
    drop(reopen(folder, 30).await);
    loop {
        // The writer thread closes the file soon after the last handle is gone.
        match Store::open(options(folder, 30)) {
            Err(OpenError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(2)).await,
            Ok(_) => return fs::read(path).unwrap(),
            Err(cause) => panic!("{cause}"),
        }
    }
}

/// Opens a spoilt file: what it holds, or the refusal.
fn open_spoilt(path: &Path, folder: &TempDir) -> Result<Vec<String>, OpenError> {
    let store = Store::open(Options {
        path: path.to_owned(),
        ..options(folder, 30)
    })?;
    let mut names = names(&store);
    names.sort();
    assert!(store.watch(&bucket(), store.revision()).is_ok());
    Ok(names)
}

#[tokio::test]
async fn a_changed_byte_is_found_or_does_not_matter() {
    for closed in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let whole = spoilable(&folder, closed).await;
        let path = folder.path().join("spoilt");
        fs::write(&path, &whole).unwrap();
        let all = open_spoilt(&path, &folder).unwrap();
        assert_eq!(all.len(), 60);
        let mut refused = 0;
        let mut dice = Dice(7);
        // Every byte of the header, then any bytes.
        let places = (0..344).chain((0..250).map(|_| dice.below(whole.len() as u64) as usize));
        for at in places.collect::<Vec<_>>() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::remove_file(&path).unwrap();
            fs::write(&path, &bytes).unwrap();
            match open_spoilt(&path, &folder) {
                Ok(found) => assert_eq!(found, all, "byte {at}, closed {closed}"),
                Err(cause) => {
                    let text = cause.to_string();
                    assert!(matches!(cause, OpenError::Damaged { .. }), "{at}: {text}");
                    assert!(text.contains(path.to_str().unwrap()), "{text}");
                    assert!(text.contains("restore it from a copy"), "{text}");
                    assert_eq!(fs::read(&path).unwrap(), bytes, "it was changed, byte {at}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 344, "{refused}");
    }
}

#[tokio::test]
async fn a_file_cut_short_is_refused() {
    for closed in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let whole = spoilable(&folder, closed).await;
        let path = folder.path().join("spoilt");
        let mut dice = Dice(3);
        let cuts = [0, 1, 9, 100, 343, 344, 4096, 8192].into_iter();
        let cuts =
            cuts.chain((0..60).map(|_| dice.below(whole.len() as u64 / 4096) as usize * 4096));
        for len in cuts.collect::<Vec<_>>() {
            fs::write(&path, &whole[..len]).unwrap();
            match open_spoilt(&path, &folder) {
                Err(OpenError::Damaged { .. }) => {}
                Ok(found) => assert_eq!(found.len(), 60, "cut at {len}, closed {closed}"),
                Err(cause) => panic!("cut at {len}: {cause}"),
            }
            assert!(len > 344 || open_spoilt(&path, &folder).is_err(), "{len}");
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn what_is_no_store_is_refused_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    for (content, said) in [
        ("", "it is empty"),
        ("hello", "it does not begin as a store does"),
        ("redb", "it ends within its header"),
    ] {
        fs::write(&path, content).unwrap();
        let text = Store::open(options(&folder, 1)).unwrap_err().to_string();
        assert!(text.contains(said) && text.contains("/store:"), "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let text = Store::open(options(&folder, 1)).unwrap_err().to_string();
    assert!(text.contains("it is a directory"), "{text}");
}

#[test]
fn a_store_that_was_never_finished_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("store.new"), "half").unwrap();
    let store = Store::open(options(&folder, 1)).unwrap();
    assert_eq!(names(&store), [""; 0]);
    assert!(!folder.path().join("store.new").exists());
}

#[tokio::test]
async fn a_full_disk_at_the_start_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let control = Arc::new(Control::default());
    control.fail_after(0);
    let refused = Store::open_on(options(&folder, 1), control.medium(1)).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("No space left") && text.contains("make room"),
        "{text}"
    );
    control.heal();
    let store = Store::open_on(options(&folder, 1), control.medium(1)).unwrap();
    put(&store, "a", Expect::Absent).await.unwrap();
    assert!(control.count.load(Ordering::SeqCst) > 0);
}
