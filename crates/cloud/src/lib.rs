//! Decisions: which addresses a machine in a cloud asks for, and which it gives back.
//!
//! ```text
//! Observed (interfaces, subnets, limits) ─┐
//! Usage (leases, pods that wait) ─────────┤
//! Targets (how many to keep warm) ────────┼─ plan ─► Plan ─► actions, one after another
//! Memory (what was refused, idle since) ──┤            └───► what stops us from more
//! clock ──────────────────────────────────┘
//! ```
//!
//! Nothing is remembered that could not be lost: what EC2 says and what is
//! leased is the whole truth, so a restart goes on where the last run was cut
//! off, an interface that was made and not yet attached included. [`Memory`]
//! only delays: it says how long a range has been idle and what EC2 has just
//! refused. A plan is level-triggered: whatever could not be done is in the
//! next one.
//!
//! An interface of ours goes through these states, each seen in EC2:
//!
//! ```text
//! (none) ─create─► available ─attach─► in-use ─keep no longer than the machine─► serving
//!    ▲                │  ▲                                                          │
//!    └────delete──────┘  └──────────────────────────detach──────────────────────────┘
//! ```
//!
//! Filling takes the first interface with room, giving back begins with the
//! last one, so that interfaces that are not needed get empty. What is given
//! back was idle for a while, so a pod that is replaced costs no request, and
//! it is withdrawn from leasing before it is given back.
#![warn(missing_docs)]

mod action;
mod barrier;
mod limit;
mod memory;
mod plan;
mod targets;

pub use action::Action;
pub use barrier::{Barrier, Barriers};
pub use limit::Limit;
pub use memory::Memory;
pub use plan::{Plan, plan};
pub use targets::{Targets, Usage};
