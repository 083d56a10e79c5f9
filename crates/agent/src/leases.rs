//! Which container has which addresses, in memory and on disk.
//!
//! [`Book`] decides and is plain memory. [`file`] makes it durable: no answer
//! about a lease leaves this process before the lease is on disk, and an
//! address is free on disk before anybody is told so.

mod book;
pub mod file;

pub use book::{Book, Key, Lease, LeaseError, PodRef};
