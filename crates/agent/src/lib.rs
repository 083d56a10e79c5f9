//! Task: the network of one node.
//!
//! ```text
//!        Kubernetes API                     container runtime
//!     Nodes │    │ Pods of this node              │ exec
//!           ▼    ▼                                ▼
//!         feed (256)                      plugin ─► agent.sock
//!              └───────────► core ◄───────────────┘
//!                             │ one task, one state
//!          ┌──────────────────┼─────────────────────┐
//!          ▼                  ▼                     ▼
//!   leases.json        node's network         pods' links
//!   durable first      bridge, table, routes  veth, addresses
//! ```
//!
//! * [`core`]: the task that owns the state; its module draws its channels.
//! * [`node`]: what all pods of the node share, as observe, compile, diff, apply.
//! * [`cloud`]: addresses of the machine's network interfaces at EC2.
//! * [`leases`]: who has which address, durable before use.
//! * [`wire`]: one pod's link.
//! * `guard`: what keeps each pod to its own addresses.
//! * [`reconcile`]: what leaked or broke, decided from kernel, API and leases.
//! * `probe`: whether somebody else has a pod's address.
//! * [`inspect`]: what `sealane ipam` shows of it.
//! * [`services`]: Services in the kernel, on a thread of their own.
//! * [`serve()`]: all of it over any source of API objects; [`run`] takes the
//!   API server's and is what the program calls.
//!
//! What the agent makes in the kernel outlives it: pods talk on while it is
//! away, and when it comes back it changes only what is wrong.

mod answer;
pub mod cloud;
pub mod core;
mod drops;
mod guard;
pub mod inspect;
mod install;
pub mod leases;
pub mod node;
mod options;
mod patience;
mod ports;
mod privileges;
mod probe;
pub mod reconcile;
mod serve;
pub mod services;
mod shape;
mod socket;
pub mod wire;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use futures::{FutureExt, Stream, StreamExt, TryFutureExt};
use sealane_introspect::{Introspect, keep_small};
use sealane_kube::{
    Api, Change, Client, Filter,
    events::{Recorder, Severity},
    explain,
    k8s_openapi::api::core::v1::{Namespace, Node, ObjectReference, Pod},
    node_net, pod_net, watch_as, watch_ip_pools, watch_service_ranges, watch_services,
    watch_slices, write_pool,
};
use sealane_netlink::{Ears, Netlink};
use sealane_objects::ObjectName;
use services::Input;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

pub use core::{Announce, Ledger};
pub use options::{Options, Settings};
pub use sealane_net::{AntiSpoofing, Attachment, ProxyMode};
pub use sealane_route::Routing;
pub use serve::{Feed, Surroundings, serve};

/// How many changes of the API wait for the core.
const FEED: usize = 256;

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// Settings that cannot be used, privileges that are missing, or another agent
/// on the same folders. An API server that is away is waited for.
pub fn run(options: Options) -> anyhow::Result<()> {
    let settings = options.resolve()?;
    let also = match settings.proxy_mode {
        ProxyMode::Iptables => privileges::OF_IPTABLES,
        ProxyMode::Nftables | ProxyMode::None => &[],
    };
    // Opening needs a right that is given up with the others.
    let ears = Ears::open()
        .inspect_err(|error| tracing::warn!("{error}; duplicate addresses of pods go unnoticed"))
        .ok();
    privileges::drop_unneeded(also)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(run_here(settings, ears))
}

async fn run_here(settings: Settings, ears: Option<Ears>) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    cancel_on_signals(&shutdown)?;
    tokio::spawn(keep_small());
    let client = sealane_kube::client(&settings.access, "agent").await?;
    let surroundings = Surroundings {
        kernel: Netlink::in_current()?,
        program: PathBuf::from(install::SELF),
        feed: feed(&client, &settings.node_name),
        services: services_feed(&client, &settings),
        introspect: Introspect::new("agent"),
        ledger: ledger(client.clone(), &settings.node_name),
        announce: announce(client, &settings.node_name),
        ears,
    };
    serve(settings, surroundings, shutdown).await
}

fn cancel_on_signals(shutdown: &CancellationToken) -> anyhow::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("listen for signals")?;
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            signals.recv().await;
            tracing::info!("ending; the node's network stays as it is");
            shutdown.cancel();
        });
    }
    Ok(())
}

