//! Jobs: pods that do a piece of work and end.
//!
//! ```text
//!  pods ──> tally ──> end? ──no──> pods to make or delete, after a pause that doubles with each failure
//!            │          └──yes─> FailureTarget or SuccessCriteriaMet, active pods deleted,
//!            │                   then, when nothing of it runs: Failed or Complete
//!            v
//!  a pod ends ──> its uid stands in `status.uncountedTerminatedPods` ──> its finalizer goes
//!             ──> its uid leaves the status, and the number grows by one
//! ```
//!
//! A pod of a Job has the finalizer `batch.kubernetes.io/job-tracking`, so whoever deletes it, it is there
//! until it has been counted, and each step of the count can be repeated: what stands in the status
//! and what finalizers are there say how far it had come. Writes of the status name the version that they
//! were made from. Rules, words and times are those of kube-controller-manager.

mod backoff;
mod end;
mod indexes;
mod plan;
mod pod;
mod policy;
mod spec;
mod tally;
#[cfg(test)]
mod tests;

pub use plan::{Known, New, plan};
pub use spec::Job;
