//! `sealane node`

use std::process::ExitCode;

use sealane_pods::Options;

use crate::role;

/// Runs the daemon.
///
/// # Errors
/// What it fails with.
pub fn run(options: Options, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::run("node", log_level, |shutdown| {
        sealane_pods::run(options, shutdown)
    })
}
