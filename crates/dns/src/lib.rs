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
//! state       what the node last knew, on disk
//! watch       what the API server tells, into the zone
//! worker      the process without rights: answers
//! ```

pub mod configure;
#[doc(hidden)]
pub mod fuzzing;
pub mod keeper;
pub mod kernel;
pub mod lookup;
mod options;
pub mod pipeline;
pub mod probes;
pub mod query_log;
pub mod serve;
mod state;
mod watch;
mod worker;

pub use options::{Options, Settings};

/// Runs this node's DNS server: its keeper, or, when sockets are handed over, a worker.
///
/// `args` is the command line behind the program's name.
///
/// # Errors
/// Settings that cannot be used, rights that are missing, addresses that somebody else has.
pub fn run(mut options: Options, args: Vec<std::ffi::OsString>) -> anyhow::Result<()> {
    let inherited = std::mem::take(&mut options.inherit);
    let settings = options.resolve()?;
    if inherited.is_empty() {
        keeper::run(&settings, args)
    } else {
        worker::run(settings, inherited)
    }
}
