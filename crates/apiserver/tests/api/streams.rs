//! Logs, exec and the proxies: what a node answers reaches the client.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use futures::SinkExt;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
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
pub struct FakeNode {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    /// What `/stats/summary` answers; nothing without.
    pub summary: Summary,
    /// Ports of its pods that lead to a port of this machine.
    pub doors: Doors,
}

/// From ports of pods to ports of this machine.
pub type Doors = Arc<Mutex<HashMap<u16, u16>>>;

/// Makes a summary anew for each who asks.
pub type Summary = Arc<Mutex<Option<Box<dyn Fn() -> String + Send>>>>;

impl FakeNode {
    /// Must be started in a runtime that goes on while kubectl runs.
    pub async fn start(pki: &Pki) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::default());
        let acceptor = acceptor(pki);
        let seen: Arc<Mutex<Vec<String>>> = Arc::clone(&asked);
        let summary = Summary::default();
        let told = summary.clone();
        let doors = Doors::default();
        let opened = doors.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen, told) = (acceptor.clone(), seen.clone(), told.clone());
                let opened = opened.clone();
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await.unwrap();
                    let service = service_fn(move |request: Request<Incoming>| {
                        let path = request.uri().to_string();
                        seen.lock().unwrap().push(path.clone());
                        let summary = match (path.as_str(), told.lock().unwrap().as_ref()) {
                            ("/stats/summary", Some(make)) => Some(make()),
                            _ => None,
                        };
                        let door = door(&path, &opened.lock().unwrap());
                        async move {
                            let answer = match (summary, door) {
                                (Some(summary), _) => Response::new(Full::from(summary)),
                                (None, Some(port)) => led(request, port),
                                (None, None) => answer(request, &path),
                            };
                            Ok::<_, std::convert::Infallible>(answer)
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                });
            }
        });
        Self {
            port,
            asked,
            summary,
            doors,
        }
    }
}

/// Where the port of a pod that is asked for leads.
fn door(path: &str, doors: &HashMap<u16, u16>) -> Option<u16> {
    let (_, asked) = path.strip_prefix("/portForward/")?.split_once("port=")?;
    let port = asked.split('&').next()?.parse().ok()?;
    doors.get(&port).copied()
}

/// Bytes to and from a port of this machine.
fn led(mut request: Request<Incoming>, port: u16) -> Response<Full<Bytes>> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut there = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut here = TokioIo::new(upgrade.await.unwrap());
        // Whoever ends it first.
        let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
    });
    switching()
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
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    if upgrade
        .as_ref()
        .is_some_and(|upgrade| upgrade == "sealane-bytes")
    {
        return bytes(request, path);
    }
    if let Some(spdy) = upgrade.filter(|upgrade| upgrade == "SPDY/3.1") {
        let version = &request.headers()["x-stream-protocol-version"];
        let mut response = Response::new(Full::from(format!("no {spdy:?} {version:?} here")));
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

/// The bytes of a connection to the pod: an HTTP server that says what it was asked.
fn bytes(mut request: Request<Incoming>, path: &str) -> Response<Full<Bytes>> {
    if path.contains("port=9999") {
        let mut response = Response::new(Full::from("dial tcp 10.0.0.9:9999: connect: refused"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let service = service_fn(|mut request: Request<Incoming>| async move {
            let mut response = Response::new(Full::<Bytes>::default());
            if request.uri().path() == "/shout" {
                let upgrade = hyper::upgrade::on(&mut request);
                tokio::spawn(shout(upgrade));
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                for name in [header::CONNECTION, header::UPGRADE] {
                    let value = request.headers()[&name].clone();
                    response.headers_mut().insert(name, value);
                }
                return Ok::<_, std::convert::Infallible>(response);
            }
            if request.uri().path() == "/moved" {
                *response.status_mut() = StatusCode::FOUND;
                response
                    .headers_mut()
                    .insert(header::LOCATION, "/here".parse().unwrap());
                return Ok(response);
            }
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let named = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap());
            *response.body_mut() = Full::from(format!(
                "{} {} {:?} {:?} {}\n",
                parts.method,
                parts.uri,
                named("x-forwarded-uri"),
                named("authorization"),
                String::from_utf8_lossy(&body),
            ));
            Ok(response)
        });
        let io = upgrade.await.unwrap();
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .with_upgrades()
            .await;
    });
    switching()
}

fn switching() -> Response<Full<Bytes>> {
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "sealane-bytes")
        .header(header::CONNECTION, "Upgrade")
        .body(Full::default())
        .unwrap()
}

/// Says what it hears, louder, until that ends.
async fn shout(upgrade: hyper::upgrade::OnUpgrade) {
    let mut io = TokioIo::new(upgrade.await.unwrap());
    let mut piece = [0; 100];
    while let Ok(count @ 1..) = io.read(&mut piece).await {
        let louder = piece[..count].to_ascii_uppercase();
        io.write_all(&louder).await.unwrap();
        io.flush().await.unwrap();
    }
}

