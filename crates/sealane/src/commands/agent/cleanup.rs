//! `sealane agent cleanup`

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::bail;
use sealane_netlink::{Netlink, netns};
use sealane_upkeep::cleanup::{Asked, Step, apply, observe, plan};
use sealane_upkeep::observe::settings as running;

use super::nodes::{self, Node, Which};
use crate::role;

/// Remove from a node what the agent has put there.
///
/// nft tables, routes, rules, links, the CNI configuration and plugin, of an
/// agent that does not run any more. Lists what it does; can be repeated. Pods
/// that run keep their links, and the bridge and the plugin, unless --pods is
/// given. Rules and links of others are not touched, sysctls and the leases in
/// --state-dir stay. Takes the agent's flags, to find its folders.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    which: Which,

    /// Remove the links of pods too, which end their network
    #[arg(long)]
    pods: bool,

    /// Remove what kube-proxy has left, too: KUBE-* chains in iptables (nft and legacy),
    /// nft tables kube-proxy, link kube-ipvs0
    #[arg(long)]
    kube_proxy: bool,

    /// Only list what would be removed
    #[arg(long)]
    dry_run: bool,

    /// Print errors only
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    options: sealane_agent::Options,
}

/// Runs the command.
///
/// # Errors
/// When an agent runs, when there is no such cluster or node, or when the kernel does not answer.
pub fn run(args: Args, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::log("cleanup", log_level, "error")?;
    let nodes = nodes::find(&args.which, args.options)?;
    let asked = Asked {
        pods: args.pods,
        kube_proxy: args.kube_proxy,
    };
    let mut all_done = true;
    for node in nodes.nodes {
        if !args.dry_run && running(&node.settings.run_dir).is_some() {
            bail!(
                "clean up {}: its agent runs and would make everything anew; end it first \
                 (--dry-run lists what there is)",
                node.settings.node_name
            );
        }
        let (dry_run, quiet) = (args.dry_run, args.quiet);
        let clean = |node: &Node| clean(node, asked, dry_run, quiet);
        all_done &= match &node.netns {
            Some(name) => netns::run_in(netns::open_named(name)?, || clean(&node))??,
            None => clean(&node)?,
        };
    }
    Ok(if all_done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// On a thread in the node's network namespace; whether every step was done.
fn clean(node: &Node, asked: Asked, dry_run: bool, quiet: bool) -> anyhow::Result<bool> {
    let say = |line: &str| {
        if !quiet {
            // A reader that has seen enough must not stop the work half way.
            let _ = writeln!(io::stdout(), "{}: {line}", node.settings.node_name);
        }
    };
    role::runtime()?.block_on(async {
        let kernel = Netlink::in_current()?;
        let steps = plan(&observe(&kernel, &node.settings).await?, asked);
        let mut all_done = true;
        if steps.is_empty() {
            say("nothing to remove");
        }
        for step in &steps {
            let outcome = if dry_run {
                Ok(())
            } else {
                apply(&kernel, step).await
            };
            match outcome {
                Ok(()) if dry_run && !matches!(step, Step::Left(_)) => {
                    say(&format!("would {step}"))
                }
                Ok(()) => say(&step.to_string()),
                Err(error) => {
                    all_done = false;
                    eprintln!("error: {step}: {error:#}");
                }
            }
        }
        Ok(all_done)
    })
}
