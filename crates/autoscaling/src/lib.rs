//! Decisions: how many pods a HorizontalPodAutoscaler wants.
//!
//! ```text
//!  pods, what they take ──> wanted by each metric ──> the most ──> steadied by what was wanted lately
//!                              (replicas)                             (behavior)  ──> limited in speed
//!                                                                     and by minReplicas, maxReplicas
//! ```
//!
//! It is the algorithm of kube-controller-manager's `horizontal-pod-autoscaler-controller`
//! ("Horizontal Pod Autoscaling, Algorithm details"), in the same steps, roundings and words, so
//! that what is known of it holds. Times are milliseconds of one clock and come in as arguments.
#![warn(missing_docs)]

mod behavior;
mod decide;
mod memory;
mod metric;
mod replicas;

pub use behavior::{Behavior, Policy, PolicyKind, Rules, Select};
pub use decide::{Autoscaler, Condition, Decision, Note, Observed, Scale, decide, rescaled};
pub use memory::Memory;
pub use metric::{Current, Metric, Target};
pub use replicas::{Container, Phase, Pod, Reading, Ready, Tolerance};
