//! `sealane dns`, and what is asked beside a running one.

mod lookup;

use std::process::ExitCode;

use clap::Subcommand;
use sealane_dns::Options;

use crate::role;

/// Answer names on one node: the cluster's, and others by asking their servers (started by `up`, or by hand on
/// any Kubernetes).
///
/// Works with any Kubernetes API server. It takes the address of the cluster's
/// DNS Service, and 169.254.20.10, on this node's loopback link, and keeps
/// connection tracking away from both (`nft list table ip sealane-dns`), so that
/// pods are answered on their own node and nothing is translated. The process
/// that answers has no privileges. SIGHUP puts a new one in its place, and so
/// does starting this program again: no question is lost.
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
    Lookup(Box<lookup::Args>),
}

/// Runs the daemon, which brings its own runtime where it needs one, or what is asked beside it.
///
/// # Errors
/// What it fails with.
pub fn run(args: Args, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    if let Some(Command::Lookup(args)) = args.command {
        return lookup::run(&args, log_level);
    }
    role::announce("dns", log_level)?;
    sealane_dns::run(args.options, std::env::args_os().skip(1).collect())?;
    Ok(ExitCode::SUCCESS)
}
