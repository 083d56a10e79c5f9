//! Task: the single-machine cluster, from a command line to running processes.
//!
//! ```text
//!   flags + this machine ──► plan ──► cluster.json ──► pki, topology ──► supervisor ──► ready
//!                            pure     before all else   files, kernel     processes
//! ```
//!
//! | module | what it decides or does |
//! |---|---|
//! | [`plan`] | ranges, names and ports; pure |
//! | [`observe`] | what this machine uses already |
//! | [`layout`], [`record`], [`lock`] | where files are, what they say, whose turn it is |
//! | [`pki`], [`owner`] | identities, and which process may read which |
//! | [`topology`] | namespaces, links, addresses, routes, the way out |
//! | [`supervisor`], [`attach`] | processes kept running, and what is told of them |
//! | [`up`], [`down`], [`status`] | the commands |
//! | [`cgroup`], [`process`], [`mounts`] | how what belongs to a cluster is found and ended |

pub mod attach;
pub mod cgroup;
pub mod down;
pub mod layout;
pub mod lock;
pub mod mounts;
pub mod observe;
pub mod owner;
pub mod pki;
pub mod plan;
pub mod process;
pub mod record;
mod root;
pub mod status;
pub mod supervisor;
pub mod topology;
pub mod up;
