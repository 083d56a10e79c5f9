//! `sealane completions`

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::cli::Cli;

/// Print a script that completes this command line in a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  source <(sealane completions bash)")]
pub struct Args {
    /// Which shell.
    shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// None.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    generate(
        args.shell,
        &mut Cli::command(),
        "sealane",
        &mut std::io::stdout(),
    );
    Ok(ExitCode::SUCCESS)
}
