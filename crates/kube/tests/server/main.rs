//! The client against an API server that answers by a script.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod events;
mod scripted;
mod watch;
