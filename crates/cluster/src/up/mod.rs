//! `sealane up`: from flags to a cluster that is ready.
//!
//! ```text
//!   claim ──► plan ──► record ──► certificates ┐
//!   lock      pure     on disk    kernel       ┴─► supervisor ──► wait: every node ready
//! ```
//!
//! Every step looks before it makes, so `up` is also the way to mend a cluster:
//! what is there stays, what is missing is made, what is dead is started. What
//! follows from that:
//!
//! - A second `up` finds everything in place and only waits.
//! - When `up` fails or is interrupted, it takes back what it has made, and only
//!   that: a cluster that was running before keeps running, one that was kept on
//!   disk stays on disk.
//! - When `up` itself is killed, the record on disk tells `down`, or the next
//!   `up`, what there may be.

mod claim;
mod launch;
mod ready;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;
use sealane_net::{
    AntiSpoofing, Attachment, ClusterDomain, Family, ProxyMode, Ranges, parse_network,
};
use sealane_objects::{ImageAlias, quantity};
use sealane_route::Routing;
use serde::Serialize;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::down;
use crate::pki;
use crate::plan::{Asked, ClusterName, IpFamily, Plan};
use crate::root;
use crate::topology;
use claim::{Before, Claim};

/// Flags of `sealane up`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which cluster; several with different names run side by side.
    #[arg(long, default_value_t, value_name = "NAME")]
    pub name: ClusterName,

    /// How many nodes [default: 2].
    #[arg(long, value_name = "N")]
    pub nodes: Option<u32>,

    /// Addresses of the pods; each node gets a part [default: 10.244.0.0/16, or a free range].
    #[arg(long, value_name = "RANGE")]
    pub cluster_cidr: Option<Ranges>,

    /// Addresses of the Services [default: 10.96.0.0/12, or a free range].
    #[arg(long, value_name = "RANGE")]
    pub service_cluster_ip_range: Option<Ranges>,

    /// Addresses of the nodes; this machine gets the first one [default: 172.29.0.0/24, or a free range].
    #[arg(long, value_name = "RANGE")]
    pub node_cidr: Option<Ranges>,

    /// Prefix length of each node's part of the pods' addresses [default: 24].
    #[arg(long, value_name = "LENGTH")]
    pub node_cidr_mask_size_ipv4: Option<u8>,

    /// Domain of the cluster's names [default: cluster.local].
    #[arg(long, value_name = "DOMAIN")]
    pub cluster_domain: Option<ClusterDomain>,

    /// Address families of pods and nodes [default: those of the ranges, else ipv4].
    #[arg(long, value_name = "FAMILY")]
    pub ip_family: Option<IpFamily>,

    /// How packets reach the pods of other nodes: `auto` is directly here, where all nodes are on
    /// one link; `vxlan` puts them into datagrams between the nodes [default: auto].
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(Routing::NAMES).try_map(|name| name.parse::<Routing>()))]
    pub routing: Option<Routing>,

    /// How pods are attached to their node: `bridge` makes them ports of cbr0, `routed` gives each a
    /// route of its own and no bridge [default: bridge].
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Attachment::NAMES).try_map(|name| name.parse::<Attachment>()))]
    pub attachment: Option<Attachment>,

    /// What pods may send with: `pod` their own IP and Ethernet addresses alone; `node` the IP addresses of
    /// all pods of their node; `off` anything [default: pod].
    #[arg(long, value_name = "CHECK", value_parser = PossibleValuesParser::new(AntiSpoofing::NAMES).try_map(|name| name.parse::<AntiSpoofing>()))]
    pub anti_spoofing: Option<AntiSpoofing>,

    /// Ranges that pods reach with their own addresses instead of the node's, beside pods, nodes and
    /// multicast. Comma between two [default: none].
    #[arg(long, value_name = "CIDRS", value_delimiter = ',', value_parser = parse_network)]
    pub non_masquerade_cidrs: Option<Vec<IpNet>>,
    /// How Services are served: `nftables`, `iptables` as by kube-proxy, `none` not at all [default: nftables].
    #[arg(long, value_name = "MODE", value_parser = PossibleValuesParser::new(ProxyMode::NAMES).try_map(|name| name.parse::<ProxyMode>()))]
    pub proxy_mode: Option<ProxyMode>,

    /// Processor time that each node declares, as 2 or 500m [default: all of this machine's].
    #[arg(long, value_name = "CPUS", value_parser = cpus)]
    pub node_cpu: Option<String>,

    /// Memory that each node declares, as 4Gi [default: all of this machine's].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub node_memory: Option<String>,

    /// Directory for the cluster's state; must be empty or not exist [default: /var/lib/sealane/NAME].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Do not let pods out through this machine: no forwarding, no masquerade.
    #[arg(long)]
    pub no_internet: bool,

    /// Run another image in place of those that match, as in 'contoso/*=sealane.io/echo'; may be
    /// given several times, the first match counts. `*` stands for any run of characters.
    #[arg(long, value_name = "PATTERN=IMAGE")]
    pub image_alias: Vec<ImageAlias>,

    /// Seconds without a sign of life after which a node is not ready; Kubernetes takes 50 [default: 5].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub node_monitor_grace_period: Option<u32>,

    /// Seconds for which pods stay on a node that is not ready, if they do not say so themselves;
    /// Kubernetes gives them 300 [default: 4].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86400))]
    pub default_toleration_seconds: Option<u32>,

    /// How long to wait until the cluster is ready, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

