//! `sealane trace`

use std::io::IsTerminal;
use std::net::IpAddr;
use std::process::ExitCode;

use sealane_cluster::plan::Plan;
use sealane_cluster::record::Record;
use sealane_kube::Access;
use sealane_net::{Attachment, ClusterDomain, Family, IpNet, ProxyMode, names};
use sealane_netlink::netns;
use sealane_trace::live::{Here, OWN_NETNS, live};
use sealane_trace::{Colour, From, Known, NodePortAddresses, Outcome, Settings, To};

use crate::output::Format;
use crate::role;
use crate::which::Which;

/// What `trace` and `why` end with when the packet does not arrive.
const DIED: u8 = 3;

/// Follow a packet through the cluster, stage by stage, to where it arrives or dies.
///
/// It is computed from the objects of the API, by the functions that the nodes' agents use; no
/// packet is sent, and no node is asked, unless you say --live. Exits with 3 when the packet does not arrive.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Who sends: a pod such as default/a, node/NAME, outside, or outside/ADDRESS.
    from: String,

    /// Who is meant: NAME:PORT as the pod's resolver takes it, svc/NAME:PORT, pod/NAME:PORT,
    /// node/NAME:PORT, ADDRESS:PORT, or a URL; with /udp or /sctp behind the port.
    to: String,

    /// Send a real packet from FROM, a TCP SYN or a UDP datagram, and show beside each stage what the kernel
    /// showed of it. Takes root, on the machine of the cluster or on the node of FROM.
    #[arg(long)]
    live: bool,

    /// Namespace of names that have none.
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,

    #[command(flatten)]
    which: Which,

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

    /// How nodes serve Services: nftables, iptables or none [default: nftables].
    #[arg(long, value_name = "HOW")]
    proxy_mode: Option<ProxyMode>,

    /// At which addresses of nodes node ports are served: `primary`, or ranges [default: all].
    #[arg(long, value_name = "WHICH")]
    nodeport_addresses: Option<NodePortAddresses>,

    /// Addresses at which nodes answer names themselves, where they run `sealane dns` [default: none].
    #[arg(long, value_name = "IP[,IP]", value_delimiter = ',')]
    cluster_dns: Vec<IpAddr>,

    /// Domain of the cluster's names [default: cluster.local].
    #[arg(long, value_name = "DOMAIN")]
    cluster_domain: Option<ClusterDomain>,
}

const HELP: &str = "\
Examples:
  sealane trace default/pod-a backend-service:80     a Service by its name
  sealane trace default/pod-a 10.244.2.7:8080        a pod by its address
  sealane trace node/node-1 svc/backend-service:http a Service's port by its name
  sealane trace outside node/node-1:30080            a node port
  sealane trace default/pod-a backend:80 --live      send a packet, and look where it goes
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
    let Cluster {
        access,
        settings,
        here,
    } = cluster(&args)?;
    let world = role::runtime()?.block_on(async {
        let client = sealane_kube::client(&access, "trace").await?;
        anyhow::Ok(sealane_trace::observe(&client, settings).await?)
    })?;
    let asked = (args.from.as_str(), args.to.as_str());
    let trace = if args.live {
        let here = here.unwrap_or_else(|| Here::node_of(&world));
        live(&world, &here, &from, &to, asked)?
    } else {
        sealane_trace::trace(&world, &from, &to, asked, Known::default())?
    };
    match args.output {
        Some(format) => format.print(&trace)?,
        None if args.quiet => {}
        None => {
            let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let colour = if colour { Colour::Yes } else { Colour::No };
            print!("{}", sealane_trace::render(&trace, colour, width()));
        }
    }
    // What a packet did counts more than what it should have done.
    let outcome = trace.live.map_or(trace.outcome, |live| live.outcome);
    Ok(match outcome {
        Outcome::Arrives { .. } => ExitCode::SUCCESS,
        Outcome::Dies(_) => ExitCode::from(DIED),
    })
}

/// How many columns there are; where it is no terminal, lines are as long as they need to be.
fn width() -> usize {
    terminal_size::terminal_size().map_or(usize::MAX, |(width, _)| width.0.into())
}

/// The cluster that is meant, and what is known of it besides its objects.
struct Cluster {
    access: Access,
    settings: Settings,
    /// Where its nodes are, if it is one of this machine.
    here: Option<Here>,
}

fn cluster(args: &Args) -> anyhow::Result<Cluster> {
    let mut settings = Settings::default();
    let mut here = None;
    let access = match args.which.local()? {
        None => args.which.access.clone(),
        Some(layout) => {
            if let Some(record) = Record::read(&layout.cluster_file())? {
                let plan = record.plan;
                settings.node_ranges = plan.node_cidr.iter().collect();
                settings.routing = plan.routing;
                settings.attachment = plan.attachment;
                settings.internet = Some(plan.internet);
                settings.proxy_mode = plan.proxy_mode;
                settings.dns = plan.dns_addresses();
                settings.domain = plan.cluster_domain.to_string();
                here = Some(here_of(&plan));
            }
            Access::from_kubeconfig(layout.kubeconfig())
        }
    };
    let Agents {
        node_cidr,
        routing,
        attachment,
        proxy_mode,
        nodeport_addresses,
        cluster_dns,
        cluster_domain,
    } = &args.agents;
    if !node_cidr.is_empty() {
        settings.node_ranges.clone_from(node_cidr);
    }
    settings.routing = routing.unwrap_or(settings.routing);
    settings.attachment = attachment.unwrap_or(settings.attachment);
    settings.proxy_mode = proxy_mode.unwrap_or(settings.proxy_mode);
    settings.node_port_addresses = nodeport_addresses.clone().unwrap_or_default();
    if !cluster_dns.is_empty() {
        settings.dns.clone_from(cluster_dns);
    }
    if let Some(domain) = cluster_domain {
        settings.domain = domain.to_string();
    }
    if !settings.dns.is_empty() {
        settings.dns.extend(Family::ALL.map(names::dns_local));
    }
    Ok(Cluster {
        access,
        settings,
        here,
    })
}

/// All of a single-machine cluster is here, and this machine is outside of it.
fn here_of(plan: &Plan) -> Here {
    let nodes = plan.node_plans().into_iter();
    let machine = plan.machine_addresses();
    Here {
        nodes: nodes
            .map(|node| (node.name, netns::path_of(&node.netns)))
            .collect(),
        outside: Some((OWN_NETNS.into(), machine.iter().map(IpNet::addr).collect())),
    }
}
