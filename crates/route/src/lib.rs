//! Decisions: the routes from one node to the pods of the others.
//!
//! ```text
//! nodes of the cluster ── compile ──► RouteTable ── diff ──► changes
//!                                                    ▲
//!                    routes with our number, as the kernel lists them
//! ```
//!
//! Each pod subnet of another node is reached through that node's internal
//! address of the same family. A route carries our protocol number and nothing
//! else is ever changed or removed. The link is left to the kernel, which finds
//! it from the gateway.
//!
//! The functions are total: a node that cannot be reached is left out and
//! named in [`RouteTable::problems`], and all others are served.
#![warn(missing_docs)]

mod compile;
mod diff;

pub use compile::{Problem, RouteTable, compile};
pub use diff::{Change, diff};
