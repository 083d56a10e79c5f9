//! Task: the controllers and the scheduler of the single-machine cluster.
//!
//! What kube-controller-manager and kube-scheduler do elsewhere, as far as a
//! network needs it:
//!
//! | module | decides |
//! |---|---|
//! | [`subnets`] | which pod subnets a node gets |
//! | [`scheduler`] | which node a pod gets |
//! | [`lifecycle`] | when a node counts as lost, and what becomes of its pods |
//! | [`autoscale`] | how many pods HorizontalPodAutoscalers want |
//! | [`garbage`] | which objects have lost their owners |
//! | [`workloads`] | which pods Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and ReplicationControllers have, which Jobs CronJobs have, and how many pods may be evicted |
//! | [`mod@endpoints`] | where the traffic of Services goes |
//!
//! Each is a pure state machine ([`action::Controller`]): inputs and the time
//! go in, printable actions come out. One task ([`lead`]) owns all of them,
//! feeds them from three watches and has their actions carried out ([`act`]).
//! Only one process leads ([`leadership`]); all state is in the API, so a
//! process that is killed is replaced by one that lists and goes on.
//!
//! A work queue for each controller, with a worker that reads objects from a
//! cache, was left out: it exists to share slow reconcilers among threads.
//! These decisions take microseconds and the interesting bugs are between
//! inputs, which a state machine with a clock for an argument can be tested for.

mod act;
mod action;
mod autoscale;
mod controllers;
mod elect;
mod endpoints;
mod facts;
mod garbage;
mod lead;
mod leadership;
mod lifecycle;
mod options;
mod pools;
mod scheduler;
mod subnets;
#[cfg(test)]
mod testing;
mod view;
mod workloads;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use ipnet::IpNet;
use kube::Client;
use sealane_introspect::{Introspect, Served};
use sealane_kube::Access;
use sealane_kube::events::Recorder;
use sealane_net::Ranges;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use controllers::Controllers;
use lead::{Leader, Shared};
use leadership::Leadership;
pub use options::NodeOptions;
use subnets::Cut;

/// How `sealane controllers` is told what to do.
#[derive(Clone, Debug, Args)]
pub struct Options {
    #[command(flatten)]
    pub access: Access,

    /// Range of pod addresses to give nodes their subnets from, or one of each family: 10.244.0.0/16,fd00:10:244::/56.
    ///
    /// Without it nodes get no subnets from us, which is right where another
    /// controller does that.
    #[arg(long, value_name = "CIDR[,CIDR]")]
    pub cluster_cidr: Option<Ranges>,

    /// Prefix length of a node's IPv4 subnet; /24 has room for 253 pods.
    #[arg(long, value_name = "BITS", default_value_t = 24)]
    pub node_cidr_mask_size_ipv4: u8,

    /// Prefix length of a node's IPv6 subnet.
    #[arg(long, value_name = "BITS", default_value_t = 64)]
    pub node_cidr_mask_size_ipv6: u8,

    /// How patient to be with nodes.
    #[command(flatten)]
    pub nodes: NodeOptions,

    /// Time between two looks of each HorizontalPodAutoscaler.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = options::duration)]
    pub horizontal_pod_autoscaler_sync_period: Duration,

    /// Name under which this process leads; must differ between processes of one cluster [default: the host name].
    ///
    /// A process that is restarted under the same name goes on at once.
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,

    /// Unix socket that serves health, metrics and debug state.
    #[arg(long, value_name = "PATH")]
    pub debug_socket: Option<PathBuf>,
}

/// What was made of the options, as `/debug/config` shows it.
#[derive(Serialize)]
struct Resolved<'a> {
    cluster_cidr: Option<&'a Ranges>,
    node_cidr_mask_size_ipv4: u8,
    node_cidr_mask_size_ipv6: u8,
    nodes: &'a NodeOptions,
    horizontal_pod_autoscaler_sync_period: Duration,
    identity: &'a str,
}

