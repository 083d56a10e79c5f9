//! HTTP/1 on a unix socket or a TCP address.

use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use crate::{Introspect, log_level, set_log_level};

/// A client that sends half a request is not waited for.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failed accept (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[error("serve health and state on {at}: {source}")]
pub struct ServeError {
    at: String,
    source: io::Error,
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Served {
    task: JoinHandle<()>,
    socket: Option<PathBuf>,
    address: Option<SocketAddr>,
}

impl Served {
    /// Where a TCP server listens, with the port that was chosen for port 0.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(socket) = &self.socket {
            // Already gone is as good; anything else is found at the next start.
            let _gone = fs::remove_file(socket);
        }
    }
}

/// Which paths are served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Everything,
    HealthAndMetrics,
}

impl Introspect {
    /// Serves everything on a unix socket that only this user can open. Must be called in a tokio runtime.
    ///
    /// A socket that a killed process left behind is replaced.
    ///
    /// # Errors
    /// When the socket cannot be made, or another process serves it.
    pub fn serve_unix(&self, path: impl AsRef<Path>) -> Result<Served, ServeError> {
        let path = path.as_ref();
        let listener = bind_unix(path).map_err(|source| ServeError {
            at: path.display().to_string(),
            source,
        })?;
        let mut served = self.serve_unix_on(listener)?;
        served.socket = Some(path.to_owned());
        Ok(served)
    }

    /// Serves everything on a unix socket that somebody else has made, and keeps.
    ///
    /// # Errors
    /// When the listener is of no use to the runtime.
    pub fn serve_unix_on(&self, listener: net::UnixListener) -> Result<Served, ServeError> {
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| UnixListener::from_std(listener));
        let listener = listener.map_err(|source| ServeError {
            at: "an inherited unix socket".into(),
            source,
        })?;
        Ok(self.listen_unix(listener))
    }

    fn listen_unix(&self, listener: UnixListener) -> Served {
        let answer = self.answers(Scope::Everything);
        let task = tokio::spawn(async move {
            loop {
                let accepted = listener.accept().await;
                serve_connection(accepted.map(|(io, _)| io), &answer).await;
            }
        });
        Served {
            task,
            socket: None,
            address: None,
        }
    }

    /// Serves health and metrics on a TCP socket that somebody else has made.
    ///
    /// # Errors
    /// When the listener is of no use to the runtime.
    pub fn serve_tcp_on(&self, listener: std::net::TcpListener) -> Result<Served, ServeError> {
        let at = listener.local_addr();
        let failed = |source| ServeError {
            at: at.map_or_else(|_| "an inherited port".into(), |at| at.to_string()),
            source,
        };
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(listener));
        listener
            .and_then(|listener| listen(listener, self.answers(Scope::HealthAndMetrics)))
            .map_err(failed)
    }

    /// Serves health and metrics, not debug state, on a TCP address. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn serve_tcp(&self, address: SocketAddr) -> Result<Served, ServeError> {
        let failed = |source| ServeError {
            at: address.to_string(),
            source,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        listen(listener, self.answers(Scope::HealthAndMetrics)).map_err(failed)
    }

    fn answers(&self, scope: Scope) -> Answer {
        let introspect = self.clone();
        Arc::new(move |request| introspect.answer(request, scope))
    }

    fn answer<B>(&self, request: &Request<B>, scope: Scope) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let debug = scope == Scope::Everything;
        match (request.method(), path) {
            (&Method::GET, "/healthz" | "/livez" | "/health") => text(StatusCode::OK, "ok\n"),
            (&Method::GET, "/readyz" | "/ready") => {
                text(self.ready_status(), self.render_readiness())
            }
            (&Method::GET, "/metrics") => text(StatusCode::OK, self.render_metrics()),
            (&Method::GET, "/debug/config") if debug => json(&self.shown_config()),
            (&Method::GET, "/debug/state") if debug => json(&self.shown_state()),
            (&Method::GET, "/debug/log") if debug => text(StatusCode::OK, log_level() + "\n"),
            (&Method::PUT, "/debug/log") if debug => change_level(request.uri().query()),
            (&Method::GET, _) if debug => self.answer_part(path),
            _ => not_here(path),
        }
    }

    fn answer_part(&self, path: &str) -> Response<Full<Bytes>> {
        path.strip_prefix("/debug/state/")
            .and_then(|name| self.shown_state_of(name))
            .map_or_else(|| not_here(path), |state| json(&state))
    }

    fn ready_status(&self) -> StatusCode {
        if self.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// What a server of one's own answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside those that every answer has.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

/// Answers on a listener by a function of the path, in the current tokio runtime.
///
/// # Errors
/// When the listener is of no use to the runtime.
pub fn serve_json(
    listener: std::net::TcpListener,
    reply: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static,
) -> Result<Served, ServeError> {
    let address = listener.local_addr();
    let failed = |source| ServeError {
        at: address.map_or_else(|_| "a port".into(), |at| at.to_string()),
        source,
    };
    let listener = listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener));
    let answer = move |request: &Request<Incoming>| {
        let path = request.uri().path();
        match reply(path).filter(|_| request.method() == Method::GET) {
            Some(reply) => replied(reply),
            None => text(
                StatusCode::NOT_FOUND,
                format!("{path} is not served here\n"),
            ),
        }
    };
    listener
        .and_then(|listener| listen(listener, Arc::new(answer)))
        .map_err(failed)
}

