//! The subresource `scale`.

use http::{Method, StatusCode};
use serde_json::json;

use crate::{
    harness::Server,
    requests::send,
    workloads::{DEPLOYMENT, of_kind},
};

const SCALE: &str = "/apis/apps/v1/namespaces/default/deployments/web/scale";

#[test]
fn kubectl_scales() {
    let server = Server::start();
    for kind in ["Deployment", "ReplicaSet", "StatefulSet"] {
        server.apply(&of_kind(kind));
        let kind = kind.to_lowercase();
        let said = server.ok(&format!("scale {kind} web --replicas=3"));
        assert_eq!(said, format!("{kind}.apps/web scaled\n"));
        let shown = server.ok(&format!(
            "get {kind} web -o jsonpath={{.spec.replicas}}/{{.metadata.generation}}"
        ));
        assert_eq!(shown, "3/2");
    }
    server.ok("scale deployment web --current-replicas=3 --replicas=5");
    let refused = server.refused(
        &[
            "scale",
            "deployment",
            "web",
            "--current-replicas=3",
            "--replicas=6",
        ],
        "",
    );
    assert!(
        refused.contains("Expected replicas to be 3, was 5"),
        "{refused}"
    );
    let table = server.ok("get deployment web --subresource=scale");
    let words: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(
        words[..7],
        ["NAME", "DESIRED", "AVAILABLE", "AGE", "web", "5", "0"]
    );
    server.apply(
        "kind: ReplicationController\napiVersion: v1\nmetadata: {name: old}\nspec: {template: \
         {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}",
    );
    server.ok("scale rc old --replicas=0");
    assert_eq!(server.ok("get rc old -o jsonpath={.spec.replicas}"), "0");
    // That of a DaemonSet is the nodes' affair.
    server.apply(&of_kind("DaemonSet"));
    let refused = server.refused(&["scale", "daemonset", "web", "--replicas=2"], "");
    assert!(
        refused.contains("could not find the requested resource"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_scale_is_got_replaced_and_patched() {
    let server = Server::start();
    let client = server.client().await;
    server.apply(DEPLOYMENT);
    let (_, mut scale) = send(&client, Method::GET, SCALE, "", "").await;
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"]),
        (&json!("Scale"), &json!("autoscaling/v1"))
    );
    assert_eq!(
        scale["status"],
        json!({"replicas": 0, "selector": "app=web"})
    );

    let put = |body: serde_json::Value| {
        let client = client.clone();
        async move {
            send(
                &client,
                Method::PUT,
                SCALE,
                "application/json",
                body.to_string(),
            )
            .await
        }
    };
    scale["spec"]["replicas"] = json!(2);
    let (code, answer) = put(scale.clone()).await;
    assert_eq!(
        (code, &answer["spec"]["replicas"]),
        (StatusCode::OK, &json!(2))
    );
    // The same once more is too late: it names the version before.
    let (code, answer) = put(scale.clone()).await;
    assert_eq!(
        (code, &answer["reason"]),
        (StatusCode::CONFLICT, &json!("Conflict"))
    );

    for (media, patch, expected) in [
        (
            "application/merge-patch+json",
            r#"{"spec":{"replicas":4}}"#,
            4,
        ),
        (
            "application/strategic-merge-patch+json",
            r#"{"spec":{"replicas":5}}"#,
            5,
        ),
        (
            "application/json-patch+json",
            r#"[{"op":"replace","path":"/spec/replicas","value":6}]"#,
            6,
        ),
    ] {
        let (code, answer) = send(&client, Method::PATCH, SCALE, media, patch).await;
        assert_eq!(
            (code, &answer["spec"]["replicas"]),
            (StatusCode::OK, &json!(expected)),
            "{answer}"
        );
    }
    for (body, code, message) in [
        (
            json!({"metadata": {"name": "web"}, "spec": {"replicas": -1}}),
            422,
            "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            json!({"metadata": {"name": "other"}, "spec": {"replicas": 1}}),
            400,
            "does not match the name on the URL (web)",
        ),
        (
            json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web"}}),
            400,
            "does not match the expected API version (autoscaling/v1)",
        ),
    ] {
        let (status, answer) = put(body).await;
        let said = answer["message"].as_str().unwrap_or("");
        assert_eq!(
            (status.as_u16(), said.contains(message)),
            (code, true),
            "{answer}"
        );
    }
    let (code, _) = send(&client, Method::DELETE, SCALE, "", "").await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    let missing = SCALE.replace("web", "none");
    let (code, answer) = send(&client, Method::GET, &missing, "", "").await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    assert_eq!(answer["message"], "deployments.apps \"none\" not found");
    let (_, resources) = send(&client, Method::GET, "/apis/apps/v1", "", "").await;
    let listed = resources["resources"].as_array().unwrap();
    let found = listed
        .iter()
        .find(|one| one["name"] == "deployments/scale")
        .unwrap();
    assert_eq!(
        (&found["group"], &found["version"]),
        (&json!("autoscaling"), &json!("v1"))
    );
}
