//! What a node last knew, on disk: what a worker answers from that finds no API server.
//!
//! ```text
//! keeper ── makes the folder, opens it ──► worker, an ordinary user
//!                                            │ start: reads `names`; no word from the API server within a second:
//!                                            │        answers from it, until there is one
//!                                            └ later: once all is known, and again after changes:
//!                                                     names.PID ── written, flushed ──► renamed to `names`
//! ```
//!
//! Whoever writes takes a part after the other, so that questions never wait for more than some; what
//! changes in between is in the file as it was before or after, and the next one follows. The pause between two is a
//! multiple of the time that one takes, and as long as its bytes need at a rate that no disk minds, so that no cluster
//! is too large for it.
//!
//! A journal of changes was left out: it would be written on each node for each change in the cluster, and a
//! file of all is some four megabytes with 10,000 Services and 100,000 endpoints.

mod file;
mod folder;
mod keep;

pub use file::{Known, Writer, read, sealed};
pub use folder::Folder;
pub use keep::{Knowledge, keep};
