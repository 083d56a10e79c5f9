//! Requests that no well-behaved client makes, and files that no server should be given.

use std::{fs, io::Read as _, process::Stdio};

use http::{Method, Request, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use crate::harness::{PAUSE, Running, Server, wait_for, within};

/// Sends a request; the status and what the answer says.
pub async fn send(
    client: &kube::Client,
    method: Method,
    path: &str,
    content_type: &str,
    body: impl Into<Vec<u8>>,
) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .body(Body::from(body.into()))
        .unwrap();
    let response = within("an answer", client.send(request)).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect_bytes().await.unwrap();
    let value =
        serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    (status, value)
}

#[tokio::test]
async fn bad_bodies_get_the_error_they_deserve() {
    let server = Server::start();
    let client = server.client().await;
    let pods = "/api/v1/namespaces/default/pods";
    let big = vec![b' '; (3 << 20) + 1];
    let deep = "[".repeat(1 << 20).into_bytes();
    let json_type = "application/json";
    type Case = (
        Method,
        &'static str,
        &'static str,
        Vec<u8>,
        u16,
        &'static str,
    );
    let cases: Vec<Case> = vec![
        (
            Method::POST,
            pods,
            json_type,
            b"{\"a\": ".to_vec(),
            400,
            "EOF while parsing",
        ),
        (
            Method::POST,
            pods,
            json_type,
            b"[]".to_vec(),
            400,
            "must be of type Object",
        ),
        (
            Method::POST,
            pods,
            json_type,
            b"".to_vec(),
            400,
            "EOF while parsing",
        ),
        (
            Method::POST,
            pods,
            json_type,
            deep.clone(),
            400,
            "recursion limit exceeded",
        ),
        (
            Method::POST,
            pods,
            "application/yaml",
            deep,
            400,
            "brackets are open",
        ),
        (
            Method::POST,
            pods,
            "application/yaml",
            b"a: [".to_vec(),
            400,
            "unrecognized",
        ),
        (
            Method::POST,
            pods,
            "application/vnd.kubernetes.protobuf",
            b"k8s\0\xff".to_vec(),
            400,
            "protobuf",
        ),
        (
            Method::POST,
            pods,
            "text/plain",
            b"{}".to_vec(),
            415,
            "accepted media types include: application/json",
        ),
        (Method::POST, pods, json_type, big, 413, "limit is 3145728"),
        (
            Method::POST,
            pods,
            json_type,
            br#"{"kind":"Node"}"#.to_vec(),
            400,
            "does not match the expected kind (Pod)",
        ),
        (
            Method::POST,
            pods,
            json_type,
            br#"{"apiVersion":"v2"}"#.to_vec(),
            400,
            "does not match the expected API version (v1)",
        ),
        (
            Method::POST,
            pods,
            json_type,
            br#"{"metadata":{"name":"a","namespace":"b"}}"#.to_vec(),
            400,
            "does not match the namespace sent",
        ),
        (
            Method::POST,
            "/api/v1/pods",
            json_type,
            b"{}".to_vec(),
            405,
            "does not allow this method",
        ),
        (
            Method::PATCH,
            "/api/v1/nodes/x",
            json_type,
            b"{}".to_vec(),
            415,
            "application/merge-patch+json",
        ),
        (
            Method::PUT,
            "/api/v1/namespaces/default",
            json_type,
            br#"{"metadata":{"name":"other"}}"#.to_vec(),
            400,
            "does not match the name on the URL (default)",
        ),
        (
            Method::GET,
            "/apis/apps/v1/deploys",
            json_type,
            vec![],
            404,
            "deploys.apps/v1",
        ),
        (
            Method::GET,
            "/api/v1/namespaces/default/nodes",
            json_type,
            vec![],
            404,
            "nodes/v1 in a namespace",
        ),
        (
            Method::GET,
            "/api/v1/pods?labelSelector=a%20b",
            json_type,
            vec![],
            400,
            "unable to parse requirement",
        ),
        (
            Method::GET,
            "/api/v1/pods?limit=x",
            json_type,
            vec![],
            400,
            "limit",
        ),
        (
            Method::GET,
            "/api/v1/pods?continue=x",
            json_type,
            vec![],
            400,
            "continue key is not valid",
        ),
        (
            Method::GET,
            "/api/v1/pods/%ff",
            json_type,
            vec![],
            404,
            "could not find",
        ),
    ];
    for (method, path, content_type, body, code, expected) in cases {
        let shown = format!(
            "{method} {path} {:?}",
            String::from_utf8_lossy(&body[..body.len().min(40)])
        );
        let (status, answer) = send(&client, method, path, content_type, body).await;
        assert_eq!(
            (status.as_u16(), &answer["code"]),
            (code, &json!(code)),
            "{shown}: {answer}"
        );
        let message = answer["message"].as_str().unwrap();
        assert!(
            message.contains(expected),
            "{shown}: expected {expected:?} in {message:?}"
        );
    }
    let (status, _) = send(&client, Method::GET, "/readyz", "", vec![]).await;
    assert_eq!(status, StatusCode::OK, "the server lives");
    // `kube` would try this one again and again.
    let refused = server.refused(&["get", "--raw", "/api/v1/pods?resourceVersion=999999"], "");
    assert!(
        refused.contains("Too large resource version: 999999"),
        "{refused}"
    );
}

