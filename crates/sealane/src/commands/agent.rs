//! `sealane agent`

use std::process::ExitCode;

use sealane_agent::Options;

use crate::role;

/// Runs the daemon, which brings its own runtime: it drops privileges before
/// there is a second thread.
///
/// # Errors
/// What it fails with.
pub fn run(options: Options, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::announce("agent", log_level)?;
    sealane_agent::run(options)?;
    Ok(ExitCode::SUCCESS)
}
