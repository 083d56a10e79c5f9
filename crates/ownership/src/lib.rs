//! Decisions: who owns which field of an object, and what an applied configuration makes of it.
//!
//! Server-side apply lets several managers write one object: each says what it wants and nothing
//! else, and the server keeps, in `metadata.managedFields`, who said what.
//!
//! ```text
//!  apply   configuration ──► merge into the live object
//!                            what the manager applied before and leaves out now goes,
//!                              unless another manager owns it
//!                            a field that another manager owns and that changes: a conflict,
//!                              or, if the manager insists, taken from that other one
//!  update  old, new ───────► what was changed or added is the writer's and nobody else's;
//!                            what was removed is nobody's
//! ```
//!
//! Everything is as `structured-merge-diff` v6 does it for kube-apiserver, so that managed fields
//! and conflicts read the same. How a value merges is told by a [`Shape`]: the server has one for
//! its own kinds and one for custom ones. Objects are JSON values in one version of the API; a
//! manager that wrote in another version keeps the same paths.

mod apply;
mod check;
mod compare;
mod conflict;
mod element;
mod entries;
mod fields;
mod fields_v1;
mod last_applied;
mod list;
mod managers;
mod merge;
mod prune;
mod remove;
mod set;
mod shape;
#[cfg(test)]
mod testing;
mod update;

pub use apply::{Applied, ApplyError, apply};
pub use compare::{Change, compare};
pub use conflict::{Conflict, Conflicts};
pub use element::Element;
pub use entries::EntriesError;
pub use fields::fields;
pub use last_applied::LAST_APPLIED;
pub use managers::{Manager, Managers, Operation, Writer};
pub use set::FieldSet;
pub use shape::{Form, Listing, Member, Of, Scalar, Shape};
pub use update::update;
