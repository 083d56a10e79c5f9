//! What becomes of dependents: the server's part, which is finalizers. No garbage collector runs
//! here, so what waits for one stays.

use http::Method;
use serde_json::{Value, json};

use crate::{harness::Server, requests::send, workloads::DEPLOYMENT};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn delete(client: &kube::Client, path: &str, options: Value) -> (u16, Value) {
    let body = if options.is_null() {
        String::new()
    } else {
        options.to_string()
    };
    let (code, answer) = send(client, Method::DELETE, path, "application/json", body).await;
    (code.as_u16(), answer)
}

#[tokio::test]
async fn the_policy_becomes_a_finalizer() {
    let server = Server::start();
    let client = server.client().await;
    let path = format!("{DEPLOYMENTS}/web");
    let gone = json!(null);
    for (query, body, finalizers) in [
        ("", json!(null), &gone),
        ("", json!({"propagationPolicy": "Background"}), &gone),
        (
            "",
            json!({"kind": "DeleteOptions", "apiVersion": "apps/v1", "propagationPolicy": "Foreground"}),
            &json!(["foregroundDeletion"]),
        ),
        ("?propagationPolicy=Orphan", json!(null), &json!(["orphan"])),
        ("?orphanDependents=true", json!(null), &json!(["orphan"])),
        ("", json!({"orphanDependents": true}), &json!(["orphan"])),
        ("", json!({"orphanDependents": false}), &gone),
    ] {
        server.apply(DEPLOYMENT);
        let (code, answer) = delete(&client, &format!("{path}{query}"), body.clone()).await;
        assert_eq!(code, 200, "{query} {body}: {answer}");
        assert_eq!(
            answer["metadata"]["finalizers"], *finalizers,
            "{query} {body}"
        );
        if finalizers.is_null() {
            assert_eq!(answer["status"], "Success");
            assert_eq!(answer["details"]["group"], "apps");
        } else {
            assert_eq!(answer["metadata"]["generation"], 2);
            assert_eq!(answer["metadata"]["deletionGracePeriodSeconds"], 0);
            // A later wish overrides the first.
            delete(&client, &path, json!({"propagationPolicy": "Background"})).await;
        }
        let left = server.kubectl("get deployment web");
        assert!(left.err.contains("NotFound"), "{left:?}");
    }
}

#[tokio::test]
async fn deletions_that_cannot_be_are_refused() {
    let server = Server::start();
    let client = server.client().await;
    let path = format!("{DEPLOYMENTS}/web");
    server.apply(DEPLOYMENT);
    for (body, code, message) in [
        (
            json!({"propagationPolicy": "Never"}),
            422,
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Never\": \
             supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
        ),
        (
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            422,
            "orphanDependents and deletionPropagation cannot be both set",
        ),
        (
            json!({"preconditions": {"uid": "other"}}),
            409,
            "Operation cannot be fulfilled on deployments.apps \"web\": the UID in the precondition (other) \
             does not match the UID in record (",
        ),
        (
            json!({"preconditions": {"resourceVersion": "1"}}),
            409,
            "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (",
        ),
        (json!({"propagationPolicy": 5}), 400, "DeleteOptions"),
    ] {
        let (status, answer) = delete(&client, &path, body.clone()).await;
        let said = answer["message"].as_str().unwrap_or("");
        assert_eq!(
            (status, said.contains(message)),
            (code, true),
            "{body}: {said}"
        );
    }
    let (_, object) = send(&client, Method::GET, &path, "", "").await;
    let right = json!({"preconditions": {"uid": object["metadata"]["uid"]}, "dryRun": ["All"]});
    assert_eq!(delete(&client, &path, right).await.0, 200);
    server.ok("get deployment web");
}

#[tokio::test]
async fn a_collection_is_deleted_as_each_of_its_objects() {
    let server = Server::start();
    let client = server.client().await;
    for name in ["a", "b", "c"] {
        server.apply(
            &DEPLOYMENT.replace("name: web", &format!("name: {name}, labels: {{l: {name}}}")),
        );
    }
    let some = format!("{DEPLOYMENTS}?labelSelector=l%20in%20(a,b)&propagationPolicy=Orphan");
    let (code, answer) = delete(&client, &some, json!(null)).await;
    assert_eq!(
        (code, &answer["kind"]),
        (200, &json!("DeploymentList")),
        "{answer}"
    );
    let finalizers = server.ok("get deployments -o jsonpath={.items[*].metadata.finalizers}");
    assert_eq!(finalizers, "[\"orphan\"] [\"orphan\"]");
    let (code, _) = delete(
        &client,
        DEPLOYMENTS,
        json!({"propagationPolicy": "Background"}),
    )
    .await;
    assert_eq!(
        (code, server.ok("get deployments -o name").as_str()),
        (200, "")
    );
}

#[tokio::test]
async fn a_pod_keeps_its_grace_beside_the_policy() {
    let server = Server::start();
    let client = server.client().await;
    server.apply(
        "kind: Pod\napiVersion: v1\nmetadata: {name: p}\n\
         spec: {nodeName: somewhere, containers: [{name: c, image: i}]}",
    );
    let path = "/api/v1/namespaces/default/pods/p";
    let foreground = json!({"propagationPolicy": "Foreground", "gracePeriodSeconds": 7});
    let (_, pod) = delete(&client, path, foreground).await;
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 7);
    assert_eq!(pod["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    // It goes its way: a longer time and another policy change nothing.
    let (_, again) = delete(&client, path, json!({"propagationPolicy": "Background"})).await;
    assert_eq!(again["metadata"], pod["metadata"]);
    let (_, sooner) = delete(
        &client,
        path,
        json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"}),
    )
    .await;
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 0);
    assert!(server.kubectl("get pod p").err.contains("NotFound"));
}

#[test]
fn kubectl_cascades_as_its_user_says() {
    let server = Server::start();
    for (cascade, finalizers) in [
        ("orphan", "[\"orphan\"]"),
        ("foreground", "[\"foregroundDeletion\"]"),
    ] {
        server.apply(&DEPLOYMENT.replace("name: web", &format!("name: {cascade}")));
        server.ok(&format!(
            "delete deployment {cascade} --cascade={cascade} --wait=false"
        ));
        let found = server.ok(&format!(
            "get deployment {cascade} -o jsonpath={{.metadata.finalizers}}"
        ));
        assert_eq!(found, finalizers);
    }
    server.apply(DEPLOYMENT);
    server.ok("delete deployment web");
}
