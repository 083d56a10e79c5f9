//! The start: what the disk shows is unpacked and described by other threads while the disk is
//! read on.
//!
//! ```text
//!   disk ──► objects, in groups (at most 4 wait) ──► a thread for each processor: unpack, describe ──► entries
//! ```
//!
//! Describing takes several times as long as reading, since objects are packed.

use std::{
    num::NonZero,
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use crate::{
    Entry, Key, OpenError, Packed,
    disk::{Disk, Position},
    store::Describe,
};

/// Objects that go to the other threads together.
const GROUP: usize = 256;
/// Groups that wait there.
const WAITING: usize = 4;
/// Threads that describe.
const AT_MOST: usize = 8;

type Object = (Key, u64, Packed);
/// Objects, with the place of the group among all.
type Group = (usize, Vec<Object>);
/// What one thread has made: groups of entries, with their places.
type Described = Vec<(usize, Vec<Arc<Entry>>)>;

/// Opens the disk by `open`, which shows every object; with all of them as entries, in order.
pub(crate) fn load(
    path: &Path,
    describe: &Describe,
    open: impl FnOnce(&mut dyn FnMut(Key, u64, Packed)) -> Result<(Disk, Position), OpenError>,
) -> Result<(Disk, Position, Vec<Arc<Entry>>), OpenError> {
    let (full, groups) = mpsc::sync_channel(WAITING);
    // Only those that take hold it, so that nobody waits to send when they have ended.
    let groups = Arc::new(Mutex::new(groups));
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.min(AT_MOST))
            .map(|_| {
                let groups = groups.clone();
                scope.spawn(move || {
                    let waiting = std::iter::from_fn(|| take(&groups));
                    let described =
                        waiting.map(|(place, group)| Ok((place, entries(group, describe)?)));
                    described.collect::<Result<Described, Key>>()
                })
            })
            .collect();
        drop(groups);
        let mut places = 0..;
        let mut send = |group| {
            // They take all until this end is dropped, or one cannot be read.
            let _ = full.send((places.next().unwrap_or_default(), group));
        };
        let mut group = Vec::with_capacity(GROUP);
        let opened = open(&mut |key, revision, object| {
            group.push((key, revision, object));
            if group.len() == GROUP {
                send(std::mem::replace(&mut group, Vec::with_capacity(GROUP)));
            }
        });
        send(group);
        drop(full);
        let mut described = Described::new();
        for thread in threads {
            match thread.join() {
                Ok(groups) => {
                    described.extend(groups.map_err(|key| OpenError::unreadable(path, &key))?);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        let (disk, position) = opened?;
        described.sort_unstable_by_key(|(place, _)| *place);
        let entries = described.into_iter().flat_map(|(_, group)| group);
        Ok((disk, position, entries.collect()))
    })
}

fn take(groups: &Mutex<mpsc::Receiver<Group>>) -> Option<Group> {
    let groups = groups.lock().unwrap_or_else(PoisonError::into_inner);
    groups.recv().ok()
}

/// The key of the first that cannot be unpacked is an error.
fn entries(group: Vec<Object>, describe: &Describe) -> Result<Vec<Arc<Entry>>, Key> {
    let described = group.into_iter().map(|(key, revision, object)| {
        let Some(unpacked) = object.try_unpack() else {
            return Err(key);
        };
        Ok(Arc::new(Entry {
            attributes: describe(&key, &unpacked),
            key,
            revision,
            object,
        }))
    });
    described.collect()
}
