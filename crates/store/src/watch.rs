//! Watching one bucket from a revision on.
//!
//! A watch subscribes first and reads the log afterwards, so no event falls between: what both
//! tell is dropped by its revision. A watcher that is too slow for the ring it reads from does
//! not lose its place: it goes back to the log.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::broadcast::{self, error::RecvError};

use crate::{Bucket, Change, Store, WatchError};

/// Changes of one bucket, each once and in order.
#[derive(Debug)]
pub struct Watch {
    store: Store,
    bucket: Bucket,
    /// The newest revision that was told, or where the watch began.
    since: u64,
    /// Read from the log, still to be told.
    backlog: VecDeque<Arc<Change>>,
    live: broadcast::Receiver<Arc<Change>>,
}

impl Watch {
    pub(crate) fn start(
        store: Store,
        bucket: Bucket,
        since: u64,
        live: broadcast::Receiver<Arc<Change>>,
        newest: u64,
    ) -> Result<Self, WatchError> {
        let mut watch = Self {
            store,
            bucket,
            since,
            backlog: VecDeque::new(),
            live,
        };
        if since < newest {
            watch.read_log()?;
        }
        Ok(watch)
    }

    /// The next change. Dropping the future loses none.
    ///
    /// # Errors
    ///
    /// [`WatchError::Compacted`] when the watcher fell behind what the log keeps,
    /// [`WatchError::Disk`] when the log cannot be read, [`WatchError::Closed`] at the end.
    pub async fn next(&mut self) -> Result<Arc<Change>, WatchError> {
        loop {
            if let Some(change) = self.backlog.pop_front() {
                self.since = change.entry.revision;
                return Ok(change);
            }
            match self.live.recv().await {
                Ok(change) if change.entry.revision <= self.since => {}
                Ok(change) => self.backlog.push_back(change),
                Err(RecvError::Lagged(_)) => {
                    // What the ring still holds is in the log as well.
                    self.live = self.live.resubscribe();
                    self.read_log()?;
                }
                Err(RecvError::Closed) => return Err(WatchError::Closed),
            }
        }
    }

    /// A revision up to which this watcher was told everything, for a bookmark; `None` while
    /// changes wait to be told.
    pub fn progress(&self) -> Option<u64> {
        if !self.backlog.is_empty() {
            return None;
        }
        let revision = self.store.settled(|| self.live.is_empty())?;
        Some(revision.max(self.since))
    }

    fn read_log(&mut self) -> Result<(), WatchError> {
        self.backlog = self.store.history(&self.bucket, self.since)?;
        Ok(())
    }
}
