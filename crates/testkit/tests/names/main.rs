//! Names of a cluster, asked for by resolvers that we did not write, in pods and on nodes.
//!
//! One cluster of both families for all of it. What each record must be is told by the crate that decides it
//! (crates/zone); here it is what comes out of a pod's own resolver: glibc's, musl's, dig's and dnspython's.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod restarts;
mod shop;
mod survival;

use sealane_testkit::{Shared, UpOptions};

/// The cluster of all tests of this file.
fn cluster() -> Shared {
    Shared::with(|| UpOptions::default().flag("--ip-family", "dual"))
}