fn replied(reply: Reply) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(status, "application/json", reply.body);
    for (name, value) in reply.headers {
        if let Ok(value) = header::HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// How requests are answered.
type Answer = Arc<dyn Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync>;

fn listen(listener: TcpListener, answer: Answer) -> io::Result<Served> {
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        loop {
            let accepted = listener.accept().await;
            serve_connection(accepted.map(|(io, _)| io), &answer).await;
        }
    });
    Ok(Served {
        task,
        socket: None,
        address: Some(address),
    })
}

async fn serve_connection<S>(accepted: io::Result<S>, answer: &Answer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match accepted {
        Ok(stream) => drop(tokio::spawn(converse(stream, Arc::clone(answer)))),
        Err(error) => {
            tracing::warn!("accept a connection for health and state: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

fn converse<S>(stream: S, answer: Answer) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    async move {
        // A client that goes away is its own business.
        let _done = connection.await;
    }
}

/// As [`Introspect::serve_unix`], for processes without a runtime.
///
/// # Errors
/// When the socket cannot be made, or another process serves it.
pub fn bind_unix(path: &Path) -> io::Result<net::UnixListener> {
    let left_over = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if left_over {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process serves it; is this role running twice?",
            ));
        }
        fs::remove_file(path)?;
    }
    let listener = net::UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn change_level(query: Option<&str>) -> Response<Full<Bytes>> {
    let Some(level) = query.and_then(|query| query.strip_prefix("level=")) else {
        return text(
            StatusCode::BAD_REQUEST,
            "expected PUT /debug/log?level=LEVEL\n",
        );
    };
    match set_log_level(level) {
        Ok(()) => text(StatusCode::OK, log_level() + "\n"),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

fn not_here(path: &str) -> Response<Full<Bytes>> {
    let message = format!(
        "{path} is not served here; see /healthz, /readyz, /metrics, and on the unix socket /debug/config, /debug/state, /debug/log\n"
    );
    text(StatusCode::NOT_FOUND, message)
}

fn json(value: &Value) -> Response<Full<Bytes>> {
    let body = format!("{value:#}\n");
    respond(StatusCode::OK, "application/json", body)
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<Full<Bytes>> {
    respond(
        status,
        "text/plain; version=0.0.4; charset=utf-8",
        body.into(),
    )
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fetch;

    fn shown() -> Introspect {
        let introspect = Introspect::new("test");
        introspect.config(&json!({"nodeName": "node-1"}));
        introspect.state("routes", || json!(["10.244.1.0/24"]));
        introspect
    }

    async fn get(path: PathBuf, url: &'static str) -> crate::Fetched {
        tokio::task::spawn_blocking(move || fetch(&path, "GET", url))
            .await
            .unwrap()
            .unwrap()
    }

    #[tokio::test]
    async fn the_socket_serves_everything_and_goes_with_its_handle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug.sock");
        let introspect = shown();
        let served = introspect.serve_unix(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        let ready = introspect.readiness("nodes");
        let answer = get(path.clone(), "/readyz").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (503, "[-] nodes: not yet\nnot ready\n")
        );
        ready.ready();
        assert_eq!(get(path.clone(), "/readyz").await.status, 200);
        assert_eq!(get(path.clone(), "/healthz").await.body, "ok\n");
        let metrics = get(path.clone(), "/metrics").await.body;
        assert!(
            metrics.contains("sealane_build_info{role=\"test\""),
            "{metrics}"
        );
        let state: Value =
            serde_json::from_str(&get(path.clone(), "/debug/state").await.body).unwrap();
        assert_eq!(state, json!({"routes": ["10.244.1.0/24"]}));
        let part: Value =
            serde_json::from_str(&get(path.clone(), "/debug/state/routes").await.body).unwrap();
        assert_eq!(part, json!(["10.244.1.0/24"]));
        let config: Value =
            serde_json::from_str(&get(path.clone(), "/debug/config").await.body).unwrap();
        assert_eq!(config["config"]["nodeName"], "node-1");
        assert_eq!(get(path.clone(), "/debug/state/rules").await.status, 404);

        drop(served);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _served = shown().serve_unix(&path).unwrap();
        let error = shown().serve_unix(&path).unwrap_err().to_string();
        assert!(error.ends_with("is this role running twice?"), "{error}");
    }

    #[tokio::test]
    async fn tcp_hides_debug_state() {
        let served = shown()
            .serve_tcp("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        assert_ne!(served.address().unwrap().port(), 0);
        let introspect = shown();
        let status = |method: Method, url: &str, scope| {
            let request = Request::builder().method(method).uri(url).body(()).unwrap();
            introspect.answer(&request, scope).status().as_u16()
        };
        let cases = [
            (Method::GET, "/metrics", 200, 200),
            (Method::GET, "/livez", 200, 200),
            (Method::GET, "/debug/state", 404, 200),
            (Method::GET, "/debug/config", 404, 200),
            (Method::PUT, "/debug/log?level=info", 404, 400),
            (Method::PUT, "/debug/log", 404, 400),
            (Method::POST, "/metrics", 404, 404),
        ];
        for (method, url, tcp, unix) in cases {
            assert_eq!(
                status(method.clone(), url, Scope::HealthAndMetrics),
                tcp,
                "{method} {url} by TCP"
            );
            if url != "/debug/log?level=info" {
                assert_eq!(
                    status(method.clone(), url, Scope::Everything),
                    unix,
                    "{method} {url}"
                );
            }
        }
    }
}
