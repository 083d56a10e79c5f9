//! `exec`: a command in a container, spoken over a WebSocket.
//!
//! Protocols `v5.channel.k8s.io` and `v4.channel.k8s.io` (KEP-4006): binary
//! messages whose first byte is the channel, 0 standard input, 1 output, 2
//! error output, 3 the final `Status`, 4 the terminal's size; with v5, `255 N` closes
//! channel N.
//!
//! A client that cannot speak this is refused before the upgrade. Any other
//! refusal follows on channel 3 (as kube-apiserver does it): kubectl takes a failed upgrade for a
//! server that cannot speak WebSocket, tries SPDY, and hides the reason. A
//! command that cannot be executed gives its exit code (127, 126) there, as from a shell.

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sealane_runtime::{ExecSpec, Shim};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::answer::{Body, Refusal};
use super::exec_io::{self, Session};
use super::target::Target;
use crate::record::State;

/// The protocols that are spoken, best first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The client sends standard input.
    pub stdin: bool,
    /// The client wants standard output.
    pub stdout: bool,
    /// The client wants error output.
    pub stderr: bool,
    /// On a terminal.
    pub tty: bool,
}

impl ExecOptions {
    /// Reads the query; the kubelet's names of the streams and the API's are both understood.
    pub fn parse(query: &str) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let set = matches!(&*value, "1" | "true" | "True");
            match &*name {
                "command" => options.command.push(value.into_owned()),
                "stdin" | "input" => options.stdin = set,
                "stdout" | "output" => options.stdout = set,
                "stderr" | "error" => options.stderr = set,
                "tty" => options.tty = set,
                _ => {}
            }
        }
        if options.command.is_empty() {
            return Err(Refusal::bad_request(
                "you must specify at least 1 command to run",
            ));
        }
        if !(options.stdin || options.stdout || options.stderr) {
            let message = "you must specify at least 1 of stdin, stdout, stderr";
            return Err(Refusal::bad_request(message));
        }
        // A terminal has one output.
        options.stderr &= !options.tty;
        Ok(options)
    }
}

/// Upgrades the connection, then runs the command or says why not.
///
/// # Errors
/// When the client does not speak WebSocket.
pub fn answer(
    target: Result<Target, Refusal>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let handshake = Handshake::read(request.headers())?;
    let work = prepare(target, request.uri().query().unwrap_or_default());
    let closes_channels = handshake.protocol == PROTOCOLS[0];
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => return tracing::debug!("upgrade for exec: {error}"),
        };
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
        match work {
            Ok((shim, spec, options)) => {
                let session = Session {
                    options,
                    closes_channels,
                };
                exec_io::run(socket, session, &shim, &spec).await;
            }
            Err(refusal) => exec_io::refuse(socket, &refusal).await,
        }
    });
    Ok(handshake.response())
}

/// The command, and the shim that can run it.
fn prepare(
    target: Result<Target, Refusal>,
    query: &str,
) -> Result<(Shim, ExecSpec, ExecOptions), Refusal> {
    let target = target?;
    let options = ExecOptions::parse(query)?;
    let shim = running(&target)?;
    let spec = ExecSpec {
        container: target.container,
        command: options.command.clone(),
        tty: options.tty,
        ..ExecSpec::default()
    };
    Ok((shim, spec, options))
}

/// The shim of a container that runs.
fn running(target: &Target) -> Result<Shim, Refusal> {
    let view = target.view.borrow();
    let (container, pod) = (&target.container, &target.pod);
    let runs = matches!(view.record.container(container).state, State::Running(_));
    match &view.shim {
        Some(shim) if runs => Ok(shim.clone()),
        _ => Err(Refusal::bad_request(format!(
            "container \"{container}\" of pod \"{pod}\" is not running: see kubectl describe pod {pod}"
        ))),
    }
}

/// The client's part of a WebSocket handshake (RFC 6455 §4.2).
struct Handshake {
    accept: String,
    protocol: &'static str,
}

impl Handshake {
    fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let is = |name, wanted: &str| {
            let values = headers
                .get_all(name)
                .into_iter()
                .filter_map(|value| value.to_str().ok());
            let mut words = values.flat_map(|value| value.split(',')).map(str::trim);
            words.any(|word| word.eq_ignore_ascii_case(wanted))
        };
        let key = headers
            .get(SEC_WEBSOCKET_KEY)
            .filter(|_| is(UPGRADE, "websocket"));
        let Some(key) = key else {
            return Err(Refusal::bad_request(
                "exec is served over WebSocket: expected headers Upgrade: websocket and Sec-WebSocket-Key",
            ));
        };
        let protocol = PROTOCOLS
            .into_iter()
            .find(|known| is(SEC_WEBSOCKET_PROTOCOL, known));
        let Some(protocol) = protocol else {
            let message = format!(
                "expected Sec-WebSocket-Protocol: {}",
                PROTOCOLS.join(" or ")
            );
            return Err(Refusal::bad_request(message));
        };
        Ok(Self {
            accept: derive_accept_key(key.as_bytes()),
            protocol,
        })
    }

    fn response(&self) -> Response<Body> {
        let mut response = super::answer::text("");
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.clear();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(self.protocol),
        );
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_name_the_streams_are_understood() {
        let options = ExecOptions {
            command: vec!["sh".into(), "-c".into(), "echo a b".into()],
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
        };
        for query in [
            "command=sh&command=-c&command=echo+a%20b&stdin=true&stdout=true&stderr=true",
            "command=sh&command=-c&command=echo+a%20b&input=1&output=1&error=1",
        ] {
            assert_eq!(ExecOptions::parse(query), Ok(options.clone()));
        }
        let tty = ExecOptions::parse("command=sh&stdout=1&stderr=1&tty=1").unwrap();
        assert!(tty.tty && tty.stdout && !tty.stderr);
    }

    #[test]
    fn a_request_without_command_or_streams_is_refused() {
        let message = |query| ExecOptions::parse(query).unwrap_err().message;
        assert_eq!(
            message("stdout=1"),
            "you must specify at least 1 command to run"
        );
        assert_eq!(
            message("command=a"),
            "you must specify at least 1 of stdin, stdout, stderr"
        );
    }

    #[test]
    fn the_best_common_protocol_is_chosen() {
        let headers = |protocols: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
            let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
            headers.insert(SEC_WEBSOCKET_KEY, key);
            headers.insert(
                SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_str(protocols).unwrap(),
            );
            headers
        };
        let chosen = Handshake::read(&headers("v4.channel.k8s.io, v5.channel.k8s.io")).unwrap();
        assert_eq!(chosen.protocol, "v5.channel.k8s.io");
        assert_eq!(
            chosen.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "the example of RFC 6455"
        );
        assert!(Handshake::read(&headers("channel.k8s.io")).is_err());
        assert!(Handshake::read(&HeaderMap::new()).is_err());
    }
}
