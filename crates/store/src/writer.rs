//! The writer: one thread that decides, commits and publishes writes in order.
//!
//! It takes whatever waits in the queue, checks each write against the state that those before it
//! will leave, commits all that pass in one transaction, and only then changes the index, tells
//! the watchers and answers. While it commits, the next batch gathers.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Change, ChangeKind, Describe, Entry, Expect, Key, Previous, Write, WriteError,
    disk::{Disk, Logged, Row},
    index::Index,
    log::{EventRow, PreviousRow},
    packed::Packed,
    packer::{Of, Packer},
};

/// Requests that share one commit at most.
const BATCH: usize = 512;

/// Writes that happen together or not at all, and where their answer goes.
pub(crate) struct Request {
    pub writes: Vec<Write>,
    pub reply: Reply,
}

type Reply = oneshot::Sender<Result<Vec<Arc<Entry>>, WriteError>>;

pub(crate) struct Writer {
    pub packer: Packer,
    pub disk: Arc<Disk>,
    pub index: Arc<RwLock<Index>>,
    pub describe: Describe,
    pub revisions: watch::Sender<u64>,
    pub queue: mpsc::Receiver<Request>,
}

/// What passed its checks.
struct Accepted {
    changes: Vec<Arc<Change>>,
    reply: Reply,
}

impl Writer {
    /// Runs until every handle of the store is gone.
    pub fn run(mut self) {
        let mut broken = None;
        let mut batch = Vec::new();
        while self.queue.blocking_recv_many(&mut batch, BATCH) > 0 {
            if broken.is_some() {
                broken = self.recover().err();
            }
            if let Some(cause) = &broken {
                let failure = self.failure(cause);
                batch
                    .drain(..)
                    .for_each(|request| answer(request.reply, Err(failure.clone())));
                continue;
            }
            let accepted = self.decide(batch.drain(..));
            if self.commit(accepted).is_err() {
                // At once, since watchers that resume read the same file.
                broken = self.recover().err();
            }
        }
    }

    fn failure(&self, cause: &dyn std::fmt::Display) -> WriteError {
        WriteError::Disk {
            path: self.disk.path().clone(),
            cause: cause.to_string(),
        }
    }

    /// Checks each request against the index and the requests before it.
    fn decide(&mut self, requests: impl Iterator<Item = Request>) -> Vec<Accepted> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut pending = Pending {
            index: &index,
            packer: &mut self.packer,
            revision: index.position.revision,
            entries: HashMap::new(),
        };
        let mut accepted = Vec::new();
        for Request { writes, reply } in requests {
            let refused = writes.iter().find_map(|write| pending.check(write).err());
            match refused {
                Some(refusal) => answer(reply, Err(refusal)),
                None => accepted.push(Accepted {
                    changes: writes
                        .into_iter()
                        .map(|write| pending.take(write))
                        .collect(),
                    reply,
                }),
            }
        }
        accepted
    }

    fn commit(&self, accepted: Vec<Accepted>) -> Result<(), redb::Error> {
        if accepted.is_empty() {
            return Ok(());
        }
        let time_ms = now_ms();
        let changes = || accepted.iter().flat_map(|request| &request.changes);
        let rows: Vec<Row<'_>> = changes().map(|change| row(change, time_ms)).collect();
        let position = match self.disk.commit(&rows, time_ms) {
            Ok(position) => position,
            Err(cause) => {
                tracing::error!(path = %self.disk.path().display(), %cause, "a commit to the store failed");
                let failure = self.failure(&cause);
                accepted
                    .into_iter()
                    .for_each(|request| answer(request.reply, Err(failure.clone())));
                return Err(cause);
            }
        };
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        changes().for_each(|change| index.apply(change.clone()));
        index.position = position;
        drop(index);
        self.revisions.send_replace(position.revision);
        for Accepted { changes, reply } in accepted {
            answer(
                reply,
                Ok(changes.iter().map(|change| change.entry.clone()).collect()),
            );
        }
        Ok(())
    }

    /// Opens the file anew after a failed commit, and takes in what that commit did after all: a
    /// disk may say "failed" of what it has written.
    fn recover(&self) -> Result<(), String> {
        self.disk.reopen().map_err(|cause| cause.to_string())?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut changes = Vec::new();
        let position = self
            .disk
            .events(
                index.position.revision,
                |_| true,
                |revision, event| changes.push(change(&self.describe, revision, event)),
            )
            .map_err(|cause| cause.to_string())?;
        changes.into_iter().for_each(|change| index.apply(change));
        index.position = position;
        drop(index);
        self.revisions.send_replace(position.revision);
        tracing::info!(revision = position.revision, "the store takes writes again");
        Ok(())
    }
}