/// Events of the node, and of the pod that is concerned.
fn announce(client: Client, node_name: &str) -> core::Announce {
    let recorder = Recorder::new(client, "sealane-agent", node_name);
    let node = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Node".into()),
        name: Some(node_name.into()),
        // As the kubelet's own: `kubectl describe node` looks for it.
        uid: Some(node_name.into()),
        ..ObjectReference::default()
    };
    Box::new(move |pod, reason, message| {
        recorder.record(&node, Severity::Warning, reason, message);
        if let Some(pod) = pod {
            let pod = ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                namespace: Some(pod.name.namespace.clone()),
                name: Some(pod.name.name.clone()),
                uid: Some(pod.uid.clone()),
                ..ObjectReference::default()
            };
            recorder.record(&pod, Severity::Warning, reason, message);
        }
    })
}

/// Events of Services.
fn announce_services(client: Client, node_name: &str) -> services::Announce {
    let recorder = Recorder::new(client, "sealane-agent", node_name);
    Arc::new(move |service: &ObjectName, reason: &str, message: &str| {
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Service".into()),
            namespace: Some(service.namespace.clone()),
            name: Some(service.name.clone()),
            ..ObjectReference::default()
        };
        recorder.record(&about, Severity::Warning, reason, message);
    })
}

/// Watches what the agent needs of the API, and no more.
fn feed(client: &Client, node_name: &str) -> mpsc::Receiver<Feed> {
    let (sender, feed) = mpsc::channel(FEED);
    let nodes = watch_as(Api::<Node>::all(client.clone()), &Filter::all(), |node| {
        node_net(&node)
    });
    tokio::spawn(forward(nodes.map(Feed::Nodes), sender.clone()));
    let here = Filter::fields(format!("spec.nodeName={node_name}"));
    let pods = watch_as(Api::<Pod>::all(client.clone()), &here, |pod| pod_net(&pod));
    tokio::spawn(forward(pods.map(Feed::Pods), sender.clone()));
    tokio::spawn(forward_pools(client.clone(), sender));
    feed
}

/// Watches Services and their endpoints, unless somebody else serves them.
fn services_feed(client: &Client, settings: &Settings) -> services::Queue {
    let announce = announce_services(client.clone(), &settings.node_name);
    let queue = services::Queue::new(announce);
    if settings.proxy_mode == ProxyMode::None {
        return queue;
    }
    let all = Filter::labels("!service.kubernetes.io/headless");
    let services = watch_services(client.clone(), &Filter::all());
    tokio::spawn(hand_over(
        services.map(Input::Services),
        queue.sender.clone(),
    ));
    let slices = watch_slices(client.clone(), &all);
    tokio::spawn(hand_over(slices.map(Input::Slices), queue.sender.clone()));
    queue
}

async fn hand_over(changes: impl Stream<Item = Input>, to: services::Sender) {
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        if to.send(change).is_err() {
            return;
        }
    }
}

/// Pools; once there is one the ranges of Services, and once one selects by them the labels of namespaces.
async fn forward_pools(client: Client, to: mpsc::Sender<Feed>) {
    let mut pools = std::pin::pin!(watch_ip_pools(client.clone()));
    let (mut watches_namespaces, mut watches_ranges) = (false, false);
    while let Some(change) = pools.next().await {
        if !watches_ranges && !matches!(&change, Change::Reset(all) if all.is_empty()) {
            watches_ranges = true;
            let ranges = watch_service_ranges(client.clone());
            tokio::spawn(forward(ranges.map(Feed::ServiceRanges), to.clone()));
        }
        let by_namespace = match &change {
            Change::Reset(all) => all.iter().any(|(_, pool)| pool.namespaces.is_some()),
            Change::Applied(_, pool) => pool.namespaces.is_some(),
            Change::Deleted(..) => false,
        };
        if by_namespace && !watches_namespaces {
            watches_namespaces = true;
            let api = Api::<Namespace>::all(client.clone());
            let labels = watch_as(api, &Filter::all(), |namespace| {
                namespace.metadata.labels.unwrap_or_default()
            });
            tokio::spawn(forward(labels.map(Feed::Namespaces), to.clone()));
        }
        if to.send(Feed::Pools(change)).await.is_err() {
            return;
        }
    }
}

/// Writes the node's blocks into the pools' status.
fn ledger(client: Client, node_name: &str) -> core::Ledger {
    let node = node_name.to_owned();
    Box::new(move |write| {
        let (client, node) = (client.clone(), node.clone());
        let written = async move { write_pool(&client, &node, &write).await };
        written.map_err(|error| explain(&error).to_string()).boxed()
    })
}

async fn forward(changes: impl Stream<Item = Feed>, to: mpsc::Sender<Feed>) {
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        if to.send(change).await.is_err() {
            return;
        }
    }
}
