//! Logs and exec: what a node answers reaches kubectl, and an old client is told what to do.

use std::sync::{Arc, Mutex};

use futures::SinkExt;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use crate::{harness::Server, pki::Pki};

/// A node that has one container: it answers logs with its path, and exec by WebSocket.
struct FakeNode {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeNode {
    /// Must be started in a runtime that goes on while kubectl runs.
    async fn start(pki: &Pki) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::default());
        let acceptor = acceptor(pki);
        let seen: Arc<Mutex<Vec<String>>> = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), seen.clone());
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await.unwrap();
                    let service = service_fn(move |request: Request<Incoming>| {
                        let path = request.uri().to_string();
                        seen.lock().unwrap().push(path.clone());
                        async move { Ok::<_, std::convert::Infallible>(answer(request, &path)) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                });
            }
        });
        Self { port, asked }
    }
}

fn acceptor(pki: &Pki) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pki.authority.as_bytes()).unwrap())
        .unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let pair = pki.server();
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn answer(mut request: Request<Incoming>, path: &str) -> Response<Full<Bytes>> {
    if path.contains("previous=true") {
        let mut response = Response::new(Full::from("previous terminated container not found"));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    }
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned() else {
        return Response::new(Full::from(format!("log of {path}\n")));
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = TokioIo::new(upgrade.await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        let exit = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "reason": "NonZeroExitCode", "message": "command terminated with exit code 7",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
        });
        for message in [
            b"\x01to stdout\n".to_vec(),
            b"\x02to stderr\n".to_vec(),
            [b"\x03", exit.to_string().as_bytes()].concat(),
        ] {
            socket.send(Message::binary(message)).await.unwrap();
        }
        let normal = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let _ = socket.close(Some(normal)).await;
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(
            header::SEC_WEBSOCKET_ACCEPT,
            derive_accept_key(key.as_bytes()),
        )
        .header(header::SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io")
        .body(Full::default())
        .unwrap()
}

/// A server, a node, and a pod on it.
fn with_pod(server: &Server, node: &FakeNode) {
    let object = json!({
        "apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"},
                "status": {
                    "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                    "daemonEndpoints": {"kubeletEndpoint": {"Port": node.port}},
                },
            },
            {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "x"}]},
            },
            {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nowhere"},
                "spec": {"containers": [{"name": "c", "image": "x"}]},
            },
        ],
    });
    server.apply(&object.to_string());
    let running = "-p={\"status\":{\"phase\":\"Running\"}}";
    let said = server.kubectl_with(&["patch", "pod", "p", "--subresource=status", running], "");
    assert!(said.ok, "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn logs_and_exec_come_from_the_node() {
    let server = Server::start();
    let node = FakeNode::start(&server.pki).await;
    tokio::task::block_in_place(|| {
        with_pod(&server, &node);
        assert_eq!(
            server.ok("logs p --tail=3"),
            "log of /containerLogs/default/p/c?tailLines=3\n"
        );
        let refused = server.refused(&["logs", "p", "--previous"], "");
        assert_eq!(
            refused,
            "Error from server (BadRequest): previous terminated container not found\n"
        );
        assert_eq!(server.ok("logs nowhere"), "");

        let command = ["exec", "p", "--", "sh", "-c", "echo a b"];
        let run = server
            .kubectl_command(&command)
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true")
            .output()
            .unwrap();
        let said = crate::harness::said(run.clone());
        assert_eq!(
            (run.status.code(), said.out.as_str()),
            (Some(7), "to stdout\n"),
            "{said:?}"
        );
        assert!(said.err.starts_with("to stderr\n"), "{said:?}");
        let asked = node.asked.lock().unwrap().last().cloned().unwrap();
        assert_eq!(
            asked,
            "/exec/default/p/c?output=1&error=1&command=sh&command=%2Dc&command=echo%20a%20b"
        );

        let old = server
            .kubectl_command(&command)
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false")
            .output()
            .unwrap();
        let said = crate::harness::said(old);
        assert!(
            said.err.contains("SPDY is not served, only WebSocket"),
            "{said:?}"
        );
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_that_does_not_answer_is_named() {
    let server = Server::start();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = FakeNode {
        port: closed.local_addr().unwrap().port(),
        asked: Arc::default(),
    };
    drop(closed);
    tokio::task::block_in_place(|| {
        with_pod(&server, &node);
        let refused = server.refused(&["logs", "p"], "");
        assert!(
            refused.contains("error dialing backend: node node-1 at 127.0.0.1:"),
            "{refused}"
        );
        assert!(refused.to_lowercase().contains("refused"), "{refused}");
    });
}
