//! Errors, one variant for each decision that a caller can take.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::Key;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the file.
    #[error(
        "open store {path}: another process has it open; stop the other API server of this cluster first"
    )]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is no store, or parts of it are wrong.
    #[error(
        "open store {path}: the file is damaged: {cause}; it was left as it is: restore it from a copy, or move it away to start with an empty cluster"
    )]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
    /// The file was written by a version that lays it out differently.
    #[error(
        "open store {path}: its layout is version {found}, this program reads version {expected}"
    )]
    Layout {
        /// The store's file.
        path: PathBuf,
        /// The version found in it.
        found: u64,
        /// The version that this program writes.
        expected: u64,
    },
    /// The file cannot be read or made.
    #[error("open store {path}: {cause}; {next}")]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        cause: String,
        /// What to do about it.
        next: &'static str,
    },
}

impl OpenError {
    pub(crate) fn damaged(path: &Path, cause: impl Into<String>) -> Self {
        let (path, cause) = (path.to_owned(), cause.into());
        Self::Damaged { path, cause }
    }

    pub(crate) fn unreadable(path: &Path, key: &Key) -> Self {
        Self::damaged(path, format!("the row of {key} cannot be read"))
    }
}

/// Why a write did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It was to be created but is there.
    #[error("create {key}: it exists")]
    Exists {
        /// The object.
        key: Key,
    },
    /// It was to be changed but is not there.
    #[error("change {key}: it does not exist")]
    Absent {
        /// The object.
        key: Key,
    },
    /// It was changed by somebody else meanwhile.
    #[error("change {key}: expected revision {expected}, it is at {found}")]
    Conflict {
        /// The object.
        key: Key,
        /// The revision that the change was based on.
        expected: u64,
        /// The revision that it has.
        found: u64,
    },
    /// The disk did not take it. Nothing was changed in memory; on disk it may or may not have
    /// happened, which shows as soon as the store can be read again.
    #[error("commit to store {path}: {cause}", path = path.display())]
    Disk {
        /// The store's file.
        path: Arc<Path>,
        /// What the disk or the file said.
        cause: String,
    },
    /// The store is being closed.
    #[error("commit to store: it is closed")]
    Closed,
}

/// Why a watch cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The events after `since` are no longer in the log.
    #[error("too old resource version: {since} ({compacted})")]
    Compacted {
        /// Where the watch wanted to start.
        since: u64,
        /// The newest event that is gone.
        compacted: u64,
    },
    /// The event log cannot be read.
    #[error("read the event log in store {path}: {cause}", path = path.display())]
    Disk {
        /// The store's file.
        path: Arc<Path>,
        /// What the disk or the file said.
        cause: String,
    },
    /// The store is closed: there will be no more events.
    #[error("the store is closed")]
    Closed,
}
