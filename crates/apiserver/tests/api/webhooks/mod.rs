//! Admission webhooks: a program on loopback that judges, changes, fails and keeps still.

mod conditions;
mod parts;
mod services;

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{harness::Server, pki::Pki};

/// A webhook that answers by the path: `/no`, `/label`, `/two`, `/broken`, `/still`, `/yes`.
struct Judge {
    port: u16,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Judge {
    async fn start(pki: &Pki) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pair = pki.server_of(&["127.0.0.1", "judge.default.svc"]);
        let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
        let told = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, told) = (acceptor.clone(), told.clone());
                tokio::spawn(async move {
                    // A client that does not trust us goes away.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request| answer(request, told.clone()));
                    let _ended = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { port, asked }
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn last(&self) -> Value {
        self.asked.lock().unwrap().last().cloned().unwrap()
    }

    /// A configuration of the only webhook `w.example.com`.
    fn configuration(&self, kind: &str, path: &str, change: Value) -> String {
        let mut hook = json!({
            "name": "w.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": format!("https://127.0.0.1:{}{path}", self.port)},
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        });
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Object(members) => {
                    for (member, value) in members {
                        hook[name][member] = value.clone();
                    }
                }
                value => hook[name] = value.clone(),
            }
        }
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}WebhookConfiguration"),
            "metadata": {"name": "w"}, "webhooks": [hook],
        })
        .to_string()
    }
}

/// The change to a configuration, with the authority of the judge's certificate.
fn trusted(server: &Server, mut change: Value) -> Value {
    let bundle = base64::engine::general_purpose::STANDARD.encode(&server.pki.authority);
    change["clientConfig"]["caBundle"] = bundle.into();
    change
}

async fn answer(
    request: Request<Incoming>,
    told: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let request = review["request"].clone();
    told.lock().unwrap().push(request.clone());
    let patch = r#"[{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}]"#;
    let patch = base64::engine::general_purpose::STANDARD.encode(patch);
    let mut response = json!({"uid": request["uid"], "allowed": true});
    match path.as_str() {
        "/no" => {
            response["allowed"] = false.into();
            response["status"] = json!({"message": "not on a Sunday", "code": 403});
        }
        "/label" if request["operation"] != "DELETE" => {
            response["patch"] = patch.into();
            response["patchType"] = "JSONPatch".into();
        }
        "/two" => {
            let patch = r#"[{"op": "replace", "path": "/spec/replicas", "value": 2}]"#;
            response["patch"] = base64::engine::general_purpose::STANDARD
                .encode(patch)
                .into();
            response["patchType"] = "JSONPatch".into();
        }
        "/broken" => response = json!({"uid": "other"}),
        "/still" => std::future::pending().await,
        _ => response["warnings"] = json!(["think twice"]),
    }
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(Response::new(Full::from(answer.to_string())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_judge_change_and_fail() {
    let server = Server::start();
    let judge = Judge::start(&server.pki).await;
    let trusted = |change: Value| trusted(&server, change);
    tokio::task::block_in_place(|| {
        // Judged, as it would be written, and shown who writes it.
        server.apply(&judge.configuration("Validating", "/no", trusted(json!({}))));
        let create = ["create", "configmap", "a", "--from-literal=x=1"];
        let refused = server.refused(&create, "");
        let expected = "admission webhook \"w.example.com\" denied the request: not on a Sunday";
        assert!(refused.contains(expected), "{refused}");
        let request = judge.last();
        assert_eq!(request["operation"], "CREATE");
        assert_eq!(request["userInfo"]["username"], "kubernetes-admin");
        assert_eq!(request["object"]["data"]["x"], "1");
        assert_eq!(request["resource"]["resource"], "configmaps");
        assert!(
            request["object"]["metadata"]["uid"].is_string(),
            "{request}"
        );
        let before = judge.count();
        server.ok("create secret generic s");
        assert_eq!(judge.count(), before, "not asked about Secrets");

        // By labels of the namespace and of the object.
        let elsewhere = json!({"namespaceSelector": {"matchLabels": {"judged": "yes"}}});
        server.apply(&judge.configuration("Validating", "/no", trusted(elsewhere)));
        server.ok("create configmap b");
        server.ok("label namespace default judged=yes");
        let refused = server.refused(&["delete", "configmap", "b"], "");
        assert!(refused.contains(expected), "{refused}");
        assert_eq!(judge.last()["oldObject"]["metadata"]["name"], "b");
        assert_eq!(judge.last()["object"], Value::Null);
        server.ok("delete validatingwebhookconfiguration w");

        // Changed, also by an update; warned.
        server.apply(&judge.configuration("Mutating", "/label", trusted(json!({}))));
        server.ok("create configmap c");
        assert_eq!(
            server.ok("get configmap c -o jsonpath={.metadata.labels}"),
            "{\"seen\":\"yes\"}"
        );
        server.ok("label configmap b seen=no");
        assert_eq!(
            server.ok("get configmap b -o jsonpath={.metadata.labels}"),
            "{\"seen\":\"yes\"}"
        );
        server.apply(&judge.configuration("Mutating", "/yes", trusted(json!({}))));
        let said = server.kubectl_with(&["create", "configmap", "d", "--dry-run=server"], "");
        assert!(said.err.contains("Warning: think twice"), "{said:?}");
        assert_eq!(judge.last()["dryRun"], true);

        // Asked in vain: as the configuration says.
        let quickly = || json!({"timeoutSeconds": 1});
        for (path, change, cause) in [
            ("/yes", json!({}), "tls: invalid peer certificate"),
            (
                "/broken",
                trusted(json!({})),
                "received invalid webhook response: expected response.uid=",
            ),
            (
                "/still",
                trusted(quickly()),
                "/still?timeout=1s\": context deadline exceeded",
            ),
        ] {
            server.apply(&judge.configuration("Mutating", path, change));
            let refused = server.refused(&["create", "configmap", "e"], "");
            let expected = "Internal error occurred: failed calling webhook \"w.example.com\": ";
            assert!(
                refused.contains(expected) && refused.contains(cause),
                "{path}: {refused}"
            );
        }
        let mut ignored = trusted(quickly());
        ignored["failurePolicy"] = "Ignore".into();
        server.apply(&judge.configuration("Mutating", "/still", ignored));
        server.ok("create configmap e");
        let mut service: Value =
            serde_json::from_str(&judge.configuration("Mutating", "/", trusted(json!({}))))
                .unwrap();
        service["webhooks"][0]["clientConfig"]["url"].take();
        service["webhooks"][0]["clientConfig"]["service"] =
            json!({"namespace": "default", "name": "judge"});
        server.ok("delete mutatingwebhookconfiguration w");
        server.apply(&service.to_string());
        let refused = server.refused(&["create", "configmap", "f"], "");
        let cause =
            "Post \"https://judge.default.svc:443/?timeout=10s\": services \"judge\" not found";
        assert!(refused.contains(cause), "{refused}");
        // A configuration can always be mended.
        server.ok("delete mutatingwebhookconfiguration w");
    });
}
