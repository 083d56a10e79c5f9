//! `metrics.k8s.io`: what pods and nodes take of processor and memory, as metrics-server tells it.
//!
//! ```text
//! kubectl top, autoscaler ──> get, list ──> is the newest sample older than a second?
//!                                             │ yes: ask every node that is ready  /stats/summary
//!                                             ▼
//!                             history: samples of the last minute ──> rates ──> PodMetrics, NodeMetrics
//! ```
//!
//! Nothing runs while nobody asks. A rate needs two readings: who asks first after a while waits a
//! second for the other one and gets a rate over that second; who asks every fifteen seconds gets one
//! over fifteen. metrics-server instead reads every node all the time, and answers that it knows
//! nothing yet for as long after its start.

mod history;
mod objects;
mod summary;

use std::time::Duration;

use futures::future::join_all;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use jiff::Timestamp;
use sealane_store::Entry;
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{sleep, timeout},
};

use crate::{
    answer::{self, Body},
    kinds::{Measured, NODE, POD},
    node_client,
    request::{Form, ListOptions},
    server::{Context, Server},
    status::ApiError,
    table,
};
use history::{History, MOMENT, Sample};
use summary::Summary;

/// How long a node may take to tell.
const PATIENCE: Duration = Duration::from_secs(3);
/// A node with hundreds of pods says less.
const SUMMARY_MAX_BYTES: usize = 16 << 20;

/// What nodes have said lately. Who finds it taken waits for the same answer.
#[derive(Default)]
pub struct Metrics {
    history: Mutex<History>,
}

/// Answers a request for `PodMetrics` or `NodeMetrics`.
///
/// # Errors
///
/// 404 for one that is not known, 405 for what is neither get nor list.
pub async fn answer(
    context: &Context,
    measured: Measured,
    method: &Method,
) -> Result<Response<Body>, ApiError> {
    if method != Method::GET || context.target.watch {
        return Err(ApiError::method_not_allowed());
    }
    let (kind, target) = (&context.kind, &context.target);
    let options = ListOptions::parse(&context.query)?;
    if options.watch {
        return Err(ApiError::method_not_allowed());
    }
    crate::verbs::check_fields(kind, &options)?;
    let server = &context.server;
    let history = recent(server).await;
    let of = match measured {
        Measured::Pods => &POD,
        Measured::Nodes => &NODE,
    };
    let show = |entry: &Entry| match measured {
        Measured::Pods => objects::pod(entry, &history),
        Measured::Nodes => objects::node(entry, &history),
    };
    if !target.name.is_empty() {
        let found = server.store.get(&of.key(&target.namespace, &target.name));
        let shown = found.and_then(|entry| show(&entry));
        let shown = shown.ok_or_else(|| ApiError::not_found(kind, &target.name))?;
        let shaped = answer::shape(kind, context.accept, shown);
        return Ok(answer::value(StatusCode::OK, context.accept, &shaped));
    }
    let listing = server
        .store
        .list(&of.bucket(), context.namespace(), |entry| {
            crate::verbs::selected(&options, entry)
        });
    let shown = listing.entries.iter().filter_map(|entry| show(entry));
    Ok(list(context, shown.collect()))
}

/// A list that is not one of stored objects.
fn list(context: &Context, items: Vec<Value>) -> Response<Body> {
    let (kind, accept) = (&context.kind, context.accept);
    let shaped = match accept.form {
        Form::Table(include) => {
            table::table(kind, include, json!({}), &items, Timestamp::now(), true)
        }
        Form::Metadata => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {},
            "items": items.iter().map(answer::metadata_only).collect::<Vec<_>>(),
        }),
        Form::Object | Form::Discovery(_) => json!({
            "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": {},
            "items": items,
        }),
    };
    answer::value(StatusCode::OK, accept, &shaped)
}

/// The history with a sample of this moment, and one before it.
async fn recent(server: &Server) -> MutexGuard<'_, History> {
    let mut history = server.metrics.history.lock().await;
    let is_fresh = |age: Duration| age < MOMENT;
    if history.is_rated() && history.age(Timestamp::now()).is_some_and(is_fresh) {
        return history;
    }
    history.add(Timestamp::now(), ask_all(server).await);
    if !history.is_rated() {
        sleep(MOMENT).await;
        history.add(Timestamp::now(), ask_all(server).await);
    }
    history
}

/// Asks all nodes that are ready. One that does not answer is left out, as it is by metrics-server.
async fn ask_all(server: &Server) -> Sample {
    let nodes = server.store.list(&NODE.bucket(), None, |_| true).entries;
    let ready = nodes.iter().filter(|entry| is_ready(entry));
    let asked = ready.map(|entry| async {
        let name = entry.key.name();
        let answer = timeout(PATIENCE, ask(server, name)).await;
        match answer.map_err(|_| "no answer in time".to_owned()) {
            Ok(Ok(summary)) => Some((name.to_owned(), summary)),
            Ok(Err(cause)) | Err(cause) => {
                tracing::warn!(node = name, cause, "a node does not say what its pods take");
                None
            }
        }
    });
    let nodes = join_all(asked).await.into_iter().flatten().collect();
    Sample { nodes }
}

fn is_ready(node: &Entry) -> bool {
    let Ok(node) = serde_json::from_slice::<Value>(&node.object.unpack()) else {
        return false;
    };
    let conditions = node["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}

async fn ask(server: &Server, node: &str) -> Result<Summary, String> {
    let address = node_client::address(server, node).map_err(|error| error.message)?;
    let connected = server.nodes.connect(&address).await;
    let mut sender = connected.map_err(|error| error.message)?;
    let request = Request::get("/stats/summary")
        .header(header::HOST, address.authority())
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|cause| cause.to_string())?;
    let response = sender.send_request(request).await;
    let response = response.map_err(|cause| cause.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), SUMMARY_MAX_BYTES);
    let body = body.collect().await.map_err(|cause| cause.to_string())?;
    let body = body.to_bytes();
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
    }
    Summary::parse(&body).map_err(|cause| format!("read its summary: {cause}"))
}
