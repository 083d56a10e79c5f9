//! Task: the names of the cluster, answered on each node.
//!
//! ```text
//! keeper  the process with rights: sockets, workers, what the kernel has of it
//! serve   queries in, replies out: sockets, limits, the pipeline
//! ```

pub mod keeper;
pub mod kernel;
mod options;
pub mod serve;

pub use options::{Options, Settings};
