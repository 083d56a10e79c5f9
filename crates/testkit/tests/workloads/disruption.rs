//! A node is emptied, and a budget says how fast.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use sealane_testkit::history::Deed;
use sealane_testkit::{Cluster, UpOptions};

use crate::{PATIENCE, deployment, words};

/// As long as kubectl may wait: it tries a pod again after five seconds.
const DRAINED: &str = "--timeout=90s";

#[track_caller]
fn kubectl(cluster: &Cluster, line: &str) -> String {
    cluster.kubectl(words(line)).succeeds()
}

fn is_healthy(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|one| one["type"] == "Ready");
    pod["metadata"]["deletionTimestamp"].is_null() && ready.any(|one| one["status"] == "True")
}

#[test]
fn a_node_is_drained_while_the_budget_of_its_pods_holds() {
    let cluster = Cluster::up(UpOptions::default());
    cluster.apply(&deployment("kept", 4)).succeeds();
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "kept"},
        "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "kept"}}},
    });
    cluster.apply(&budget.to_string()).succeeds();
    kubectl(
        &cluster,
        &format!("rollout status deployment/kept {PATIENCE}"),
    );
    let allowed = "--for=jsonpath={.status.disruptionsAllowed}=1";
    kubectl(&cluster, &format!("wait {allowed} pdb/kept {PATIENCE}"));
    let line = kubectl(&cluster, "get pdb kept --no-headers");
    let shown: Vec<&str> = line.split_whitespace().take(4).collect();
    assert_eq!(shown, ["kept", "3", "N/A", "1"]);

    let pods = "/api/v1/namespaces/default/pods";
    let history = cluster.api().history(pods);
    let drained = kubectl(
        &cluster,
        &format!("drain node-2 --ignore-daemonsets {DRAINED}"),
    );
    assert!(drained.contains("node/node-2 drained"), "{drained}");
    let nodes = kubectl(&cluster, "get node node-2");
    assert!(nodes.contains("SchedulingDisabled"), "{nodes}");
    kubectl(
        &cluster,
        &format!("rollout status deployment/kept {PATIENCE}"),
    );
    let there = cluster.api().get(pods).unwrap();
    let there = there["items"].as_array().unwrap();
    let gone = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    let nodes: Vec<_> = there
        .iter()
        .filter(gone)
        .map(|pod| &pod["spec"]["nodeName"])
        .collect();
    assert_eq!(nodes, ["node-1"; 4]);

    // At no version were there fewer than the budget wants.
    let (mut healthy, mut evicted) = (BTreeMap::new(), 0);
    for change in history.changes() {
        let name = change.object["metadata"]["name"].to_string();
        let is = change.deed != Deed::Deleted && is_healthy(&change.object);
        let was = healthy.insert(name, is);
        evicted += usize::from(was == Some(true) && !is);
        let count = healthy.values().filter(|healthy| **healthy).count();
        let all_are_known = healthy.len() >= 4;
        assert!(
            count >= 3 || !all_are_known,
            "{count} at version {}",
            change.version
        );
    }
    assert_eq!(evicted, 2, "pods were spread over both nodes");

    // A budget that has nothing to spend refuses, and says why.
    let budget = json!({"spec": {"minAvailable": 4}}).to_string();
    cluster
        .kubectl(["patch", "pdb", "kept", "--type=merge", "--patch", &budget])
        .succeeds();
    let allowed = "--for=jsonpath={.status.disruptionsAllowed}=0";
    kubectl(&cluster, &format!("wait {allowed} pdb/kept {PATIENCE}"));
    let refused = cluster
        .kubectl(words("drain node-1 --ignore-daemonsets --timeout=1s"))
        .fails();
    let why = "Cannot evict pod as it would violate the pod's disruption budget.";
    assert!(refused.contains(why), "{refused}");
    for node in ["node-1", "node-2"] {
        kubectl(&cluster, &format!("uncordon {node}"));
    }
    cluster.down();
}