impl Options {
    fn asked(&self) -> Asked {
        Asked {
            name: self.name.clone(),
            nodes: self.nodes,
            node_cidr: self.node_cidr.clone(),
            cluster_cidr: self.cluster_cidr.clone(),
            service_cidr: self.service_cluster_ip_range.clone(),
            node_mask_v4: self.node_cidr_mask_size_ipv4,
            no_internet: self.no_internet,
            cluster_domain: self.cluster_domain.clone(),
            image_aliases: self.image_alias.clone(),
            routing: self.routing,
            attachment: self.attachment,
            anti_spoofing: self.anti_spoofing,
            non_masquerade_cidrs: self.non_masquerade_cidrs.clone(),
            proxy_mode: self.proxy_mode,
            ip_family: self.ip_family,
            node_cpu: self.node_cpu.clone(),
            node_memory: self.node_memory.clone(),
            node_seconds: self.node_monitor_grace_period,
            pod_seconds: self.default_toleration_seconds,
        }
    }
}

fn cpus(text: &str) -> Result<String, String> {
    let millis = quantity::millis(text).filter(|millis| *millis > 0);
    let text = millis.map(|_| text.to_owned());
    text.ok_or_else(|| "expected a number of CPUs above 0, as 2, 0.5 or 500m".to_owned())
}

fn size(text: &str) -> Result<String, String> {
    let bytes = quantity::units(text).filter(|bytes| *bytes > 0);
    let text = bytes.map(|_| text.to_owned());
    text.ok_or_else(|| "expected a size above 0, as 4Gi or 512Mi".to_owned())
}

/// A cluster that is up.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its name.
    pub name: ClusterName,
    /// Whether it was up before.
    pub was_up: bool,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The API's address for this machine.
    pub api: String,
    /// The API's address in the node network.
    pub node_api: String,
    /// The nodes and their addresses.
    pub nodes: Vec<ReportedNode>,
    /// Addresses of the pods.
    pub cluster_cidr: Ranges,
    /// Addresses of the Services.
    pub service_cidr: Ranges,
    /// Addresses of the nodes.
    pub node_cidr: Ranges,
    /// Whether pods may reach the internet.
    pub internet: bool,
    /// Which images stand in for others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_aliases: Vec<ImageAlias>,
    /// How long each step took.
    pub phases: Vec<Phase>,
}

/// A node of a [`Report`].
#[derive(Debug, Clone, Serialize)]
pub struct ReportedNode {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// Its network namespace.
    pub netns: String,
}

/// How long a step took.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// What was done.
    pub name: &'static str,
    /// For how long, in milliseconds.
    pub ms: f64,
}