/// A change as the log tells it.
pub(crate) fn change(describe: &Describe, revision: u64, event: Logged) -> Arc<Change> {
    let attributes = describe(&event.key, &event.unpacked);
    let entry = Arc::new(Entry {
        key: event.key,
        revision,
        attributes,
        object: event.object,
    });
    Change::new(event.kind, entry, event.previous)
}

fn row(change: &Change, time_ms: u64) -> Row<'_> {
    let previous = change.previous.as_ref().map(|previous| PreviousRow {
        attributes: previous.attributes.clone(),
        object: previous.object.as_ref().map(Packed::row),
    });
    let event = EventRow {
        kind: change.kind,
        time_ms,
        key: change.entry.key.clone(),
        previous,
        object: change.entry.object.row(),
    };
    Row {
        revision: change.entry.revision,
        event,
    }
}

/// The state that the writes before will leave.
struct Pending<'a> {
    index: &'a Index,
    packer: &'a mut Packer,
    revision: u64,
    entries: HashMap<Key, Option<Arc<Entry>>>,
}

impl Pending<'_> {
    fn current(&self, key: &Key) -> Option<&Arc<Entry>> {
        match self.entries.get(key) {
            Some(entry) => entry.as_ref(),
            None => self.index.get(key),
        }
    }

    fn check(&self, write: &Write) -> Result<(), WriteError> {
        check(write, self.current(&write.key))
    }

    fn take(&mut self, write: Write) -> Arc<Change> {
        self.revision += 1;
        let current = self.current(&write.key);
        let kind = match (write.delete, current) {
            (true, _) => ChangeKind::Deleted,
            (false, Some(_)) => ChangeKind::Updated,
            (false, None) => ChangeKind::Created,
        };
        let previous = current.map(|entry| Previous::of(entry, &write.attributes));
        let of = Of {
            bucket: write.key.bucket(),
            revision: self.revision,
            held: self.index.held(write.key.bucket()),
            compacted: self.index.position.compacted,
        };
        let object = write.template.fill(self.revision);
        let entry = Arc::new(Entry {
            object: self.packer.pack(&of, &object),
            key: write.key.clone(),
            revision: self.revision,
            attributes: write.attributes,
        });
        let left = (!write.delete).then(|| entry.clone());
        self.entries.insert(write.key, left);
        Change::new(kind, entry, previous)
    }
}

fn check(write: &Write, current: Option<&Arc<Entry>>) -> Result<(), WriteError> {
    let key = || write.key.clone();
    match (write.expect, current) {
        (Expect::Absent, None) => Ok(()),
        (Expect::Absent, Some(_)) => Err(WriteError::Exists { key: key() }),
        (Expect::Revision(_), None) => Err(WriteError::Absent { key: key() }),
        (Expect::Revision(expected), Some(entry)) if entry.revision == expected => Ok(()),
        (Expect::Revision(expected), Some(entry)) => Err(WriteError::Conflict {
            key: key(),
            expected,
            found: entry.revision,
        }),
    }
}

/// A caller that has gone away does not want to know.
fn answer(reply: Reply, with: Result<Vec<Arc<Entry>>, WriteError>) {
    let _ = reply.send(with);
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
