//! Putting the parts together, in the order in which they need each other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sealane_introspect::Introspect;
use sealane_kube::events::Recorder;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{Directory, Dispatch};
use crate::downward::Allocatable;
use crate::env::links::Link;
use crate::node::{Node, Parts};
use crate::options::Options;
use crate::server::{Server, Service, tls};
use crate::summary::Figures;
use crate::{adopt, heartbeat, images, machine, network, node_status};

/// Runs the node's part until `shutdown`; pods go on running without it.
///
/// # Errors
/// When it cannot start: no access to the API, unreadable certificates, ports in use.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<()> {
    let introspect = Introspect::new("node");
    introspect.config(&options.shown());
    let registered = introspect.readiness("registered");
    let directory = Directory::default();
    let shown = directory.clone();
    introspect.state("pods", move || shown.shown());

    let files = tls::Files {
        cert: &options.tls_cert,
        key: &options.tls_key,
        client_ca: &options.client_ca,
    };
    let figures = Figures {
        node: options.node_name.clone(),
        cgroup: options.cgroup.clone(),
    };
    let service = Service::new(directory.clone(), figures, tls::config(files)?);
    let client = sealane_kube::client(&options.access, "node").await?;
    make_folders(&options)?;

    let network = network::follow(options.cni_conf_dir.clone());
    let facts = machine::facts(&options);
    let left = node_status::allocatable(&facts);
    let allocatable = Allocatable {
        cpu_millis: left.cpu_millis,
        memory_bytes: left.memory_bytes,
    };
    let (site, returned) = heartbeat::start(
        client.clone(),
        facts,
        network.clone(),
        registered,
        Duration::from_secs(options.node_lease_duration_seconds.into()),
    );
    let _server = Server::start(service, &addresses(&options)).await?;
    let _debug = introspect.serve_unix(options.run_dir.join("node.debug.sock"))?;

    if let Some(dir) = &options.image_dir {
        let store = sealane_image::Store::open(dir);
        images::keep::start(client.clone(), options.node_name.clone(), store);
    }
    let (confirm, confirmed) = watch::channel(false);
    let recorder = Recorder::new(client.clone(), "kubelet", &options.node_name);
    let node = Arc::new(Node::new(
        &options,
        Parts {
            client,
            recorder,
            network,
            confirmed,
            api_server: match options.kubernetes_service {
                Some(at) => Some(Link::api_server(&at.ip().to_string(), at.port())),
                None => api_server(&options.access.server().await?),
            },
            allocatable,
        },
    ));
    let mut dispatch = Dispatch::new(Arc::clone(&node), directory, confirm, site);
    dispatch.resume(adopt::find(&node).await);
    tokio::select! {
        () = dispatch.run(&options.node_name, returned) => {}
        () = shutdown.cancelled() => tracing::info!("node: stopped, its pods go on"),
    }
    Ok(())
}

/// The API server as pods are told of it.
fn api_server(url: &str) -> Option<Link> {
    let url: hyper::Uri = url.parse().ok()?;
    let port = match (url.port_u16(), url.scheme_str()) {
        (Some(port), _) => port,
        (None, Some("http")) => 80,
        (None, _) => 443,
    };
    let host = url.host()?.trim_matches(['[', ']']);
    Some(Link::api_server(host, port))
}

fn make_folders(options: &Options) -> anyhow::Result<()> {
    for dir in [
        options.state_dir.join("pods"),
        options.run_dir.join("pods"),
        options.run_dir.join("volumes"),
    ] {
        std::fs::create_dir_all(&dir).with_context(|| format!("make folder {}", dir.display()))?;
    }
    Ok(())
}

fn addresses(options: &Options) -> Vec<SocketAddr> {
    let port = options.port;
    options
        .node_ip
        .iter()
        .map(|ip| SocketAddr::new(*ip, port))
        .collect()
}
