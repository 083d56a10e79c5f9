//! `sealane status`

use std::process::ExitCode;

use sealane_cluster::status::{self, Answer, Options};

use crate::output::Format;
use crate::role;

/// Show a cluster: nodes, addresses, pods, processes, and what is wrong.
///
/// Exits with 1 when the cluster does not run or something is wrong with it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,

    /// Print the result for programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,

    /// Print nothing; the exit code says it.
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,
}

/// Runs the command.
///
/// # Errors
/// When the cluster's record cannot be read, or there is no cluster.
pub fn run(args: Args, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::log("status", log_level, "warn")?;
    let status = match role::runtime()?.block_on(status::run(&args.options))? {
        Answer::Up(status) => status,
        Answer::Down(name, state) => anyhow::bail!(
            "cluster {name} does not run; its state is kept in {}: `sealane up --name {name}` brings it back",
            state.display()
        ),
        Answer::Absent(name, others) if others.is_empty() => {
            anyhow::bail!("there is no cluster {name}: `sealane up --name {name}` makes it")
        }
        Answer::Absent(name, others) => anyhow::bail!(
            "there is no cluster {name}: `sealane up --name {name}` makes it; on this machine run: {}",
            others.join(", ")
        ),
    };
    match args.output {
        Some(format) => format.print(&status)?,
        None if args.quiet => {}
        None => print!("{}", status.render()),
    }
    Ok(if status.healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
