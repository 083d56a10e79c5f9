//! `sealane agent`, and what is done beside a running one.

mod check;
mod cleanup;
mod nodes;

use std::process::ExitCode;

use clap::Subcommand;
use sealane_agent::Options;

use crate::role;

/// Run the network of one node (started by `up`, or by hand on any Kubernetes).
///
/// Works with any Kubernetes API server. It waits for the pod subnets in
/// `.spec.podCIDRs` of its Node, makes bridge cbr0, keeps routes to the other
/// nodes (`ip route show proto 94`), gives pods that leave the cluster the
/// node's address (`nft list table ip sealane`), and answers the CNI plugin,
/// which it installs for the container runtime once it is ready. What it finds
/// right it does not touch: restarting it cuts no connection.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Cleanup(cleanup::Args),
}

/// Runs the daemon, which brings its own runtime, or what is done beside it.
///
/// The daemon drops privileges before there is a second thread.
///
/// # Errors
/// What it fails with.
pub fn run(args: Args, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(Command::Check(args)) => return check::run(args, log_level),
        Some(Command::Cleanup(args)) => return cleanup::run(args, log_level),
        None => {}
    }
    role::announce("agent", log_level)?;
    sealane_agent::run(args.options)?;
    Ok(ExitCode::SUCCESS)
}