/// Leads, or waits to lead, until `shutdown`.
///
/// # Errors
/// When the options make no sense, no API server is known, or the debug socket cannot be made. An API server that
/// cannot be reached is waited for.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<()> {
    let identity = match &options.identity {
        Some(identity) => identity.clone(),
        None => host_name()?,
    };
    // Refuse nonsense before anything is touched.
    let fresh = || Controllers::new(options.cuts(), options.nodes.settings());
    let controllers = Arc::new(Mutex::new(fresh()?));
    let garbage = garbage::Shared::default();
    let client = sealane_kube::client(&options.access, "controllers").await?;
    let introspect = Introspect::new("controllers");
    introspect.config(&options.resolved(&identity));
    let _served = serve(&introspect, &options, &controllers, &garbage)?;

    let leading = async {
        loop {
            *controllers.lock().unwrap_or_else(PoisonError::into_inner) = fresh()?;
            *garbage.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let period = options.horizontal_pod_autoscaler_sync_period;
            lead_once(
                &client,
                &identity,
                period,
                &controllers,
                &garbage,
                &introspect,
            )
            .await;
        }
    };
    tokio::select! {
        ended = leading => ended,
        () = shutdown.cancelled() => {
            let release = Leadership::new(client.clone(), &identity);
            // The next leader need not wait; a server that is gone too must not hold us up.
            let _late = tokio::time::timeout(Duration::from_secs(1), release.release()).await;
            Ok(())
        }
    }
}

/// One term: from taking the Lease to losing it.
async fn lead_once(
    client: &Client,
    identity: &str,
    autoscaler_period: Duration,
    controllers: &Shared,
    collector: &garbage::Shared,
    introspect: &Introspect,
) {
    // Standing by counts as ready, or the second of two replicas would never be.
    let readiness = introspect.readiness("leads-or-stands-by");
    let leads = introspect.gauge(
        "sealane_controllers_leads",
        "1 while this process leads.",
        &[],
    );
    let mut leadership = Leadership::new(client.clone(), identity);
    leadership.acquire(|| readiness.ready()).await;
    readiness.not_ready("reading the cluster");
    tracing::info!("leading as {identity}");
    leads.set(1.0);
    let events = Recorder::new(client.clone(), "sealane-controllers", identity);
    let collector = garbage::run(
        client.clone(),
        events.clone(),
        Arc::clone(collector),
        introspect,
    );
    let autoscalers = autoscale::run(client.clone(), events.clone(), autoscaler_period);
    let leader = Leader::new(
        client,
        events,
        Arc::clone(controllers),
        introspect,
        readiness,
    );
    tokio::select! {
        why = leadership.keep() => tracing::warn!("no longer leading: {why}"),
        () = leader.run() => {}
        () = collector => {}
        () = autoscalers => {}
    }
    leads.set(0.0);
}

fn serve(
    introspect: &Introspect,
    options: &Options,
    controllers: &Shared,
    garbage: &garbage::Shared,
) -> anyhow::Result<Option<Served>> {
    let shown = Arc::clone(controllers);
    introspect.state("controllers", move || {
        let controllers = shown.lock().unwrap_or_else(PoisonError::into_inner);
        controllers.state(Instant::now())
    });
    let shown = Arc::clone(garbage);
    introspect.state("garbage-collector", move || {
        let collector = shown.lock().unwrap_or_else(PoisonError::into_inner);
        collector.as_ref().map(garbage::state).into()
    });
    let served = options
        .debug_socket
        .as_deref()
        .map(|path| introspect.serve_unix(path));
    Ok(served.transpose()?)
}

fn host_name() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("read the host name; give --identity NAME")?;
    Ok(name.to_string_lossy().into_owned())
}

impl Options {
    fn cuts(&self) -> Vec<Cut> {
        let mask = |range: IpNet| match range {
            IpNet::V4(_) => self.node_cidr_mask_size_ipv4,
            IpNet::V6(_) => self.node_cidr_mask_size_ipv6,
        };
        let cut = |range| Cut {
            range,
            mask: mask(range),
        };
        self.cluster_cidr
            .iter()
            .flat_map(Ranges::iter)
            .map(cut)
            .collect()
    }

    fn resolved<'a>(&'a self, identity: &'a str) -> Resolved<'a> {
        Resolved {
            cluster_cidr: self.cluster_cidr.as_ref(),
            node_cidr_mask_size_ipv4: self.node_cidr_mask_size_ipv4,
            node_cidr_mask_size_ipv6: self.node_cidr_mask_size_ipv6,
            nodes: &self.nodes,
            horizontal_pod_autoscaler_sync_period: self.horizontal_pod_autoscaler_sync_period,
            identity,
        }
    }
}
