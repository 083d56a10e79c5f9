//! `sealane trace`

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use sealane_cluster::layout::Layout;
use sealane_cluster::plan::ClusterName;
use sealane_cluster::record::Record;
use sealane_kube::Access;
use sealane_net::{Attachment, IpNet};
use sealane_trace::{Colour, From, Outcome, Settings, To};

use crate::output::Format;
use crate::role;

/// What `trace` and `why` end with when the packet does not arrive.
const DIED: u8 = 3;

/// Follow a packet through the cluster, stage by stage, to where it arrives or dies.
///
/// It is computed from the objects of the API, by the functions that the nodes' agents use; no
/// packet is sent, and no node is asked. Exits with 3 when the packet does not arrive.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Who sends: a pod such as default/a, node/NAME, outside, or outside/ADDRESS.
    from: String,

    /// Who is meant: NAME:PORT as the pod's resolver takes it, svc/NAME:PORT, pod/NAME:PORT,
    /// node/NAME:PORT, ADDRESS:PORT, or a URL; with /udp or /sctp behind the port.
    to: String,

    /// Namespace of names that have none.
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,

    /// Which single-machine cluster [default: what --kubeconfig, $KUBECONFIG or ~/.kube/config
    /// says, else sealane].
    #[arg(long, value_name = "NAME", conflicts_with_all = ["kubeconfig", "context", "api_server"])]
    name: Option<ClusterName>,

    /// Directory of that cluster's state, where it is neither running nor in the default place.
    #[arg(long, value_name = "DIR", requires = "name")]
    state_dir: Option<PathBuf>,

    #[command(flatten)]
    access: Access,

    #[command(flatten)]
    agents: Agents,

    /// Print the result for programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,

    /// Print nothing; the exit code says it.
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,
}

/// What no object says of the agents; of a cluster on this machine it is known.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "With what the agents run")]
struct Agents {
    /// Networks between the nodes: those in different ones have a router between them
    /// [default: all nodes share a link].
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    node_cidr: Vec<IpNet>,

    /// How nodes reach each other's pods: auto, direct or vxlan [default: auto].
    #[arg(long, value_name = "HOW")]
    routing: Option<sealane_route::Routing>,

    /// How pods are attached to their nodes: bridge or routed [default: bridge].
    #[arg(long, value_name = "HOW")]
    attachment: Option<Attachment>,
}

const HELP: &str = "\
Examples:
  sealane trace default/pod-a backend-service:80     a Service by its name
  sealane trace default/pod-a 10.244.2.7:8080        a pod by its address
  sealane trace node/node-1 svc/backend-service:http a Service's port by its name
  sealane trace outside node/node-1:30080            a node port
  sealane trace default/pod-a dns.kube-system:53/udp -o json";

/// Runs the command.
///
/// # Errors
/// When the cluster cannot be read, or FROM is nobody who could send.
pub fn run(args: Args, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::log("trace", log_level, "error")?;
    let from = From::parse(&args.from, &args.namespace)?;
    let namespace = match &from {
        From::Pod(name) => name.namespace.clone(),
        From::Node(_) | From::Outside(_) => args.namespace.clone(),
    };
    let to = To::parse(&args.to, &namespace)?;
    let (access, settings) = cluster(&args)?;
    let world = role::runtime()?.block_on(async {
        let client = sealane_kube::client(&access, "trace").await?;
        anyhow::Ok(sealane_trace::observe(&client, settings).await?)
    })?;
    let trace = sealane_trace::trace(&world, &from, &to, (&args.from, &args.to))?;
    match args.output {
        Some(format) => format.print(&trace)?,
        None if args.quiet => {}
        None => {
            let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let colour = if colour { Colour::Yes } else { Colour::No };
            print!("{}", sealane_trace::render(&trace, colour));
        }
    }
    Ok(match trace.outcome {
        Outcome::Arrives { .. } => ExitCode::SUCCESS,
        Outcome::Dies(_) => ExitCode::from(DIED),
    })
}

/// The cluster that is meant, and what is known of its agents.
fn cluster(args: &Args) -> anyhow::Result<(Access, Settings)> {
    let mut settings = Settings::default();
    let access = match local(args)? {
        None => args.access.clone(),
        Some(layout) => {
            if let Some(record) = Record::read(&layout.cluster_file())? {
                let plan = record.plan;
                settings.node_ranges = plan.node_cidr.iter().collect();
                settings.routing = plan.routing;
                settings.attachment = plan.attachment;
                settings.internet = Some(plan.internet);
            }
            Access::from_kubeconfig(layout.kubeconfig())
        }
    };
    let Agents {
        node_cidr,
        routing,
        attachment,
    } = &args.agents;
    if !node_cidr.is_empty() {
        settings.node_ranges.clone_from(node_cidr);
    }
    settings.routing = routing.unwrap_or(settings.routing);
    settings.attachment = attachment.unwrap_or(settings.attachment);
    Ok((access, settings))
}

/// A cluster of this machine: the one that is named, the one whose kubeconfig is asked for, or the
/// default one where nothing else says which.
fn local(args: &Args) -> anyhow::Result<Option<Layout>> {
    if let Some(name) = &args.name {
        let layout = Layout::find(name, args.state_dir.as_deref())?;
        let there = layout.kubeconfig().exists();
        anyhow::ensure!(
            there,
            "there is no cluster {name}: `sealane up --name {name}` makes it"
        );
        return Ok(Some(layout));
    }
    let variable = std::env::var_os("KUBECONFIG").map(PathBuf::from);
    let asked = args.access.kubeconfig.clone().or(variable);
    let name = match asked.as_deref().map(|path| path.parent()) {
        // STATE/kubeconfig is beside what says how the cluster was made.
        Some(Some(state)) => {
            let name = state
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            name.unwrap_or_default()
        }
        _ => ClusterName::default(),
    };
    let layout = Layout::find(&name, None).context("look for a cluster on this machine")?;
    let is_it = match &asked {
        Some(path) => *path == layout.kubeconfig(),
        None => {
            args.access == Access::default()
                && no_other_kubeconfig()
                && layout.kubeconfig().exists()
        }
    };
    Ok(is_it.then_some(layout))
}

fn no_other_kubeconfig() -> bool {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    !home.is_some_and(|path| path.exists())
}
