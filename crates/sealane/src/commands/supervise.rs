//! `sealane supervise`, which `sealane up` starts.

use std::process::ExitCode;

use sealane_cluster::supervisor::{self, Options};

use crate::role;

/// Runs the supervisor.
///
/// # Errors
/// What it fails with.
pub fn run(options: Options, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::run("supervise", log_level, |shutdown| {
        supervisor::run(options, shutdown)
    })
}
