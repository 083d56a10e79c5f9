//! What can be seen of the server from this machine: metrics, settings, state.

use std::sync::Arc;

use anyhow::Context as _;
use http::StatusCode;
use sealane_introspect::{Counter, Introspect, Served};
use serde_json::{Value, json};

use crate::{Options, server::Server};

/// Requests answered, by the class of their status, and events encoded for watchers.
pub struct Requests {
    answered: [Counter; 4],
    encoded: Counter,
}

impl Requests {
    /// Counters that `introspect` shows.
    pub fn new(introspect: &Introspect) -> Self {
        let counter = |class| {
            let help = "Requests answered, by the class of their status.";
            introspect.counter("sealane_apiserver_requests_total", help, &[("code", class)])
        };
        let help = "Events of watches that were encoded, once for each form that was asked for.";
        Self {
            answered: ["1xx", "2xx", "4xx", "5xx"].map(counter),
            encoded: introspect.counter("sealane_apiserver_watch_encodings_total", help, &[]),
        }
    }

    /// Counts one answer.
    pub fn count(&self, status: StatusCode) {
        let class = match status.as_u16() {
            ..200 => 0,
            200..400 => 1,
            400..500 => 2,
            500.. => 3,
        };
        self.answered[class].inc();
    }

    /// Counts an event that was encoded.
    pub fn encoded(&self) {
        self.encoded.inc();
    }
}

/// Serves the debug socket, if one is asked for; it closes when the result is dropped.
pub fn serve(
    introspect: &Introspect,
    server: &Arc<Server>,
    options: &Options,
) -> anyhow::Result<Option<Served>> {
    let Some(socket) = &options.debug_socket else {
        return Ok(None);
    };
    introspect.config(&config(options));
    let store = server.store.clone();
    introspect.state("store", move || state(&store));
    introspect.readiness("store").ready();
    let served = introspect.serve_unix(socket);
    served
        .map(Some)
        .with_context(|| format!("serve the debug socket {}", socket.display()))
}

fn config(options: &Options) -> Value {
    let listen: Vec<String> = options.listen.iter().map(ToString::to_string).collect();
    let ranges: Vec<String> = options
        .service_cluster_ip_range
        .iter()
        .map(ToString::to_string)
        .collect();
    let ports = &options.service_node_port_range;
    json!({
        "listen": listen,
        "advertiseAddress": options.advertise_address.to_string(),
        "store": options.store,
        "eventHistory": options.event_history,
        "clientCA": options.client_ca,
        "rootCAFile": options.root_ca(),
        "tlsCert": options.tls_cert,
        "kubeletClientCert": options.kubelet_client_cert,
        "kubeletCA": options.kubelet_ca,
        "serviceClusterIPRange": ranges,
        "serviceNodePortRange": format!("{}-{}", ports.start(), ports.end()),
    })
}

fn state(store: &sealane_store::Store) -> Value {
    let resources: Vec<Value> = store
        .counts()
        .into_iter()
        .map(|(bucket, objects, watchers)| {
            let (group, resource) = bucket.parts();
            json!({ "group": group, "resource": resource, "objects": objects, "watchers": watchers })
        })
        .collect();
    json!({ "revision": store.revision(), "resources": resources })
}
