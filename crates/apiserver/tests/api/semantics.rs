//! Fine print that clients rely on: what a selective watch tells, how amounts are kept, which
//! options go together, what people are warned of.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::{
    harness::Server,
    requests::send,
    workloads::{DEPLOYMENT, of_kind},
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A revision before all that follows, and each event that a watch from there on tells.
async fn events(client: &kube::Client, query: &str) -> Vec<Value> {
    let path = format!("{MAPS}?watch=true&timeoutSeconds=1&{query}");
    let (_, answer) = send(client, Method::GET, &path, "", "").await;
    // One event alone is read as the JSON that it is.
    match answer {
        Value::String(lines) => lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
        one => vec![one],
    }
}

#[tokio::test]
async fn what_leaves_a_selection_is_told_as_it_was() {
    let server = Server::start();
    let client = server.client().await;
    let (_, list) = send(&client, Method::GET, MAPS, "", "").await;
    let since = list["metadata"]["resourceVersion"].as_str().unwrap();
    let body = |label: &str, value: &str| {
        json!({"metadata": {"name": "a", "labels": {"l": label}}, "data": {"k": value}}).to_string()
    };
    let one = format!("{MAPS}/a");
    send(
        &client,
        Method::POST,
        MAPS,
        "application/json",
        body("in", "1"),
    )
    .await;
    send(
        &client,
        Method::PUT,
        &one,
        "application/json",
        body("in", "2"),
    )
    .await;
    let (_, last) = send(
        &client,
        Method::PUT,
        &one,
        "application/json",
        body("out", "3"),
    )
    .await;
    let told = events(
        &client,
        &format!("labelSelector=l%3Din&resourceVersion={since}"),
    )
    .await;
    let shown: Vec<Value> = told
        .iter()
        .map(|event| {
            json!([
                event["type"],
                event["object"]["data"]["k"],
                event["object"]["metadata"]["labels"]["l"]
            ])
        })
        .collect();
    assert_eq!(
        json!(shown),
        json!([
            ["ADDED", "1", "in"],
            ["MODIFIED", "2", "in"],
            ["DELETED", "2", "in"]
        ])
    );
    assert_eq!(
        told[2]["object"]["metadata"]["resourceVersion"],
        last["metadata"]["resourceVersion"]
    );
    let told = events(
        &client,
        &format!("labelSelector=l%3Dout&resourceVersion={since}"),
    )
    .await;
    assert_eq!((told.len(), &told[0]["type"]), (1, &json!("ADDED")));
    assert_eq!(told[0]["object"]["data"]["k"], "3");
}

#[tokio::test]
async fn options_that_do_not_go_together_are_refused() {
    let server = Server::start();
    let client = server.client().await;
    let invalid = "ListOptions.meta.k8s.io \"\" is invalid: ";
    for (query, code, message) in [
        (
            "resourceVersionMatch=Exact",
            422,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            422,
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersionMatch=Newest&resourceVersion=1",
            422,
            "Unsupported value: \"Newest\"",
        ),
        (
            "resourceVersionMatch=NotOlderThan&resourceVersion=1&continue=x",
            422,
            "resourceVersionMatch is forbidden when continue is provided",
        ),
        (
            "sendInitialEvents=true",
            422,
            "sendInitialEvents is forbidden for list",
        ),
        (
            "watch=1&sendInitialEvents=true",
            422,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=1&resourceVersionMatch=NotOlderThan",
            422,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (
            "continue=x&resourceVersion=5",
            400,
            "specifying resource version is not allowed when using continue",
        ),
        (
            "fieldSelector=spec.x%3D1",
            400,
            "is not a known field selector",
        ),
    ] {
        let (status, answer) = send(&client, Method::GET, &format!("{MAPS}?{query}"), "", "").await;
        let said = answer["message"].as_str().unwrap_or("");
        assert_eq!(
            (status.as_u16(), said.contains(message)),
            (code, true),
            "{query}: {answer}"
        );
        assert_eq!(said.starts_with(invalid), code == 422, "{said}");
    }
    let told = events(
        &client,
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
    )
    .await;
    // News may follow it: the namespace gets its ConfigMap at about this time.
    let bookmark = told.iter().find(|event| event["type"] == "BOOKMARK");
    let bookmark = bookmark.unwrap_or_else(|| panic!("no bookmark in {told:?}"));
    let annotations = &bookmark["object"]["metadata"]["annotations"];
    assert_eq!(annotations["k8s.io/initial-events-end"], "true");
}

#[test]
fn amounts_are_kept_in_one_form() {
    let server = Server::start();
    let resources = "resources: {requests: {cpu: 0.5, memory: 1024Mi}, limits: {memory: 1.5Gi}}";
    let deployment = DEPLOYMENT.replace("name: main,", &format!("name: main, {resources},"));
    server.apply(&deployment);
    assert_eq!(
        server.ok("get deployment web -o jsonpath={.spec.template.spec.containers[0].resources}"),
        r#"{"limits":{"memory":"1536Mi"},"requests":{"cpu":"500m","memory":"1Gi"}}"#
    );
    // What is said otherwise and means the same is no change.
    server.ok("get deployment web");
    server.apply(&deployment.replace("0.5", "500m").replace("1024Mi", "1Gi"));
    assert_eq!(server.ok("get deployment web -o jsonpath={.spec.template.spec.containers[0].resources.requests.cpu}"), "500m");
    server.apply(&format!(
        "kind: Pod\napiVersion: v1\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: i, {resources}}}]}}"
    ));
    assert_eq!(
        server.ok("get pod p -o jsonpath={.spec.containers[0].resources}/{.status.qosClass}"),
        r#"{"limits":{"memory":"1536Mi"},"requests":{"cpu":"500m","memory":"1Gi"}}/Burstable"#
    );
}

#[test]
fn people_are_warned() {
    let server = Server::start();
    let env = "name: main, env: [{name: A, value: b}, {name: A, value: c}],";
    let warned = |manifest: &str| server.kubectl_with(&["apply", "-f", "-"], manifest).err;
    let said = warned(&DEPLOYMENT.replace("name: main,", env));
    assert_eq!(
        said,
        "Warning: spec.template.spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply\n"
    );
    let said = warned(&of_kind("StatefulSet").replace("name: web}", "name: w.eb}"));
    assert!(
        said.contains("metadata.name: this is used in Pod names and hostnames"),
        "{said}"
    );
    let endpoints =
        "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\n";
    let said = warned(
        "kind: Endpoints\napiVersion: v1\nmetadata: {name: e}\nsubsets: [{addresses: [{ip: 10.0.0.1}]}]",
    );
    assert!(said.contains(endpoints), "{said}");
    let listed = server.kubectl("get endpoints e");
    assert_eq!(listed.err, endpoints);
    assert!(listed.out.contains("10.0.0.1"), "{listed:?}");
}

#[tokio::test]
async fn generated_names_differ() {
    let server = Server::start();
    let client = server.client().await;
    let body = json!({"metadata": {"generateName": "x-"}}).to_string();
    let mut names = BTreeSet::new();
    for _ in 0..50 {
        let (status, made) = send(
            &client,
            Method::POST,
            MAPS,
            "application/json",
            body.clone(),
        )
        .await;
        assert_eq!(status.as_u16(), 201, "{made}");
        names.insert(made["metadata"]["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names.len(), 50);
    let long = "a".repeat(80);
    let body = json!({"metadata": {"generateName": long}}).to_string();
    let (_, made) = send(&client, Method::POST, MAPS, "application/json", body).await;
    assert_eq!(made["metadata"]["name"].as_str().unwrap().len(), 63);
}
