//! `sealane ipam`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use sealane_agent::inspect;
use sealane_net::names;

use crate::output::Format;

/// Show, check and give back the addresses that a node's agent has leased.
#[derive(ClapArgs, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,

    /// Folder with the agent's sockets; its node's network namespace must be the one in which this is started
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/run/sealane"
    )]
    run_dir: PathBuf,

    /// Node of the single-machine cluster, such as node-1; instead of --run-dir
    #[arg(long, global = true, value_name = "NODE")]
    node: Option<String>,

    /// Name of that cluster
    #[arg(long, global = true, value_name = "NAME", default_value = names::DEFAULT_CLUSTER)]
    name: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List subnets, named pools and all leases: address, pod, interface, container
    Show {
        /// Print the result for programs
        #[arg(short, long, value_name = "FORMAT")]
        output: Option<Format>,
    },
    /// Hold the leases against the kernel's links and what the neighbours said; exits with 1 when they do not agree
    Check {
        /// Print the result for programs
        #[arg(short, long, value_name = "FORMAT")]
        output: Option<Format>,
    },
    /// Give back the lease with an address or of a container, whose pod has gone without its DEL
    Release {
        /// Address, or container id
        what: String,
        /// Also when its link is there: the pod then loses its network
        #[arg(long)]
        force: bool,
    },
}

/// Runs one of them.
///
/// # Errors
/// When the agent does not answer, or refuses.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let run_dir = match &args.node {
        Some(node) => {
            enter(&args.name, node)?;
            Path::new("/run/sealane").join(&args.name).join(node)
        }
        None => args.run_dir.clone(),
    };
    match &args.command {
        Command::Show { output } => match output {
            Some(format) => format.print(&inspect::show_value(&run_dir)?)?,
            None => print!("{}", inspect::show(&run_dir)?),
        },
        Command::Release { what, force } => {
            println!("released {}", inspect::release(&run_dir, what, *force)?);
        }
        Command::Check { output } => {
            let mut faults = inspect::check(&run_dir)?;
            faults.extend(inspect::duplicates(&run_dir)?);
            if let Some(format) = output {
                format.print(&serde_json::json!({ "faults": faults }))?;
                return Ok(ExitCode::from(u8::from(!faults.is_empty())));
            }
            for fault in &faults {
                println!("{fault}");
            }
            if !faults.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
            println!("leases and links agree");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// This process has one thread yet, which becomes one of the node's.
fn enter(cluster: &str, node: &str) -> anyhow::Result<()> {
    let path = Path::new("/run/netns").join(format!("{cluster}-{node}"));
    let netns = std::fs::File::open(&path)
        .with_context(|| format!("open {}; is cluster {cluster} up?", path.display()))?;
    nix::sched::setns(netns, nix::sched::CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("enter {} (needs root)", path.display()))
}
