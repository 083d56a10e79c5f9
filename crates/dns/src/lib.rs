//! Task: the names of the cluster, answered on each node.
//!
//! ```text
//! serve   queries in, replies out: sockets, limits, the pipeline
//! ```

pub mod serve;
