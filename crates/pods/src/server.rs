//! HTTPS on each node address: what the API server asks a kubelet for.
//!
//! | path | what |
//! |---|---|
//! | `/containerLogs/NAMESPACE/POD/CONTAINER` | a container's log, `PodLogOptions` as query |
//! | `/exec/NAMESPACE/POD/CONTAINER` | a command, over WebSocket or SPDY |
//! | `/attach/NAMESPACE/POD/CONTAINER` | a container's own process, likewise |
//! | `/portForward/NAMESPACE/POD` | ports of the pod, likewise, or the bytes of one connection |
//! | `/pods` | the pods of this node, a `PodList` |
//! | `/stats/summary` | what the node and its containers take of processor and memory |
//! | `/healthz` | `ok` |
//!
//! ```text
//! listener (one per address) ──> connection task (TLS handshake, HTTP/1.1)
//!                                     ├─> log task ──mpsc 8──> response body
//!                                     └─> task for exec, attach, port-forward (after the upgrade)
//! ```
//!
//! Errors are plain words, as a kubelet's. Reading through a slow client holds
//! up that log's task alone: its channel is full, and the file is not read on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::dispatch::Directory;
use crate::summary::Figures;

mod answer;
mod attach;
mod descriptor;
mod exec;
mod exec_start;
mod idle;
mod logs;
mod port_forward;
mod session;
mod spdy;
mod target;
pub mod tls;
mod upgrade;

use answer::{Body, Refusal};
use target::Target;

/// A client that says nothing is not waited for.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After a failed accept (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address} for logs and exec: {source}")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// The server. Dropping it cuts all connections.
pub struct Server {
    _listeners: JoinSet<()>,
}

/// What is served, and to whom.
#[derive(Clone)]
pub struct Service {
    directory: Directory,
    figures: Figures,
    acceptor: TlsAcceptor,
}

impl Service {
    /// Serves the pods of `directory` and their `figures` with this certificate.
    pub fn new(directory: Directory, figures: Figures, tls: rustls::ServerConfig) -> Self {
        Self {
            directory,
            figures,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
        }
    }
}

impl Server {
    /// Listens on all addresses.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub async fn start(service: Service, addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let mut listeners = JoinSet::new();
        for address in addresses {
            let failed = |source| ListenError {
                address: *address,
                source,
            };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            listeners.spawn(listen(service.clone(), listener));
        }
        Ok(Self {
            _listeners: listeners,
        })
    }
}

async fn listen(service: Service, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(converse(service.clone(), stream))),
                Err(error) => {
                    tracing::warn!("accept a connection for logs and exec: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// One connection, until the client goes away.
async fn converse(service: Service, stream: TcpStream) {
    // Small answers must not wait for acknowledgements; failing to say so only costs time.
    let _slower = stream.set_nodelay(true);
    let handshake = service.acceptor.accept(stream);
    let stream = match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!("TLS handshake: {error}"),
        Err(_) => return,
    };
    let master = tls::is_master(stream.get_ref().1.peer_certificates());
    let answers = service_fn(|request| {
        let service = service.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(&service, master, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .serve_connection(TokioIo::new(stream), answers)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!("connection for logs and exec: {error}");
    }
}

async fn answer(service: &Service, master: bool, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let result = match master {
        true => route(service, request).await,
        false => Err(Refusal::forbidden(
            "this server answers members of system:masters, such as the API server, alone",
        )),
    };
    result.unwrap_or_else(|refusal| {
        tracing::debug!("{path}: {} {}", refusal.code, refusal.message);
        refusal.response()
    })
}

async fn route(service: &Service, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let directory = &service.directory;
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["healthz"] => Ok(answer::text("ok")),
        ["pods"] => Ok(answer::json_text(&json!({
            "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": directory.pods(),
        }))),
        ["stats", "summary"] => summary(service).await,
        ["containerLogs", namespace, pod, container] => {
            let target = Target::find(directory, namespace, pod, container)?;
            logs::answer(target, request.uri().query().unwrap_or_default())
        }
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] => {
            exec::answer(Target::find(directory, namespace, pod, container), request)
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
            attach::answer(Target::find(directory, namespace, pod, container), request)
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            port_forward::answer(directory, (namespace, pod), request).await
        }
        _ => Err(Refusal::not_found(format!("there is no path {path} here"))),
    }
}

/// Reads the figures beside the tasks of pods, which must not wait for a hundred small files.
async fn summary(service: &Service) -> Result<Response<Body>, Refusal> {
    let (figures, pods) = (service.figures.clone(), service.directory.running());
    let read = tokio::task::spawn_blocking(move || figures.read(&pods)).await;
    let read = read.map_err(io::Error::other).and_then(|read| read);
    let summary = read.map_err(|error| {
        Refusal::internal(format!("read what pods take of the machine: {error}"))
    })?;
    Ok(answer::json_text(&summary))
}
