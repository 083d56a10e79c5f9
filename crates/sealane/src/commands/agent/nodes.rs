//! Which nodes a command is about: this one, or those of a single-machine cluster.

use std::path::Path;

use anyhow::{Context, bail};
use clap::Parser;
use sealane_agent::Options;
use sealane_cluster::layout::Layout;
use sealane_cluster::plan::ClusterName;
use sealane_cluster::record::Record;
use sealane_cluster::supervisor::role::{Place, roles};
use sealane_kube::Access;
use sealane_net::IpNet;
use sealane_upkeep::snapshot::AgentSettings;

/// Flags that name a cluster of this machine.
#[derive(clap::Args, Debug)]
pub struct Which {
    /// Single-machine cluster, all of its nodes; without it the node of this network namespace
    #[arg(long, value_name = "NAME")]
    name: Option<ClusterName>,

    /// One node of that cluster, such as node-1
    #[arg(long, value_name = "NODE", requires = "name")]
    node: Option<String>,
}

/// The nodes, and where their API server is.
pub struct Nodes {
    pub access: Access,
    /// Ranges of Services, where they are known without the API server.
    pub services: Vec<IpNet>,
    pub nodes: Vec<Node>,
}

/// A node.
pub struct Node {
    /// Its network namespace; `None` is this one.
    pub netns: Option<String>,
    /// What its agent is told.
    pub settings: AgentSettings,
}

/// # Errors
/// When there is no such cluster or node, or the agent's flags cannot be used.
pub fn find(which: &Which, options: Options) -> anyhow::Result<Nodes> {
    let Some(name) = &which.name else {
        let settings = options.resolve()?;
        return Ok(Nodes {
            access: settings.access.clone(),
            services: vec![],
            nodes: vec![Node {
                netns: None,
                settings: words(&settings)?,
            }],
        });
    };
    let layout = Layout::find(name, None)?;
    let Some(Record { plan, .. }) = Record::read(&layout.cluster_file())? else {
        bail!("there is no cluster {name}: `sealane up --name {name}` makes it");
    };
    let mut nodes = Vec::new();
    for role in roles(&layout, &plan, Path::new("/etc/resolv.conf")) {
        let Place::Node { netns, hostname } = role.place else {
            continue;
        };
        let is_wanted = which.node.as_ref().is_none_or(|node| *node == hostname);
        if role.args.first().is_some_and(|word| word == "agent") && is_wanted {
            let settings = Line::try_parse_from(role.args)?.options.resolve()?;
            nodes.push(Node {
                netns: Some(netns),
                settings: words(&settings)?,
            });
        }
    }
    if nodes.is_empty() {
        let wanted = which.node.as_deref().unwrap_or_default();
        bail!("cluster {name} has no node {wanted}: `sealane status --name {name}` lists them");
    }
    Ok(Nodes {
        access: Access::from_kubeconfig(layout.kubeconfig()),
        services: plan.service_cidr.iter().collect(),
        nodes,
    })
}

/// An agent's command line.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// As `/debug/config` would tell them.
fn words(settings: &sealane_agent::Settings) -> anyhow::Result<AgentSettings> {
    let shown = serde_json::to_value(settings).context("write the agent's settings")?;
    serde_json::from_value(shown).context("read the agent's settings")
}
