//! `sealane agent check`

use std::io::IsTerminal;
use std::process::ExitCode;

use sealane_upkeep::{Report, Target, ask, check, observe, render};

use super::nodes::{self, Which};
use crate::output::Format;
use crate::role;

/// Find what is wrong with the network of a node, and say what to do.
///
/// Looks at the network namespace in which it is started, or with --name at
/// all nodes of a single-machine cluster: forwarding, reverse-path filters,
/// rules of other firewalls, MTU, features of the kernel, addresses that mean
/// two things, configurations of other CNI plugins, the agent itself, and the
/// ways to other nodes. Changes nothing. Works without an agent, which is then
/// asked for nothing, and without an API server. Takes the agent's flags, for
/// an agent that does not run.
///
/// Exits with 0 when nothing is wrong, 1 when something is, 2 when this was not understood.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    which: Which,

    /// Print the result for programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,

    /// Print nothing; the exit code says it.
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,

    #[command(flatten)]
    options: sealane_agent::Options,
}

/// Runs the command.
///
/// # Errors
/// When there is no such cluster or node, or its namespace cannot be entered.
pub fn run(args: Args, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::log("check", log_level, "error")?;
    let nodes = nodes::find(&args.which, args.options)?;
    let mut outside = role::runtime()?.block_on(ask(&nodes.access));
    if outside.services.is_empty() {
        outside.services = nodes.services;
    }
    let mut reports: Vec<Report> = Vec::new();
    for node in nodes.nodes {
        let running = observe::settings(&node.settings.run_dir);
        reports.push(check(Target {
            netns: node.netns,
            settings: running.unwrap_or(node.settings),
            outside: outside.clone(),
        })?);
    }
    match args.output {
        Some(format) => format.print(&reports)?,
        None if args.quiet => {}
        None => {
            let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            print!("{}", render(&reports, colour));
        }
    }
    let well = reports.iter().all(|report| report.findings.is_empty());
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
