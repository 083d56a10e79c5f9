//! `sealane up`

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use sealane_cluster::up::{self, Options, Report};

use crate::output::Format;
use crate::role;

/// Make a cluster on this machine, or mend the one that is there.
///
/// Returns when every node is ready. Doing it again changes nothing. Ranges that
/// are not asked for give way to free ones where they are in use; ranges that are
/// asked for are refused when they overlap each other or a route of this machine.
/// When it fails or is interrupted, what it has made is removed again.
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
  sealane up                                  two nodes, with defaults that fit this machine
  sealane up --nodes 5 --name lab             a second cluster beside the first
  sealane up --cluster-cidr 10.50.0.0/16      pods with addresses of your choice
  sealane up --ip-family dual                 pods with IPv4 and IPv6 addresses
  sealane up --no-internet                    pods that reach nothing beyond this machine
  sealane up --state-dir /srv/cluster         state elsewhere than below /var/lib/sealane";

/// Runs the command.
///
/// # Errors
/// Why there is no cluster.
pub fn run(args: Args, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::log("up", log_level, "warn")?;
    let show_progress = !args.quiet && args.output.is_none() && std::io::stderr().is_terminal();
    let mut progress = |line: &str| {
        if show_progress {
            eprintln!("  {line}");
        }
    };
    let report = role::runtime()?.block_on(async {
        let interrupted = role::asked_to_end()?;
        up::run(&args.options, interrupted, &mut progress).await
    })?;
    match args.output {
        Some(format) => format.print(&report)?,
        None if args.quiet => {}
        None => std::io::stdout().write_all(describe(&report).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(report: &Report) -> String {
    let seconds: f64 = report.phases.iter().map(|phase| phase.ms).sum::<f64>() / 1e3;
    let done = if report.was_up {
        format!("Cluster {} is up already.", report.name)
    } else {
        format!(
            "Cluster {} is ready after {seconds:.2} s: {} nodes.",
            report.name,
            report.nodes.len()
        )
    };
    let named = if report.name == Default::default() {
        String::new()
    } else {
        format!(" --name {}", report.name)
    };
    format!(
        "{done}\n\n\
         export KUBECONFIG=$(sealane kubeconfig{named})\n\
         kubectl get nodes -o wide\n\
         sealane status{named}\n"
    )
}
