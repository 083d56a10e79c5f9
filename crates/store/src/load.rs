//! The start: what the disk shows is described by another thread while the disk is read on.
//!
//! ```text
//!   disk ──► objects, in groups (at most 4 wait) ──► thread: describe ──► entries
//! ```
//!
//! Both take about as long. Rejected: several threads that describe, since the one that reads is
//! then the slower by far.

use std::{sync::mpsc, thread};

use bytes::Bytes;

use crate::{
    Entry, Key, OpenError,
    disk::{Disk, Position},
    store::Describe,
};

/// Objects that go to the other thread together.
const GROUP: usize = 256;
/// Groups that wait there.
const WAITING: usize = 4;

type Group = Vec<(Key, u64, Bytes)>;

/// Opens the disk by `open`, which shows every object; with all of them as entries.
pub(crate) fn load(
    describe: &Describe,
    open: impl FnOnce(&mut dyn FnMut(Key, u64, &[u8])) -> Result<(Disk, Position), OpenError>,
) -> Result<(Disk, Position, Vec<Entry>), OpenError> {
    let (full, groups) = mpsc::sync_channel::<Group>(WAITING);
    thread::scope(|scope| {
        let described = scope.spawn(move || {
            let all = groups.into_iter().flatten();
            all.map(|(key, revision, object)| Entry {
                attributes: describe(&key, &object),
                key,
                revision,
                object,
            })
            .collect::<Vec<_>>()
        });
        let mut group = Group::with_capacity(GROUP);
        let opened = open(&mut |key, revision, object| {
            group.push((key, revision, Bytes::copy_from_slice(object)));
            if group.len() == GROUP {
                // It takes all until this end is dropped.
                let _ = full.send(std::mem::replace(&mut group, Group::with_capacity(GROUP)));
            }
        });
        let _ = full.send(group);
        drop(full);
        let entries = match described.join() {
            Ok(entries) => entries,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let (disk, position) = opened?;
        Ok((disk, position, entries))
    })
}
