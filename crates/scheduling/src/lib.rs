//! Decisions: which node a pod gets, and why it gets none.
//!
//! ```text
//!  nodes ─────┐                ┌─ rules: which nodes are out of the question, and why
//!  pods ──────┼──> Board ──────┤
//!  namespaces ┘   (counts)     └─ wishes: which of the others is best, 0 to 100 each, weighed
//! ```
//!
//! The [`Board`] is told what stands where; [`Board::choose`] answers for one pod. The rules and
//! wishes are those of kube-scheduler 1.36 with its default plugins and weights, one file for
//! each idea, and a refusal is in its words:
//!
//! | file | rule | wish (weight) |
//! |---|---|---|
//! | `taints` | cordon, `NoSchedule`, `NoExecute` | `PreferNoSchedule` (3) |
//! | `node_affinity` | selector, required affinity | preferred affinity (2) |
//! | `host_ports` | a port of the node is taken once | |
//! | `room` | requests fit into what is free | least allocated (1), balanced (1) |
//! | `spread` | `DoNotSchedule` | `ScheduleAnyway`, or the default spreading (2) |
//! | `pod_affinity` | required, and that of pods that stand already | preferred, of both sides (2) |
//!
//! **Classes.** Pods that are alike in namespace, labels and demand are one class, and a class knows how many
//! of its pods stand on each node. Rules about other pods ask each class once instead of each pod,
//! so five thousand pods of ten templates cost as much as ten.
//!
//! Where it differs: every node is looked at (kube-scheduler samples large clusters), of
//! equally good nodes the one with the fewest pods and then the first by name is taken instead
//! of a random one, so that the same cluster gives the same answer, and images count for nothing.
//!
//! A pod that is refused may push others aside: [`Board::make_room`] says whom.
#![warn(missing_docs)]

mod board;
mod choose;
mod class;
mod host_ports;
mod node_affinity;
mod normal;
mod pod_affinity;
mod preempt;
mod refusal;
mod room;
mod spread;
mod taints;

pub use board::{Board, NodeFacts};
pub use class::{ClassId, Traits};
pub use preempt::{Room, Standing};
pub use refusal::{Attempt, Happening, Refusal};
pub use room::{Shortage, shortages};
