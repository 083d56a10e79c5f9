//! `sealane apiserver`

use std::process::ExitCode;

use sealane_apiserver::Options;

use crate::role;

/// Runs the daemon.
///
/// # Errors
/// What it fails with.
pub fn run(options: Options, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::run("apiserver", log_level, |shutdown| {
        sealane_apiserver::run(options, shutdown)
    })
}
