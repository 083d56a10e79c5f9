//! Task: the embedded Kubernetes API of the single-machine cluster.
//!
//! ```text
//!   client ── TLS, client certificate ──► serve ──► server: path, kind, verb
//!                                                     │
//!             discovery, openapi, version ◄───────────┤
//!                                                     ▼
//!                     kinds (a table) ◄── verbs: get list watch create update patch delete
//!                     types, defaults, rules, columns │
//!                                                     ▼
//!                                        store: index in memory, commits on disk, event log
//! ```
//!
//! Objects are JSON values whose types `k8s-openapi` checks; the machinery is the same for all
//! kinds and reads what is particular about one from its row in `kinds`. What is not served is
//! refused by name, never accepted and ignored. It is the single-machine default only: scale is
//! the job of kube-apiserver and etcd.
//!
//! Tasks, all on one thread beside the store's writer: one for each connection, one that fills
//! and empties namespaces, one that looks after the addresses of Services, one that counts what
//! quotas are used of, one that keeps the Service `kubernetes`, one that looks after custom resource
//! definitions, one that writes aggregated roles, one that forgets old events. A watcher that does not
//! read waits in its own connection; it costs others nothing, and catches up from the event log.

mod admission;
mod answer;
mod authn;
mod authz;
mod bootstrap;
mod check;
mod custom;
mod debug;
mod default_tolerations;
mod discovery;
mod expiry;
#[doc(hidden)]
pub mod fuzzing;
mod gather;
mod kinds;
mod listen;
mod metrics;
mod namespaces;
mod node_client;
mod object;
mod openapi;
mod options;
mod owners;
mod pages;
mod patch;
mod priority;
mod quota;
mod request;
mod reviews;
mod schema;
mod select;
mod serve;
mod server;
mod service_account;
mod service_addresses;
mod status;
mod streams;
mod table;
mod tls;
mod verbs;
mod webhooks;

use std::sync::Arc;

use anyhow::Context as _;
use sealane_introspect::Introspect;
use sealane_store::{Attributes, Bounds, Key, Store};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use default_tolerations::DefaultTolerations;
use kinds::Kinds;
pub use listen::Listen;
pub use options::Options;
use server::Server;
use service_addresses::ServiceAddresses;

/// Serves the API until `shutdown` is cancelled.
///
/// # Errors
///
/// What keeps it from starting: a file that cannot be read, an address that cannot be listened
/// on, a store that cannot be opened.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<()> {
    let acceptor = tls::acceptor(&options)?;
    let listeners = listen::open(&options.listen).await?;
    let (server, introspect) = assemble(&options, shutdown.clone())?;
    let definitions = custom::keeper::Keeper::restore(&server);
    bootstrap::make(&server, &options)
        .await
        .context("make the objects that every cluster has")?;
    let repaired = service_addresses::repair(&server)
        .await
        .map_err(|error| anyhow::anyhow!(error.message))
        .context("compare Services with their IPAddresses")?;
    let mut tasks = JoinSet::new();
    let root_ca = std::fs::read_to_string(options.root_ca())
        .with_context(|| format!("read certificates from {}", options.root_ca().display()))?;
    tasks.spawn(namespaces::run(server.clone(), root_ca));
    tasks.spawn(service_addresses::run(server.clone(), repaired));
    tasks.spawn(definitions.run(server.clone()));
    tasks.spawn(bootstrap::keep(server.clone(), options.clone()));
    tasks.spawn(expiry::run(server.clone()));
    tasks.spawn(quota::run(server.clone()));
    tasks.spawn(authz::aggregate::run(server.clone()));
    let _debug = debug::serve(&introspect, &server, &options)?;
    for listener in listeners {
        tasks.spawn(serve::accept(listener, acceptor.clone(), server.clone()));
    }
    shutdown.cancelled().await;
    serve::drain(tasks).await;
    Ok(())
}

/// Who makes tokens, if there is a key for it.
fn issuer(options: &Options) -> anyhow::Result<Option<authn::Issuer>> {
    let Some(path) = &options.service_account_key_file else {
        return Ok(None);
    };
    let key = authn::SigningKey::read(path)?;
    Ok(Some(authn::Issuer::new(
        key,
        options.service_account_issuer.clone(),
    )))
}

/// Opens the store and what all requests share.
fn assemble(
    options: &Options,
    shutdown: CancellationToken,
) -> anyhow::Result<(Arc<Server>, Introspect)> {
    let kinds = Arc::new(Kinds::default());
    let known = kinds.clone();
    let store = Store::open(sealane_store::Options {
        path: options.store.clone(),
        bounds: Bounds {
            events: options.event_history,
            ..Bounds::default()
        },
        describe: Arc::new(move |key, object| describe(&known, key, object)),
    })?;
    let introspect = Introspect::new("apiserver");
    let server = Arc::new(Server {
        requests: debug::Requests::new(&introspect),
        addresses: addresses(&store, options),
        tolerations: DefaultTolerations {
            not_ready_seconds: options.default_not_ready_toleration_seconds,
            unreachable_seconds: options.default_unreachable_toleration_seconds,
        },
        nodes: node_client::NodeClient::new(options)?,
        issuer: issuer(options)?,
        authorizer: authz::Authorizer::new(store.clone()),
        kinds,
        store,
        pages: pages::Pages::default(),
        metrics: metrics::Metrics::default(),
        quotas: quota::Locks::default(),
        webhooks: webhooks::Webhooks::default(),
        shutdown,
    });
    Ok((server, introspect))
}

/// The pools of Services' addresses and ports, without what is in use.
fn addresses(store: &Store, options: &Options) -> ServiceAddresses {
    let services = store.list(&kinds::SERVICE.bucket(), None, |_| true).entries;
    let services = services
        .iter()
        .filter_map(|entry| serde_json::from_slice(&entry.object.unpack()).ok());
    let (ranges, ports) = (
        &options.service_cluster_ip_range,
        &options.service_node_port_range,
    );
    ServiceAddresses::new(ranges, ports.clone(), services)
}

/// What selectors see of an object that comes from the disk.
fn describe(kinds: &Kinds, key: &Key, object: &[u8]) -> Attributes {
    // What definitions say of fields is known only when all of the disk has been read.
    let kind = kinds.stored_in(key.bucket());
    let fields = kind.as_ref().map_or(&[][..], |kind| kind.fields);
    match object::outline(object, fields) {
        Ok(outline) => object::describe(fields, &outline),
        Err(cause) => {
            tracing::error!(%key, %cause, "an object in the store cannot be read");
            Attributes::default()
        }
    }
}
