//! Task: the names of the cluster, answered on each node.
//!
//! ```text
//! configure   the Corefile in force, and its changes
//! keeper      the process with rights: sockets, workers, what the kernel has of it
//! lookup      what a pod would get for a name, and why
//! pipeline    from a question to its answer
//! probes      where it is looked whether names are answered
//! query_log   which queries are written down
//! serve       queries in, replies out: sockets and limits
//! ```

pub mod configure;
pub mod keeper;
pub mod kernel;
pub mod lookup;
mod options;
pub mod pipeline;
pub mod probes;
pub mod query_log;
pub mod serve;

pub use options::{Options, Settings};