#[tokio::test]
async fn duplicate_fields_and_dry_runs() {
    let server = Server::start();
    let client = server.client().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let body = r#"{"metadata":{"name":"a"},"data":{"k":"1","k":"2"}}"#;
    let strict = format!("{maps}?fieldValidation=Strict");
    let (status, answer) = send(&client, Method::POST, &strict, "application/json", body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: \
         duplicate field \"data.k\""
    );
    let dry = format!("{maps}?dryRun=All");
    let (status, answer) = send(&client, Method::POST, &dry, "application/json", body).await;
    assert_eq!(
        (status, &answer["data"]["k"]),
        (StatusCode::CREATED, &json!("2"))
    );
    let (status, _) = send(&client, Method::GET, &format!("{maps}/a"), "", vec![]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let bad = format!("{maps}?dryRun=Some");
    let (status, answer) = send(&client, Method::POST, &bad, "application/json", body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    let generated = r#"{"metadata":{"generateName":"a-"}}"#;
    let (status, answer) = send(&client, Method::POST, maps, "application/json", generated).await;
    let name = answer["metadata"]["name"].as_str().unwrap();
    assert!(
        status == StatusCode::CREATED && name.starts_with("a-") && name.len() == 7,
        "{name}"
    );
}

#[tokio::test]
async fn writes_that_come_too_late_are_refused() {
    let server = Server::start();
    let client = server.client().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let body = |name: &str, version: &str, value: &str| {
        let metadata = json!({"name": name, "resourceVersion": version, "labels": {"l": "x"}});
        json!({"metadata": metadata, "data": {"k": value}}).to_string()
    };
    let json_type = "application/json";
    let (_, first) = send(&client, Method::POST, maps, json_type, body("a", "", "1")).await;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let one = format!("{maps}/a");
    let (status, _) = send(
        &client,
        Method::PUT,
        &one,
        json_type,
        body("a", version, "2"),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let late = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
                please apply your changes to the latest version and try again";
    let (status, answer) = send(
        &client,
        Method::PUT,
        &one,
        json_type,
        body("a", version, "3"),
    )
    .await;
    assert_eq!(
        (status, &answer["message"]),
        (StatusCode::CONFLICT, &json!(late))
    );
    let merge = "application/merge-patch+json";
    let (status, answer) = send(&client, Method::PATCH, &one, merge, body("a", version, "3")).await;
    assert_eq!(
        (status, &answer["reason"]),
        (StatusCode::CONFLICT, &json!("Conflict"))
    );
    // Without a version the latest state is meant; a write of what is there already is none.
    let (status, second) = send(&client, Method::PUT, &one, json_type, body("a", "", "4")).await;
    assert_eq!(
        (status, &second["data"]["k"]),
        (StatusCode::OK, &json!("4"))
    );
    let (_, third) = send(&client, Method::PUT, &one, json_type, body("a", "", "4")).await;
    assert_eq!(
        third["metadata"]["resourceVersion"],
        second["metadata"]["resourceVersion"]
    );

    let other = json!({"preconditions": {"uid": "another"}}).to_string();
    let (status, answer) = send(&client, Method::DELETE, &one, json_type, other).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("UID in the precondition (another)"),
        "{answer}"
    );
    send(&client, Method::POST, maps, json_type, body("b", "", "1")).await;
    send(
        &client,
        Method::POST,
        maps,
        json_type,
        json!({"metadata": {"name": "c"}}).to_string(),
    )
    .await;
    let some = format!("{maps}?labelSelector=l=x");
    let (status, gone) = send(&client, Method::DELETE, &some, json_type, vec![]).await;
    assert_eq!(
        (status, gone["items"].as_array().unwrap().len()),
        (StatusCode::OK, 2),
        "{gone}"
    );
    let left = server
        .ok("get configmaps -l l!=x -o name --field-selector metadata.name!=kube-root-ca.crt");
    assert_eq!(left, "configmap/c\n");
}

#[tokio::test]
async fn lists_come_in_pages_of_one_moment() {
    let server = Server::start();
    let client = server.client().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b", "c", "d", "e"] {
        let body = json!({"metadata": {"name": name, "labels": {"l": name}}}).to_string();
        send(&client, Method::POST, maps, "application/json", body).await;
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = format!("{maps}?limit=2&labelSelector=l");
    let (_, first) = send(&client, Method::GET, &page, "", vec![]).await;
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["a".into(), "b".into()], &json!(3))
    );
    send(&client, Method::DELETE, &format!("{maps}/c"), "", vec![]).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) = send(
        &client,
        Method::GET,
        &format!("{page}&continue={token}"),
        "",
        vec![],
    )
    .await;
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let token = second["metadata"]["continue"].as_str().unwrap();
    let (_, third) = send(
        &client,
        Method::GET,
        &format!("{page}&continue={token}"),
        "",
        vec![],
    )
    .await;
    assert_eq!(
        (names(&third), &third["metadata"]["continue"]),
        (vec!["e".into()], &Value::Null)
    );
}

