//! `sealane down`

use std::process::ExitCode;

use sealane_cluster::down::{self, Options, Report};

use crate::output::Format;
use crate::role;

/// Remove a cluster: processes, namespaces, links, routes, rules and files.
///
/// Works on whatever is there, also when `up` was killed halfway or somebody has
/// removed a part by hand. With nothing to do it says so, and that is no failure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    options: Options,

    /// Print the result for programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,

    /// Print nothing but errors.
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  sealane down                  remove the cluster with all that was in it
  sealane down --keep-state     stop it; `sealane up` brings it back as it was
  sealane down --name lab       remove another one than the default";

/// Runs the command.
///
/// # Errors
/// What could not be removed.
pub fn run(args: Args, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::log("down", log_level, "warn")?;
    let report = role::runtime()?.block_on(down::run(&args.options))?;
    match args.output {
        Some(format) => format.print(&report)?,
        None if args.quiet => {}
        None => println!("{}", describe(&report)),
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(report: &Report) -> String {
    let Report {
        name,
        found,
        kept_state,
        ms,
        ..
    } = report;
    match kept_state {
        _ if !found => format!("Nothing to do: there is no cluster {name}."),
        Some(state) => format!(
            "Cluster {name} is down; its state is kept in {}.",
            state.display()
        ),
        None => format!("Cluster {name} is removed, after {:.2} s.", ms / 1e3),
    }
}
