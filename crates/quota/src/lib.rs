//! Decisions: what LimitRanges and ResourceQuotas allow in a namespace.
//!
//! ```text
//!  new pod ──> limit_range::fill (defaults) ──> limit_range::check (min, max, ratio)
//!  new object ──> usage::of (what it takes) ──> ledger::charge (against hard and used) ──> used, or why not
//!  all objects of the namespace ──> ledger::count ──> used
//! ```
//!
//! Objects come as JSON, complete and checked, as the API server has them. Amounts, roundings and
//! words are those of kube-apiserver's admission plugins `LimitRanger` and `ResourceQuota`.
#![warn(missing_docs)]

mod amounts;
pub mod ledger;
pub mod limit_range;
mod pod;
mod scope;
pub mod usage;

pub use amounts::Amounts;
pub use pod::is_over;