/// A server, a node, and a pod on it.
pub fn with_pod(server: &Server, node: &FakeNode) {
    let object = json!({
        "apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"},
                "status": {
                    "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "allocatable": {"cpu": "2", "memory": "1Gi"},
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
        assert!(said.err.contains("no \"SPDY/3.1\" \"v"), "{said:?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_that_does_not_answer_is_named() {
    let server = Server::start();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = FakeNode {
        port: closed.local_addr().unwrap().port(),
        asked: Arc::default(),
        summary: Summary::default(),
        doors: Doors::default(),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_are_proxied_to_pods() {
    let server = Server::start();
    let node = FakeNode::start(&server.pki).await;
    tokio::task::block_in_place(|| {
        with_pod(&server, &node);
        let addressed = "-p={\"status\":{\"podIP\":\"10.0.0.9\"}}";
        let said = server.kubectl_with(
            &["patch", "pod", "p", "--subresource=status", addressed],
            "",
        );
        assert!(said.ok, "{said:?}");
        let service = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
                "spec": {"ports": [{"name": "web", "port": 80, "targetPort": 8080}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
                "addressType": "IPv4", "ports": [{"name": "web", "port": 8080}],
                "endpoints": [
                    {"addresses": ["10.0.0.8"], "conditions": {"ready": false}},
                    {
                        "addresses": ["10.0.0.9"], "conditions": {"ready": true},
                        "targetRef": {"kind": "Pod", "namespace": "default", "name": "p"},
                    },
                ],
            },
        ]});
        server.apply(&service.to_string());
        let pods = "/api/v1/namespaces/default/pods";
        let services = "/api/v1/namespaces/default/services";
        for (path, expected, asked) in [
            (
                format!("{pods}/p/proxy/"),
                format!("GET / Some(\"{pods}/p/proxy/\") None \n"),
                "port=80&address=10.0.0.9",
            ),
            (
                format!("{services}/s:80/proxy/who"),
                format!("GET /who Some(\"{services}/s:80/proxy/who\") None \n"),
                "port=8080&address=10.0.0.9",
            ),
            (
                format!("{services}/s:web/proxy/"),
                format!("GET / Some(\"{services}/s:web/proxy/\") None \n"),
                "port=8080&address=10.0.0.9",
            ),
        ] {
            assert_eq!(server.ok(&format!("get --raw {path}")), expected);
            let last = node.asked.lock().unwrap().last().cloned().unwrap();
            assert_eq!(last, format!("/portForward/default/p?{asked}"));
        }
        let raw = |verb: &str, path: &str| {
            server
                .kubectl_with(&[verb, "--raw", path, "-f", "-"], "some body")
                .out
        };
        let path = format!("{pods}/p/proxy/x");
        let expected = |method: &str| format!("{method} /x Some(\"{path}\") None some body\n");
        assert_eq!(raw("create", &path), expected("POST"));
        assert_eq!(raw("replace", &path), expected("PUT"));

        for (path, expected) in [
            (format!("{pods}/none/proxy/"), "pods \"none\" not found"),
            (
                format!("{pods}/nowhere/proxy/"),
                "pod \"nowhere\" has no IP address yet",
            ),
            (
                format!("{pods}/ftp:p:1/proxy/"),
                "invalid pod request \"ftp:p:1\"",
            ),
            (
                format!("{pods}/p:9999/proxy/"),
                "error trying to reach service: dial tcp 10.0.0.9:9999: connect: refused",
            ),
            (
                format!("{services}/none/proxy/"),
                "services \"none\" not found",
            ),
            (
                format!("{services}/s/proxy/"),
                "no endpoints available for service \"s\"",
            ),
            (
                format!("{services}/s:81/proxy/"),
                "no service port 81 found for service \"s\"",
            ),
        ] {
            let refused = server.refused(&["get", "--raw", &path], "");
            assert!(refused.contains(expected), "{path}: {refused}");
        }
    });
    let client = server.client().await;
    let pod = "/api/v1/namespaces/default/pods/p/proxy";
    for (path, code, location) in [
        (format!("{pod}/moved"), 302, format!("{pod}/here")),
        (format!("{pod}?q=1"), 301, format!("{pod}/?q=1")),
    ] {
        let request = Request::get(&path).header("authorization", "Basic x");
        let request = request.body(kube::client::Body::empty()).unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status(), code, "{path}");
        assert_eq!(answer.headers()["location"], location, "{path}");
    }
    let request = Request::patch(format!("{pod}/any")).header("authorization", "Basic x");
    let request = request.body(b"piece".to_vec()).unwrap();
    let answer = client.request_text(request).await.unwrap();
    assert_eq!(
        answer,
        format!("PATCH /any Some(\"{pod}/any\") None piece\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_upgrade_is_proxied_to_a_pod() {
    use std::io::{Read, Write};

    let server = Server::start();
    let node = FakeNode::start(&server.pki).await;
    tokio::task::block_in_place(|| {
        with_pod(&server, &node);
        let addressed = "-p={\"status\":{\"podIP\":\"10.0.0.9\"}}";
        let said = server.kubectl_with(
            &["patch", "pod", "p", "--subresource=status", addressed],
            "",
        );
        assert!(said.ok, "{said:?}");
        let mut stream = crate::hostile::connections::connect(&server, "http/1.1");
        let request = "GET /api/v1/namespaces/default/pods/p/proxy/shout HTTP/1.1\r\nHost: x\r\n\
                       Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut until = |end: &str| {
            let mut said = String::new();
            let mut byte = [0];
            while !said.ends_with(end) {
                stream.read_exact(&mut byte).unwrap();
                said.push(char::from(byte[0]));
            }
            if end == "\r\n\r\n" {
                stream.write_all(b"anybody?\n").unwrap();
            }
            said
        };
        let head = until("\r\n\r\n").to_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("upgrade: websocket"), "{head}");
        assert_eq!(until("\n"), "ANYBODY?\n");
    });
}
