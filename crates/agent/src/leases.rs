//! Which container has which addresses, in memory and on disk.
//!
//! [`Book`] decides and is plain memory. [`mod@file`] makes it survive: no answer
//! about a lease leaves this process before the lease is in the file, and an
//! address is free in the file before anybody is told so.

mod book;
mod error;
pub mod file;
mod sources;

pub use book::{Book, Key, Lease, PodRef, Wanted};
pub use error::LeaseError;
pub use sources::{Block, Named, Source, joined};
