//! Edge: the durable, revisioned store of the embedded API server.
//!
//! It keeps what an API server needs of etcd, and nothing more: objects under
//! `/GROUP/RESOURCE/NAMESPACE/NAME`, one revision counter for all of them, writes that compare
//! the revision they were based on, and a bounded log of events from which a watcher resumes.
//! It does not know what an object is: callers hand over encoded bytes and the labels and fields
//! that selectors ask for.
//!
//! ```text
//!   put / delete ──► queue (bounded) ──► writer thread ── one redb commit for all that waits ──► disk
//!        ▲                                    │ after the commit
//!        │ entry, or why not                  ├──► index (every object, encoded and packed once)
//!        └────────────────────────────────────┤
//!                                             └──► fan-out of each resource ──► watchers
//! ```
//!
//! * **Acknowledged means durable.** A write is answered after the commit that holds it; what
//!   waits meanwhile shares the next commit, so throughput grows with the number of writers.
//! * **What belongs together is written together** ([`Store::write`]): all of it or nothing.
//! * **Readers never touch the disk**: the index holds every object, [packed](Packed) as it is in
//!   the file. Only a watcher that resumes from the past, or that fell behind, reads the event log.
//! * **The index is the truth of what is committed.** A failed commit changes nothing in memory,
//!   each write in it is answered with the cause, and the next write reopens the file.
//!
//! A log in memory instead was rejected: it would have to be read back at each start for
//! watchers to resume, and it is the larger part of the memory of an idle server.

mod attributes;
mod dictionaries;
mod disk;
mod entry;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod key;
mod load;
mod log;
mod packed;
mod packer;
mod store;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

pub use attributes::Attributes;
pub use entry::{Change, ChangeKind, Entry, Form, Previous, Template};
pub use error::{OpenError, WatchError, WriteError};
pub use key::{Bucket, Key};
pub use packed::Packed;
pub use store::{Bounds, Describe, Expect, Listing, Options, Store, Write};
pub use watch::Watch;
