//! What pods find inside that comes from the API: files, variables, tokens.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value, json};

use super::harness::{Harness, pod_path, state};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

fn map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "data": data})
}

/// A pod with a shell, volumes and mounts.
fn pod(script: &str, volumes: Value, mounts: Value) -> Value {
    json!({
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "volumes": volumes,
        "containers": [{
            "name": "c", "image": "sealane.io/host", "command": ["sh", "-c", script],
            "volumeMounts": mounts,
        }],
    })
}

fn log(harness: &Harness, uid: &str) -> String {
    let path = harness.path("state/pods").join(uid).join("logs/c/0.log");
    let text = fs::read_to_string(path).unwrap_or_default();
    let words = |line: &str| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned();
    text.lines().map(words).collect::<Vec<_>>().join("\n")
}

fn succeeded(pod: &Value) -> bool {
    pod["status"]["phase"] == "Succeeded"
}

#[tokio::test]
async fn a_volume_follows_its_object_and_a_part_of_it_does_not() {
    let harness = Harness::start().await;
    let script = "ls -a /m; until [ \"$(cat /m/d/k)\" = two ]; do sleep 0.02; done; \
                  cat /m/d/k /one; echo; touch /m/x";
    let volume = json!({"name": "m", "configMap": {
        "name": "m", "items": [{"key": "k", "path": "d/k"}],
    }});
    let mounts = json!([
        {"name": "m", "mountPath": "/m"}, {"name": "m", "mountPath": "/one", "subPath": "d/k"},
    ]);
    let uid = harness.create_pod("a", pod(script, json!([volume]), mounts));
    let failed =
        "FailedMount: MountVolume.SetUp failed for volume \"m\" : configmap \"m\" not found";
    harness
        .wait_for("the lack is told", |api| {
            api.events("a").iter().any(|e| e == failed)
        })
        .await;
    let creating = |pod: &Value| state(pod).1["reason"] == "ContainerCreating";
    harness.wait_for_pod("a", "waiting", creating).await;
    assert!(harness.calls().is_empty(), "no network before the volumes");

    harness.api.create(MAPS, map("m", json!({"k": "one"})));
    harness
        .wait_for("the first look", |_| log(&harness, &uid).contains("..data"))
        .await;
    harness
        .api
        .patch(&format!("{MAPS}/m"), &json!({"data": {"k": "two"}}));
    let done = |pod: &Value| pod["status"]["phase"] == "Failed";
    harness.wait_for_pod("a", "done", done).await;
    let log = log(&harness, &uid);
    assert!(log.contains("twoone"), "{log}");
    assert!(log.contains("Read-only file system"), "{log}");
}

#[tokio::test]
async fn variables_come_from_objects_that_are_waited_for() {
    let harness = Harness::start().await;
    let mut spec = pod(
        "echo $A $PRE_k $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT $WEB_SERVICE_HOST",
        json!([]),
        json!([]),
    );
    spec["containers"][0]["env"] = json!([
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a"}}},
    ]);
    spec["containers"][0]["envFrom"] = json!([{"prefix": "PRE_", "configMapRef": {"name": "m"}}]);
    harness.api.create(MAPS, map("m", json!({"k": "v"})));
    harness.api.create(
        "/api/v1/namespaces/default/services",
        json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]},
        }),
    );
    let uid = harness.create_pod("a", spec);
    let held = |pod: &Value| state(pod).1["reason"] == "CreateContainerConfigError";
    let pod = harness.wait_for_pod("a", "waiting", held).await;
    assert_eq!(state(&pod).1["message"], "secret \"s\" not found");
    harness.api.create(SECRETS, map("s", json!({"b": "eA=="})));
    let no_key = "couldn't find key a in Secret default/s";
    harness
        .wait_for_pod("a", "missing a key", |pod| {
            state(pod).1["message"] == no_key
        })
        .await;
    harness
        .api
        .patch(&format!("{SECRETS}/s"), &json!({"data": {"a": "eA=="}}));
    harness.wait_for_pod("a", "done", succeeded).await;
    let server = harness.api.address;
    assert_eq!(log(&harness, &uid), format!("x v {server} 10.96.0.7"));
}

#[tokio::test]
async fn a_token_is_the_users_and_is_renewed() {
    let mut harness = Harness::start().await;
    harness.api.shorten_tokens(3);
    let volume = json!({"name": "t", "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}},
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        ]}},
    ]}});
    let mut spec = pod(
        "exec sleep 1000",
        json!([volume]),
        json!([{"name": "t", "mountPath": "/t"}]),
    );
    spec["securityContext"] = json!({"runAsUser": 1234, "fsGroup": 4321});
    spec["serviceAccountName"] = "robot".into();
    let uid = harness.create_pod("a", spec);
    harness.wait_running("a").await;
    let files = harness.path("run/volumes").join(&uid).join("t");
    let read = |name: &str| fs::read_to_string(files.join(name)).unwrap_or_default();
    assert!(read("token").starts_with("token-"));
    assert_eq!(read("namespace"), "default");
    let token = fs::metadata(files.join("token")).unwrap();
    let owner = (token.uid(), token.gid(), token.permissions().mode() & 0o777);
    assert_eq!(owner, (1234, 4321, 0o640));
    let (path, asked) = harness.api.token_requests().remove(0);
    assert_eq!(
        path,
        "/api/v1/namespaces/default/serviceaccounts/robot/token"
    );
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": uid});
    assert_eq!(asked["spec"]["boundObjectRef"], bound);

    let first = read("token");
    harness
        .wait_for("another token", |_| read("token") != first)
        .await;
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    harness.api.patch(&pod_path("a"), &labels);
    harness
        .wait_for("the label", |_| read("labels") == "a=\"b\"")
        .await;

    // What a restarted node finds, it keeps fresh.
    harness.kill();
    let before = read("token");
    harness.run();
    harness
        .wait_for("yet another token", |_| read("token") != before)
        .await;

    harness.api.delete_gracefully(&pod_path("a"), 0);
    harness.wait_gone("a").await;
    assert!(!harness.path("run/volumes").join(&uid).exists());
}
