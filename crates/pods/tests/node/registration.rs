//! The Node object and the Lease.

use serde_json::{Value, json};

use super::harness::{Harness, condition, node_condition};

const NODE: &str = "/api/v1/nodes/node-1";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-1";

#[tokio::test]
async fn a_node_registers_and_becomes_ready_with_its_network() {
    let mut harness = Harness::prepare().await;
    harness.run();
    harness
        .wait_for("node registered", |api| node_condition(api).is_some())
        .await;
    assert_eq!(node_condition(&harness.api).as_deref(), Some("False"));
    harness.install_network();
    harness
        .wait_for("node ready", |api| {
            node_condition(api) == Some("True".into())
        })
        .await;
    harness
        .wait_for("lease", |api| api.get(LEASE).is_some())
        .await;

    let node = harness.api.get(NODE).unwrap();
    assert_eq!(
        node["metadata"]["labels"]["kubernetes.io/hostname"],
        "node-1"
    );
    assert_eq!(
        node["status"]["addresses"][0],
        json!({"type": "InternalIP", "address": "127.0.0.1"})
    );
    assert_eq!(
        node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"],
        harness.port
    );
    let lease = harness.api.get(LEASE).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "node-1");
    assert_eq!(
        lease["metadata"]["ownerReferences"][0]["uid"],
        node["metadata"]["uid"]
    );

    std::fs::remove_file(harness.path("net.d/10-fake.conflist")).unwrap();
    harness
        .wait_for("node not ready", |api| {
            node_condition(api) == Some("False".into())
        })
        .await;
}

#[tokio::test]
async fn a_node_that_was_given_up_or_deleted_comes_back() {
    let harness = Harness::start().await;
    let mut node = harness.api.get(NODE).unwrap();
    let conditions = node["status"]["conditions"].as_array_mut().unwrap();
    for condition in conditions.iter_mut() {
        condition["status"] = "Unknown".into();
    }
    conditions.push(json!({"type": "NetworkUnavailable", "status": "False"}));
    let conditions: Value = conditions.clone().into();
    harness
        .api
        .patch(NODE, &json!({"status": {"conditions": conditions}}));
    harness
        .wait_for("node ready again", |api| {
            node_condition(api) == Some("True".into())
        })
        .await;
    let node = harness.api.get(NODE).unwrap();
    assert_eq!(
        condition(&node, "NetworkUnavailable").as_deref(),
        Some("False"),
        "others' is kept"
    );

    harness.api.forget(NODE);
    harness
        .wait_for("node made anew", |api| {
            node_condition(api) == Some("True".into())
        })
        .await;
}

#[tokio::test]
async fn an_api_server_that_fails_is_asked_again() {
    let mut harness = Harness::prepare().await;
    harness.install_network();
    harness.api.fail_next(8);
    harness.run();
    harness
        .wait_for("node ready", |api| {
            node_condition(api) == Some("True".into())
        })
        .await;
}

#[tokio::test]
async fn a_restarted_node_goes_on_renewing_its_lease() {
    let mut harness = Harness::start().await;
    harness
        .wait_for("lease", |api| api.get(LEASE).is_some())
        .await;
    harness.kill();
    harness.api.forget(LEASE);
    harness.run();
    harness
        .wait_for("lease made anew", |api| api.get(LEASE).is_some())
        .await;
    assert_eq!(
        node_condition(&harness.api).as_deref(),
        Some("True"),
        "it was Ready all the time"
    );
}