/// What a watching person is told.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// Brings a cluster up. `interrupted` ends it early and takes everything back.
///
/// # Errors
/// Why there is no cluster, and what to do about it.
pub async fn run(
    options: &Options,
    interrupted: CancellationToken,
    progress: Progress<'_>,
) -> anyhow::Result<Report> {
    root::require("up")?;
    let mut clock = Clock::start();
    let mut claim = Claim::take(&options.asked(), options.state_dir.as_deref()).await?;
    clock.note("plan");
    let patience = Duration::from_secs(options.timeout);
    match bring_up(&mut claim, patience, interrupted, progress, &mut clock).await {
        Ok(()) => Ok(report(&claim, clock.phases)),
        Err(error) => Err(take_back(claim, error, progress).await),
    }
}

async fn bring_up(
    claim: &mut Claim,
    patience: Duration,
    interrupted: CancellationToken,
    progress: Progress<'_>,
    clock: &mut Clock,
) -> anyhow::Result<()> {
    claim.record()?;
    let Claim { layout, plan, .. } = &*claim;
    announce(plan, progress);
    let certificates = {
        let (layout, plan) = (layout.clone(), plan.clone());
        tokio::task::spawn_blocking(move || pki::ensure(&layout, &plan, OffsetDateTime::now_utc()))
    };
    let topology = topology::build(layout, plan).await;
    // Both are awaited before either's failure counts, so that nothing is still
    // being made while it is taken back.
    certificates.await.context("make certificates")??;
    for family in topology? {
        tracing::warn!("{}", no_way_out(family));
    }
    clock.note("network and certificates");
    stop_if(&interrupted)?;
    let listening = launch::supervisor(layout).await?;
    clock.note("supervisor");
    ready::wait(layout, listening, patience, interrupted, progress).await?;
    clock.note("ready");
    Ok(())
}

fn announce(plan: &Plan, progress: Progress<'_>) {
    progress(&format!(
        "cluster {}: {} nodes on {}, pods {}, Services {}",
        plan.name, plan.nodes, plan.node_cidr, plan.cluster_cidr, plan.service_cidr
    ));
}

fn no_way_out(family: Family) -> String {
    let forwarding = match family {
        Family::V4 => "",
        Family::V6 => ", and it does not forward; when it has one, run `sealane up` again",
    };
    format!(
        "{family} leads pods to nothing beyond this machine, which has no default route{forwarding}"
    )
}

fn stop_if(interrupted: &CancellationToken) -> anyhow::Result<()> {
    anyhow::ensure!(!interrupted.is_cancelled(), "interrupted");
    Ok(())
}

/// Removes what this `up` has made, after it has failed.
async fn take_back(claim: Claim, error: anyhow::Error, progress: Progress<'_>) -> anyhow::Error {
    let keep_state = match claim.before {
        Before::Running => {
            return error.context("mend the running cluster, which is left as it is");
        }
        Before::Kept => true,
        Before::Nothing => false,
    };
    progress("taking back what was made");
    let removed = down::remove(&claim.layout, keep_state).await;
    drop(claim);
    match removed {
        Ok(_) => error,
        Err(left) => error.context(format!(
            "{left}\n(left over after the failure below; `sealane down` tries again)"
        )),
    }
}

fn report(claim: &Claim, phases: Vec<Phase>) -> Report {
    let Claim {
        layout,
        plan,
        before,
        ..
    } = claim;
    let node = |node: crate::plan::NodePlan| ReportedNode {
        name: node.name,
        addresses: node.addresses.iter().map(IpNet::addr).collect(),
        netns: node.netns,
    };
    Report {
        name: plan.name.clone(),
        was_up: *before == Before::Running,
        kubeconfig: layout.kubeconfig(),
        api: plan.local_api_url(),
        node_api: plan.api_url(),
        nodes: plan.node_plans().into_iter().map(node).collect(),
        cluster_cidr: plan.cluster_cidr.clone(),
        service_cidr: plan.service_cidr.clone(),
        node_cidr: plan.node_cidr.clone(),
        internet: plan.internet,
        image_aliases: plan.image_aliases.clone(),
        phases,
    }
}

struct Clock {
    last: Instant,
    phases: Vec<Phase>,
}

impl Clock {
    fn start() -> Self {
        Self {
            last: Instant::now(),
            phases: Vec::new(),
        }
    }

    fn note(&mut self, name: &'static str) {
        let ms = self.last.elapsed().as_secs_f64() * 1e3;
        tracing::debug!("{name}: {ms:.1} ms");
        self.phases.push(Phase { name, ms });
        self.last = Instant::now();
    }
}
