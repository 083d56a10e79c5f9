//! Kills and losses of power at every moment, on a disk that is played back.
//!
//! A kill leaves every write up to some moment. A loss of power leaves what was synced, and of
//! the writes since then any part: a write that was lost, one of which only some sectors arrived.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

use super::{
    medium::{Control, Dice, Step},
    *,
};

const WRITES: usize = 40;
const SECTOR: usize = 512;

/// A story on a disk: every step, and after how many of them the store acknowledged what.
struct Story {
    steps: Vec<Step>,
    acknowledged: Vec<(usize, BTreeMap<String, u64>)>,
}

async fn tell(boot: u64) -> Story {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::recording();
    let store = Store::open_on(options(&folder, 20), control.medium(boot)).unwrap();
    let (mut state, mut acknowledged) = (BTreeMap::new(), Vec::new());
    let steps = || control.steps.as_ref().unwrap().lock().unwrap().clone();
    for number in 0..WRITES {
        let name = format!("n{}", number % 7);
        match state.get(&name).copied() {
            Some(revision) if number % 5 == 0 => {
                delete(&store, &name, revision).await.unwrap();
                state.remove(&name);
            }
            Some(revision) => {
                let revision = put_long(&store, &name, Expect::Revision(revision)).await;
                state.insert(name, revision);
            }
            None => {
                let revision = put_long(&store, &name, Expect::Absent).await;
                state.insert(name, revision);
            }
        }
        acknowledged.push((steps().len(), state.clone()));
    }
    Story {
        steps: steps(),
        acknowledged,
    }
}

/// An object that takes more than one page.
async fn put_long(store: &Store, name: &str, expect: Expect) -> u64 {
    let mut template = template(name);
    template.tail = vec![b'x'; 5000];
    let attributes = Attributes::new([("name", name)], []);
    let put = store.put(key(name), expect, template, attributes);
    put.await.unwrap().revision
}

/// Does these steps to a file that is empty at first.
fn play(path: &Path, steps: impl Iterator<Item = Step>) {
    let file = File::create(path).unwrap();
    for step in steps {
        match step {
            Step::Write(offset, bytes) => file.write_all_at(&bytes, offset).unwrap(),
            Step::Len(len) => file.set_len(len).unwrap(),
            Step::Sync => {}
        }
    }
}

/// Opens what is left and compares it with what was acknowledged after `done` steps.
fn check(path: &Path, folder: &TempDir, boot: u64, story: &Story, done: usize, what: &str) {
    let opened = Store::open_on(
        Options {
            path: path.to_owned(),
            ..options(folder, 20)
        },
        Control::default_medium(boot),
    );
    let store = opened.unwrap_or_else(|cause| panic!("{what}: {cause}"));
    let found: BTreeMap<String, u64> = store
        .list(&bucket(), None, |_| true)
        .entries
        .iter()
        .map(|entry| (entry.key.name().to_owned(), entry.revision))
        .collect();
    // Before the first acknowledgement there was nothing; the write under way may be done.
    let before = story.acknowledged.iter().rposition(|(at, _)| *at <= done);
    let next = story.acknowledged.get(before.map_or(0, |at| at + 1));
    let states = [
        before.map_or(BTreeMap::new(), |at| story.acknowledged[at].1.clone()),
        next.map(|(_, state)| state.clone()).unwrap_or_default(),
    ];
    assert!(states.contains(&found), "{what}: found {found:?}");
    let log = store.watch(&bucket(), store.revision());
    assert!(log.is_ok(), "{what}: {log:?}");
}

impl Control {
    fn default_medium(boot: u64) -> crate::disk::Medium {
        Arc::new(Self::default()).medium(boot)
    }
}

/// The first step after which the file is complete, so that it has come to its place.
fn made(story: &Story) -> usize {
    let syncs = story.steps.iter().enumerate();
    let mut syncs = syncs.filter(|(_, step)| matches!(step, Step::Sync));
    // Two when the file is begun, one when it is open, one of the tables.
    let (first_commit, _) = syncs.nth(3).unwrap();
    assert!(first_commit < story.acknowledged[0].0);
    first_commit + 1
}

#[tokio::test]
async fn a_kill_between_any_two_writes_loses_nothing() {
    let story = tell(1).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy");
    for done in made(&story)..=story.steps.len() {
        play(&path, story.steps[..done].iter().cloned());
        let what = format!("killed after step {done}");
        check(&path, &folder, 1, &story, done, &what);
        fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn a_loss_of_power_at_any_moment_loses_nothing() {
    let story = tell(1).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy");
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let first = made(&story) as u64;
        let done = (first + dice.below(story.steps.len() as u64 - first)) as usize;
        let synced = story.steps[..done]
            .iter()
            .rposition(|step| matches!(step, Step::Sync))
            .map_or(0, |at| at + 1);
        let kept = story.steps[..synced].iter().cloned();
        let lost = story.steps[synced..done].iter().cloned();
        play(&path, kept);
        let file = File::options().write(true).open(&path).unwrap();
        for step in lost {
            tear(&file, step, &mut dice);
        }
        let what = format!("power lost after step {done}, seed {seed}");
        check(&path, &folder, 2, &story, done, &what);
        fs::remove_file(&path).unwrap();
    }
}

/// Does a part of a step that was not synced: nothing, all, or some of its sectors.
fn tear(file: &File, step: Step, dice: &mut Dice) {
    match (step, dice.below(3)) {
        (_, 0) | (Step::Sync, _) => {}
        (Step::Len(len), _) => file.set_len(len).unwrap(),
        (Step::Write(offset, bytes), 1) => file.write_all_at(&bytes, offset).unwrap(),
        (Step::Write(offset, bytes), _) => {
            for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                if dice.below(2) == 0 {
                    let at = offset + (number * SECTOR) as u64;
                    file.write_all_at(sector, at).unwrap();
                }
            }
        }
    }
}
