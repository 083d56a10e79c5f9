//! Task: the single-machine cluster, from a command line to running processes.
//!
//! ```text
//!   flags + this machine ──► plan ──► cluster.json ──► pki, topology ──► supervisor ──► ready
//!                            pure     before all else   files, kernel     processes
//! ```

pub mod layout;
pub mod owner;
pub mod pki;
pub mod plan;
