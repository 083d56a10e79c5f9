//! The command line, and what it dispatches to.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{
    agent, apiserver, completions, controllers, dns, down, image, ipam, kubeconfig, node, status,
    supervise, trace, up,
};

/// The whole Kubernetes network in one binary.
///
/// Makes a Kubernetes cluster on this machine in a second, each node in a
/// network namespace of its own, and shows every part of its network at work.
#[derive(Debug, Parser)]
#[command(name = "sealane", bin_name = "sealane", version, propagate_version = true, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What is logged: error, warn, info, debug, trace, or a list such as info,sealane_agent=debug
    /// [default: $SEALANE_LOG, else warn for commands and info for daemons].
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,

    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sealane up                                  make a cluster with two nodes
  export KUBECONFIG=$(sealane kubeconfig)     and use it
  kubectl get nodes -o wide
  sealane status                              what it consists of, and how it is
  sealane trace default/a web:80              how a packet gets there, or where it dies
  ip netns exec sealane-node-1 ip route       look into a node with the tools you know
  sealane down                                remove it, to the last route";

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    Down(down::Args),
    Status(status::Args),
    Kubeconfig(kubeconfig::Args),
    Image(image::Args),
    Ipam(ipam::Args),
    Trace(trace::Args),
    Completions(completions::Args),
    /// Run the embedded Kubernetes API server (started by `up`).
    Apiserver(sealane_apiserver::Options),
    /// Run the controllers and the scheduler (started by `up`).
    Controllers(sealane_controllers::Options),
    /// Run the kubelet's part of one node (started by `up`).
    Node(sealane_pods::Options),
    Agent(Box<agent::Args>),
    Dns(Box<dns::Args>),
    #[command(hide = true)]
    Supervise(sealane_cluster::supervisor::Options),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let Cli { log_level, command } = Cli::parse();
    let result = match command {
        Command::Up(args) => up::run(args, log_level),
        Command::Down(args) => down::run(args, log_level),
        Command::Status(args) => status::run(args, log_level),
        Command::Kubeconfig(args) => kubeconfig::run(&args),
        Command::Image(args) => image::run(args, log_level),
        Command::Ipam(args) => ipam::run(&args),
        Command::Trace(args) => trace::run(args, log_level),
        Command::Completions(args) => completions::run(&args),
        Command::Apiserver(options) => apiserver::run(options, log_level),
        Command::Controllers(options) => controllers::run(options, log_level),
        Command::Node(options) => node::run(options, log_level),
        Command::Agent(args) => agent::run(*args, log_level),
        Command::Dns(args) => dns::run(*args, log_level),
        Command::Supervise(options) => supervise::run(options, log_level),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_supervisor_starts_is_understood() {
        use sealane_cluster::layout::Layout;
        use sealane_cluster::plan::{Asked, ClusterName, Observed, resolve};
        use sealane_cluster::supervisor::role::roles;

        let layout = Layout::new(ClusterName::default(), "/S".into());
        let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
        for role in roles(&layout, &plan, std::path::Path::new("/etc/resolv.conf")) {
            let mut line = vec!["sealane".to_owned()];
            line.extend(role.args);
            if role.serves_api {
                line.extend(["--listen".to_owned(), "fd:7".to_owned()]);
            }
            let parsed = Cli::try_parse_from(&line);
            assert!(parsed.is_ok(), "{line:?}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn wrong_usage_is_told_apart_from_failure() {
        for line in [
            "sealane up --nodes two",
            "sealane up --name A_b",
            "sealane fly",
            "sealane up --cluster-cidr 10.1.2.3/16",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
