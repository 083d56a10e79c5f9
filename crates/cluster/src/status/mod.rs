//! `sealane status`: what a cluster is and how it is.
//!
//! Asked in this order, each of which may fail without the others: the record
//! on disk (what it should be), the supervisor (what runs), the API (what the
//! cluster says of itself). What cannot be had is a problem with words, not the
//! end of the answer: a status is most wanted when something is broken.

mod api;
mod processes;
mod table;

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use sealane_net::{Attachment, ProxyMode, Ranges};
use sealane_objects::ImageAlias;
use sealane_route::Routing;
use serde::Serialize;

use crate::attach;
use crate::layout::Layout;
use crate::plan::{ClusterName, NodePlan, Plan};
use crate::record::Record;
use crate::supervisor::snapshot::Snapshot;

pub use api::PodStatus;
pub use processes::ProcessStatus;

/// Flags of `sealane status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which cluster.
    #[arg(long, default_value_t, value_name = "NAME")]
    pub name: ClusterName,

    /// Directory of the cluster's state, where it is neither running nor in the default place.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Everything about a cluster.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its name.
    pub name: ClusterName,
    /// Whether it is what `up` promises.
    pub healthy: bool,
    /// What is wrong, in words.
    pub problems: Vec<String>,
    /// The API's address for this machine.
    pub api: String,
    /// The API's address in the node network.
    pub node_api: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Where its state is.
    pub state_dir: PathBuf,
    /// Addresses of the nodes.
    pub node_cidr: Ranges,
    /// Addresses of the pods.
    pub cluster_cidr: Ranges,
    /// How pods are attached to their nodes.
    pub attachment: Attachment,
    /// How packets reach the pods of other nodes.
    pub routing: Routing,
    /// Addresses of the Services.
    pub service_cidr: Ranges,
    /// How Services are served on the nodes.
    pub proxy_mode: ProxyMode,
    /// Whether pods may reach the internet.
    pub internet: bool,
    /// Which images stand in for others.
    pub image_aliases: Vec<ImageAlias>,
    /// Its nodes.
    pub nodes: Vec<NodeStatus>,
    /// Its pods.
    pub pods: Vec<PodStatus>,
    /// Its processes.
    pub processes: Vec<ProcessStatus>,
}

/// A node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The subnets of its pods.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNet>,
    /// How many pods it has.
    pub pods: usize,
    /// Its network namespace.
    pub netns: String,
}

/// What there is to say of a cluster.
#[derive(Debug)]
pub enum Answer {
    /// There is none of this name; there are these.
    Absent(ClusterName, Vec<String>),
    /// There is state on disk, and nothing runs.
    Down(ClusterName, PathBuf),
    /// It runs, more or less.
    Up(Box<Status>),
}

/// Looks at a cluster.
///
/// # Errors
/// When its record cannot be read.
pub async fn run(options: &Options) -> anyhow::Result<Answer> {
    let layout = Layout::find(&options.name, options.state_dir.as_deref())?;
    let Some(record) = Record::read(&layout.cluster_file())? else {
        return Ok(Answer::Absent(options.name.clone(), layout.others()));
    };
    let (snapshot, view) = tokio::join!(attach::ask_of(&layout), api::look(&layout));
    let processes = processes::look(&layout, snapshot.as_ref());
    if snapshot.is_none() && processes.is_empty() {
        return Ok(Answer::Down(options.name.clone(), layout.state));
    }
    Ok(Answer::Up(Box::new(compose(
        &layout,
        &record.plan,
        snapshot,
        view,
        processes,
    ))))
}

fn compose(
    layout: &Layout,
    plan: &Plan,
    snapshot: Option<Snapshot>,
    view: Result<api::View, String>,
    processes: Vec<ProcessStatus>,
) -> Status {
    let mut problems = Vec::new();
    if snapshot.is_none() {
        let name = &plan.name;
        problems.push(format!(
            "the supervisor does not run: `sealane up --name {name}` starts it"
        ));
    }
    let view = view.unwrap_or_else(|error| {
        problems.push(error);
        api::View::default()
    });
    let nodes: Vec<NodeStatus> = plan
        .node_plans()
        .into_iter()
        .map(|node| node_status(node, &view))
        .collect();
    for node in nodes.iter().filter(|node| view.answers && !node.ready) {
        let reason = view
            .reason(&node.name)
            .unwrap_or_else(|| "it has not registered".to_owned());
        problems.push(format!("{} is not ready: {reason}", node.name));
    }
    for process in processes.iter().filter(|process| process.pid.is_none()) {
        let end = process.last_end.as_deref().unwrap_or("not started yet");
        let log = layout.log(&process.role);
        problems.push(format!(
            "{} does not run ({end}): see {}",
            process.role,
            log.display()
        ));
    }
    Status {
        name: plan.name.clone(),
        healthy: problems.is_empty(),
        problems,
        api: plan.local_api_url(),
        node_api: plan.api_url(),
        kubeconfig: layout.kubeconfig(),
        state_dir: layout.state.clone(),
        node_cidr: plan.node_cidr.clone(),
        cluster_cidr: plan.cluster_cidr.clone(),
        attachment: plan.attachment,
        proxy_mode: plan.proxy_mode,
        routing: plan.routing,
        service_cidr: plan.service_cidr.clone(),
        internet: plan.internet,
        image_aliases: plan.image_aliases.clone(),
        nodes,
        pods: view.pods,
        processes,
    }
}

fn node_status(node: NodePlan, view: &api::View) -> NodeStatus {
    NodeStatus {
        ready: view.is_ready(&node.name),
        addresses: node.addresses.iter().map(IpNet::addr).collect(),
        pod_cidrs: view.pod_cidrs(&node.name),
        pods: view.pods.iter().filter(|pod| pod.node == node.name).count(),
        netns: node.netns,
        name: node.name,
    }
}

impl Status {
    /// For people.
    pub fn render(&self) -> String {
        table::render(self)
    }
}