#[tokio::test]
async fn the_same_object_in_other_forms() {
    let server = Server::start();
    let client = server.client().await;
    // One event, made in the newer group, seen in both.
    let event = json!({
        "metadata": {"name": "e", "namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "Because",
        "note": "it happened", "type": "Normal", "reportingController": "x", "reportingInstance": "y",
        "action": "Do",
    });
    let path = "/apis/events.k8s.io/v1/namespaces/default/events";
    let (status, made) = send(
        &client,
        Method::POST,
        path,
        "application/json",
        event.to_string(),
    )
    .await;
    assert_eq!(
        (status, &made["note"]),
        (StatusCode::CREATED, &json!("it happened")),
        "{made}"
    );
    let (_, old) = send(
        &client,
        Method::GET,
        "/api/v1/namespaces/default/events/e",
        "",
        vec![],
    )
    .await;
    assert_eq!(
        (&old["message"], &old["involvedObject"]["name"]),
        (&json!("it happened"), &json!("p"))
    );
    for resource in ["events", "events.events.k8s.io"] {
        let shown = server.ok(&format!("get {resource} --no-headers"));
        assert!(
            shown.contains("Because") && shown.contains("pod/p"),
            "{resource}: {shown}"
        );
    }

    let get = |accept: &'static str| {
        let client = client.clone();
        async move {
            let request = Request::get("/api/v1/namespaces/default")
                .header("accept", accept)
                .body(Body::empty())
                .unwrap();
            let response = client.send(request).await.unwrap();
            let status = response.status();
            let bytes = response.into_body().collect_bytes().await.unwrap();
            (status, String::from_utf8(bytes.to_vec()).unwrap())
        }
    };
    let (_, yaml) = get("application/yaml").await;
    assert!(yaml.contains("kind: Namespace\n"), "{yaml}");
    let (_, metadata) = get("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").await;
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(
        (&metadata["kind"], &metadata["spec"]),
        (&json!("PartialObjectMetadata"), &Value::Null)
    );
    assert_eq!(
        get("application/vnd.kubernetes.protobuf").await.0,
        StatusCode::NOT_ACCEPTABLE
    );
}

#[test]
fn a_namespace_goes_when_its_last_object_does() {
    let server = Server::start();
    server.ok("create namespace n");
    let held = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"held","namespace":"n","finalizers":["example.com/hold"]}}"#;
    server.apply(held);
    server.ok("create configmap free -n n");
    server.ok("delete namespace n --wait=false");
    wait_for("the free object to go", || {
        let names = server.ok("get configmaps -n n -o name");
        (names == "configmap/held\n").then_some(())
    });
    let refused = server.refused(&["create", "configmap", "late", "-n", "n"], "");
    assert!(
        refused.contains("because it is being terminated"),
        "{refused}"
    );
    assert_eq!(
        server.ok("get namespace n -o jsonpath={.status.phase}"),
        "Terminating"
    );
    let free = r#"-p={"metadata":{"finalizers":null}}"#;
    let said = server.kubectl_with(
        &[
            "patch",
            "configmap",
            "held",
            "-n",
            "n",
            "--type=merge",
            free,
        ],
        "",
    );
    assert!(said.ok, "{said:?}");
    server.ok("wait namespace/n --for=delete --timeout=20s");
}

#[test]
fn the_debug_socket_shows_the_store() {
    let server = Server::start();
    server.ok("get namespaces");
    let fetch = |path: &str| {
        let socket = server.path().join("debug.sock");
        wait_for("the debug socket", || {
            sealane_introspect::fetch(&socket, "GET", path).ok()
        })
    };
    let state = format!("{:?}", fetch("/debug/state"));
    assert!(state.contains("namespaces"), "{state}");
    let metrics = format!("{:?}", fetch("/metrics"));
    assert!(
        metrics.contains("sealane_apiserver_requests_total"),
        "{metrics}"
    );
}

