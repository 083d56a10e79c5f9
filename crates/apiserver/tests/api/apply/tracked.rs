//! Writes that are no apply: what they own afterwards.

use http::{Method, Request, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use super::{MAP, MERGE, apply, get, map, names, owners};
use crate::{harness::Server, requests::send};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";

#[tokio::test]
async fn every_write_is_somebodys() {
    let server = Server::start();
    let client = server.client().await;
    let path = format!("{MAPS}?fieldManager=maker");
    let made = map(&json!({"a": "1", "b": "1"}));
    let (_, made) = send(&client, Method::POST, &path, JSON, made.to_string()).await;
    let fields = json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}});
    assert_eq!(owners(&made), [("maker Update".into(), fields)]);

    // What is changed is the last one's, what is left is not.
    let mut changed = made.clone();
    changed["data"] = json!({"a": "2", "b": "1", "c": "2"});
    let path = format!("{MAP}?fieldManager=changer");
    let (_, changed) = send(&client, Method::PUT, &path, JSON, changed.to_string()).await;
    assert_eq!(
        owners(&changed),
        [
            (
                "changer Update".into(),
                json!({"f:data": {"f:a": {}, "f:c": {}}})
            ),
            (
                "maker Update".into(),
                json!({"f:data": {".": {}, "f:b": {}}})
            ),
        ]
    );
    // What changes nothing is not written: version, entries and times stay.
    for body in [changed.clone(), {
        let mut bare = changed.clone();
        bare["metadata"]["managedFields"].take();
        bare
    }] {
        let path = format!("{MAP}?fieldManager=nobody");
        let (_, same) = send(&client, Method::PUT, &path, JSON, body.to_string()).await;
        assert_eq!(same, changed);
        let (_, same) = send(
            &client,
            Method::PATCH,
            &path,
            MERGE,
            "{\"data\":{\"a\":\"2\"}}",
        )
        .await;
        assert_eq!(same, changed);
    }
    // Without a name it is the program's.
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(MAP)
        .header("content-type", MERGE)
        .header("user-agent", "robot/v1.2 (linux)")
        .body(Body::from(b"{\"data\":{\"b\":null}}".to_vec()))
        .unwrap();
    client.send(request).await.unwrap();
    let left = get(&client, MAP).await;
    assert_eq!(
        names(&left),
        ["changer Update", "maker Update"],
        "it only removed"
    );
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(MAP)
        .header("content-type", MERGE)
        .header("user-agent", "robot/v1.2 (linux)")
        .body(Body::from(b"{\"data\":{\"b\":\"9\"}}".to_vec()))
        .unwrap();
    client.send(request).await.unwrap();
    let left = get(&client, MAP).await;
    assert!(names(&left).contains(&"robot Update".to_owned()), "{left}");
}

#[tokio::test]
async fn managed_fields_can_be_edited_and_forgotten() {
    let server = Server::start();
    let client = server.client().await;
    let (_, made) = apply(&client, MAP, "one", &map(&json!({"a": "1"}))).await;
    // Another name, by a patch.
    let rename = json!([
        {"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "two"},
    ]);
    let media = "application/json-patch+json";
    let (status, renamed) = send(&client, Method::PATCH, MAP, media, rename.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{renamed}");
    assert_eq!(owners(&renamed)[0].0, "two Apply");
    assert_eq!(owners(&renamed)[0].1, owners(&made)[0].1);
    // What is no list of entries is as if it had not been said.
    let mut odd = renamed.clone();
    odd["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Odd"}]);
    let (_, same) = send(&client, Method::PUT, MAP, JSON, odd.to_string()).await;
    assert_eq!(same, renamed);
    // An empty entry, or none, forgets all; then nothing is tracked until somebody applies.
    let forget = json!({"metadata": {"managedFields": [{}]}});
    let (_, forgotten) = send(&client, Method::PATCH, MAP, MERGE, forget.to_string()).await;
    assert!(names(&forgotten).is_empty(), "{forgotten}");
    let (_, still) = send(
        &client,
        Method::PATCH,
        MAP,
        MERGE,
        "{\"data\":{\"b\":\"1\"}}",
    )
    .await;
    assert!(names(&still).is_empty(), "{still}");
    let (_, applied) = apply(&client, MAP, "three", &map(&json!({"a": "1"}))).await;
    assert_eq!(
        names(&applied),
        ["before-first-apply Update", "three Apply"]
    );
}

#[tokio::test]
async fn the_status_has_owners_of_its_own() {
    let server = Server::start();
    let client = server.client().await;
    let nodes = "/api/v1/nodes";
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"l": "m"}}});
    let path = format!("{nodes}?fieldManager=kubelet");
    send(&client, Method::POST, &path, JSON, node.to_string()).await;
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let path = format!("{nodes}/n/status?fieldManager=kubelet");
    let strategic = "application/strategic-merge-patch+json";
    let (_, ready) = send(&client, Method::PATCH, &path, strategic, status.to_string()).await;
    let (who, fields) = owners(&ready).pop().unwrap();
    assert_eq!(who, "kubelet Update status");
    let condition = &fields["f:status"]["f:conditions"]["k:{\"type\":\"Ready\"}"];
    assert_eq!(condition["f:status"], json!({}));
    // A status beside a spec is nobody's, and is not written.
    let mut config = node.clone();
    config["metadata"] = json!({"name": "n"});
    config["status"] = json!({"phase": "Running"});
    config["spec"] = json!({"unschedulable": true});
    let (_, applied) = apply(&client, &format!("{nodes}/n"), "one", &config).await;
    assert!(applied["status"]["phase"].is_null(), "{applied}");
    let spec = json!({"f:spec": {"f:unschedulable": {}}});
    assert_eq!(owners(&applied)[2], ("one Apply".into(), spec));
    // Applied to the subresource, only the status is.
    let (code, applied) = apply(&client, &format!("{nodes}/n/status"), "one", &config).await;
    assert_eq!(code, StatusCode::OK, "{applied}");
    assert_eq!(applied["status"]["phase"], "Running");
    let found = owners(&applied);
    assert!(found.contains(&(
        "one Apply status".into(),
        json!({"f:status": {"f:phase": {}}})
    )));
}

/// What the server adds by itself (addresses, tokens, tolerations) nobody owns.
#[tokio::test]
async fn what_the_server_adds_is_nobodys() {
    let server = Server::start();
    let client = server.client().await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}]},
    });
    let path = "/api/v1/namespaces/default/services?fieldManager=one";
    let (_, made) = send(&client, Method::POST, path, JSON, service.to_string()).await;
    assert!(made["spec"]["clusterIP"].is_string());
    let fields: &Value = &owners(&made)[0].1;
    assert!(fields["f:spec"]["f:clusterIP"].is_null(), "{fields}");
    assert!(
        fields["f:spec"]["f:type"].is_object(),
        "defaults are its own: {fields}"
    );
}
