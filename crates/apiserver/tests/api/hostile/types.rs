//! A value of the wrong type in every place of an object.

use http::StatusCode;
use serde_json::{Value, json};

use super::{JSON, send};
use crate::harness::Server;

/// Objects with many fields, and where they are created.
fn objects() -> Vec<(&'static str, Value)> {
    let container = json!({
        "name": "c", "image": "x", "args": ["a"], "tty": false,
        "ports": [{"containerPort": 80, "protocol": "TCP", "name": "p"}],
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "securityContext": {"runAsUser": 1, "privileged": false, "capabilities": {"drop": ["ALL"]}},
        "livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
        "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}],
    });
    let pod = json!({
        "containers": [container], "nodeName": "n", "hostNetwork": false,
        "terminationGracePeriodSeconds": 1, "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 1, "effect": "NoExecute"}],
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
    });
    let labels = json!({"a": "b"});
    let meta = json!({
        "name": "x", "labels": labels, "annotations": labels, "finalizers": ["a/b"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u", "controller": true}],
    });
    vec![
        (
            "/api/v1/namespaces/default/configmaps",
            json!({"metadata": meta, "data": {"a": "b"}, "immutable": false}),
        ),
        (
            "/api/v1/namespaces/default/pods",
            json!({"metadata": meta, "spec": pod}),
        ),
        (
            "/api/v1/namespaces/default/services",
            json!({"metadata": meta, "spec": {
                "type": "ClusterIP", "selector": labels, "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}},
                "publishNotReadyAddresses": true, "externalIPs": ["1.2.3.4"],
                "ports": [{"port": 80, "protocol": "TCP", "name": "p", "appProtocol": "http"}],
            }}),
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            json!({"metadata": meta, "spec": {
                "replicas": 1, "minReadySeconds": 1, "paused": false, "revisionHistoryLimit": 1,
                "selector": {"matchLabels": labels, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
                "template": {"metadata": {"labels": labels}, "spec": {
                    "containers": [container], "volumes": [{"name": "v", "emptyDir": {}}],
                }},
            }}),
        ),
        (
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            json!({"metadata": meta, "spec": {"holderIdentity": "h", "leaseDurationSeconds": 1}}),
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            json!({"metadata": meta, "addressType": "IPv4",
                "endpoints": [{"addresses": ["1.2.3.4"], "conditions": {"ready": true}, "nodeName": "n"}],
                "ports": [{"name": "p", "port": 80, "protocol": "TCP"}]}),
        ),
    ]
}

/// The pointers of everything within a value.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    let within: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (name, value) in within {
        let place = format!("{at}/{name}");
        places(value, &place, into);
        into.push(place);
    }
}

/// Values of other types than this one.
fn others(value: &Value) -> Vec<Value> {
    let all = [
        json!(true),
        json!(7),
        json!(0.5),
        json!("x"),
        json!([]),
        json!({}),
    ];
    let is_like = |other: &Value| match (value, other) {
        (Value::Number(_), Value::Number(other)) => other.is_i64(),
        (value, other) => std::mem::discriminant(value) == std::mem::discriminant(other),
    };
    all.into_iter().filter(|other| !is_like(other)).collect()
}

#[tokio::test]
async fn a_wrong_type_is_refused_wherever_it_stands() {
    let server = Server::start();
    let client = server.client().await;
    let mut taken = Vec::new();
    let mut tried = 0;
    for (path, object) in objects() {
        let path = format!("{path}?dryRun=All");
        let (status, answer) = send(&client, "POST", &path, JSON, object.to_string()).await;
        assert_eq!(status, StatusCode::CREATED, "{path}: {answer}");
        let mut pointers = Vec::new();
        places(&object, "", &mut pointers);
        for pointer in pointers {
            for other in others(object.pointer(&pointer).unwrap()) {
                let mut wrong = object.clone();
                *wrong.pointer_mut(&pointer).unwrap() = other.clone();
                let (status, answer) = send(&client, "POST", &path, JSON, wrong.to_string()).await;
                tried += 1;
                let message = answer["message"].as_str().unwrap_or("");
                if status != StatusCode::BAD_REQUEST || !message.contains("json: cannot unmarshal")
                {
                    taken.push(format!("{path} {pointer} = {other}: {status} {message}"));
                }
            }
        }
    }
    assert!(tried > 500, "only {tried} were tried");
    assert!(
        taken.is_empty(),
        "{}\n{} of {tried}",
        taken.join("\n"),
        taken.len()
    );
}
