//! `sealane controllers`

use std::process::ExitCode;

use sealane_controllers::Options;

use crate::role;

/// Runs the daemon.
///
/// # Errors
/// What it fails with.
pub fn run(options: Options, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::run("controllers", log_level, |shutdown| {
        sealane_controllers::run(options, shutdown)
    })
}