#[tokio::test]
async fn nobody_sees_more_than_health_and_version() {
    let server = Server::start();
    let nobody = server.client_of(None).await;
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(
            send(&nobody, Method::GET, path, "", vec![]).await.0,
            StatusCode::OK,
            "{path}"
        );
    }
    for path in [
        "/api",
        "/apis",
        "/api/v1/pods",
        "/openapi/v3",
        "/api/v1/namespaces/default/secrets",
    ] {
        let (status, answer) = send(&nobody, Method::GET, path, "", vec![]).await;
        assert_eq!(
            (status, &answer["reason"]),
            (StatusCode::FORBIDDEN, &json!("Forbidden")),
            "{path}"
        );
    }
    // A certificate of another authority is refused before any request.
    server.add(
        &crate::pki::Pki::new().client("kubernetes-admin", "system:masters"),
        "stranger",
    );
    let stranger = server.client_of(Some("stranger")).await;
    let request = Request::get("/version").body(Body::empty()).unwrap();
    assert!(within("a refusal", stranger.send(request)).await.is_err());
}

#[test]
fn a_damaged_or_locked_store_is_told_and_left_alone() {
    let mut server = Server::start();
    server.ok("create configmap a --from-literal=k=v");
    let complaint = |server: &Server| {
        let mut child = Running(server.command().stderr(Stdio::piped()).spawn().unwrap());
        let status = wait_for("the server to refuse", || child.0.try_wait().unwrap());
        assert!(!status.success());
        let mut said = String::new();
        child
            .0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        said
    };
    let locked = complaint(&server);
    assert!(locked.contains("another process has it open"), "{locked}");
    server.kill();
    let good = fs::read(server.store()).unwrap();
    for (what, bad) in [
        (
            "text",
            b"this is no database, but a text that is somewhat longer".repeat(100),
        ),
        ("cut short", good[..8192].to_vec()),
        (
            "overwritten",
            good.iter()
                .enumerate()
                .map(|(at, byte)| if at % 97 == 0 { !byte } else { *byte })
                .collect(),
        ),
    ] {
        fs::write(server.store(), &bad).unwrap();
        let said = complaint(&server);
        assert!(
            said.contains("open store") && said.contains("damaged"),
            "{what}: {said}"
        );
        assert!(
            fs::read(server.store()).unwrap().len() >= bad.len().min(512),
            "{what}"
        );
    }
    fs::write(server.store(), &good).unwrap();
    server.launch();
    assert_eq!(server.ok("get configmap a -o jsonpath={.data.k}"), "v");
}

#[tokio::test]
async fn every_namespace_knows_the_servers_authority() {
    let server = Server::start();
    server.ok("create namespace shop");
    let path = "/api/v1/namespaces/shop/configmaps/kube-root-ca.crt";
    let client = server.client().await;
    let published = async || loop {
        let (_, map) = send(&client, Method::GET, path, "", vec![]).await;
        let text = map["data"]["ca.crt"].as_str().unwrap_or_default();
        if text.contains("BEGIN CERTIFICATE") {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    };
    within("the authority", published()).await;
    let other = json!({"data": {"ca.crt": "another"}}).to_string();
    let merge = "application/merge-patch+json";
    let (status, _) = send(&client, Method::PATCH, path, merge, other).await;
    assert_eq!(status, StatusCode::OK);
    within("the authority again", published()).await;
}

#[tokio::test]
async fn pods_get_what_their_service_account_has_for_them() {
    let server = Server::start();
    server.ok("create namespace shop");
    let client = server.client().await;
    let pods = "/api/v1/namespaces/shop/pods";
    let pod = |name: &str, account: Option<&str>| {
        let containers = json!([{"name": "c", "image": "i"}]);
        let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": containers}});
        if let Some(account) = account {
            pod["spec"]["serviceAccountName"] = account.into();
        }
        pod.to_string()
    };
    let json_type = "application/json";
    let (status, made) = send(&client, Method::POST, pods, json_type, pod("a", None)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let volume = &made["spec"]["volumes"][0];
    let name = volume["name"].as_str().unwrap();
    assert!(name.starts_with("kube-api-access-"), "{name}");
    let sources = volume["projected"]["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 3, "{sources:?}");
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["name"], name);
    assert_eq!(
        mount["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    let authority = server.ok("get configmap -n shop kube-root-ca.crt -o jsonpath={.data}");
    assert!(authority.contains("BEGIN CERTIFICATE"), "{authority}");

    let robot = pod("b", Some("robot"));
    let (status, answer) = send(&client, Method::POST, pods, json_type, robot).await;
    let text = "pods \"b\" is forbidden: error looking up service account shop/robot: \
                serviceaccount \"robot\" not found";
    assert_eq!(
        (status, &answer["message"]),
        (StatusCode::FORBIDDEN, &json!(text))
    );
    let nowhere = "/api/v1/namespaces/nowhere/pods";
    let (status, _) = send(&client, Method::POST, nowhere, json_type, pod("a", None)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
