//! What becomes of a node that falls silent, and of its pods.

use k8s_openapi::api::core::v1::{Pod, Taint};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::server::Server;
use super::{Controllers, eventually};

impl Server {
    /// A pod of a node, as the node itself has reported it: running and ready.
    async fn add_ready_pod(&self, name: &str, node: &str, tolerations: Value) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"nodeName": node, "tolerations": tolerations, "terminationGracePeriodSeconds": 1,
                     "containers": [{"name": "c", "image": "sealane.io/echo"}]},
        }))
        .unwrap();
        let pods = self.pods();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        let status = json!({"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": now},
        ]}});
        pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(status))
            .await
            .unwrap();
    }

    async fn condition(&self, pod: &str, kind: &str) -> Option<(String, Option<String>)> {
        let conditions = self.pods().get(pod).await.ok()?.status?.conditions?;
        let found = conditions.into_iter().find(|c| c.type_ == kind)?;
        Some((found.status, found.reason))
    }

    async fn is_leaving(&self, pod: &str) -> bool {
        let pod = self.pods().get(pod).await;
        pod.is_ok_and(|pod| pod.metadata.deletion_timestamp.is_some())
    }

    async fn taints(&self, node: &str) -> Vec<Taint> {
        let node = self.nodes().get(node).await.unwrap();
        node.spec.and_then(|spec| spec.taints).unwrap_or_default()
    }

    /// Waits until a node has these taints, `KEY:EFFECT`, without the domain.
    async fn tainted(&self, node: &str, expected: &[&str]) {
        eventually(&format!("{node} has taints {expected:?}"), async || {
            let word = |t: &Taint| format!("{}:{}", t.key, t.effect);
            let words = self.taints(node).await;
            let mut words: Vec<_> = words.iter().map(word).collect();
            words.sort();
            let words = words.join(" ").replace("node.kubernetes.io/", "");
            (words == expected.join(" ")).then_some(())
        })
        .await;
    }
}

fn for_seconds(seconds: Option<i64>) -> Value {
    json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": seconds}])
}

#[tokio::test]
async fn pods_of_a_silent_node_are_not_ready_and_leave_when_their_time_is_over() {
    let server = Server::start().await;
    server.add_node("node-1", "True").await;
    server.add_node("node-2", "True").await;
    server
        .add_ready_pod("at-once", "node-1", for_seconds(Some(0)))
        .await;
    server
        .add_ready_pod("soon", "node-1", for_seconds(Some(1)))
        .await;
    server
        .add_ready_pod("never", "node-1", for_seconds(None))
        .await;
    server.add_ready_pod("elsewhere", "node-2", json!([])).await;
    let flags = ["--node-monitor-grace-period", "1s"];
    let _controllers = Controllers::start(&server, "me", &flags);
    let beat = server.keep_alive("node-2");

    server
        .tainted(
            "node-1",
            &["unreachable:NoExecute", "unreachable:NoSchedule"],
        )
        .await;
    assert!(
        server
            .taints("node-1")
            .await
            .iter()
            .all(|taint| taint.time_added.is_some())
    );
    for pod in ["soon", "never"] {
        eventually(&format!("{pod} is not ready"), async || {
            (server.condition(pod, "Ready").await?.0 == "False").then_some(())
        })
        .await;
    }
    server.event("NodeNotReady", "never").await;
    for pod in ["at-once", "soon"] {
        eventually(&format!("{pod} leaves"), async || {
            server.is_leaving(pod).await.then_some(())
        })
        .await;
        assert_eq!(
            server.condition(pod, "DisruptionTarget").await,
            Some(("True".into(), Some("DeletionByTaintManager".into())))
        );
    }
    let event = server.event("TaintManagerEviction", "soon").await;
    assert_eq!(
        event.message.as_deref(),
        Some("Marking for deletion Pod default/soon")
    );
    assert!(!server.is_leaving("never").await && !server.is_leaving("elsewhere").await);
    assert_eq!(
        server.condition("elsewhere", "Ready").await.unwrap().0,
        "True"
    );

    // Out of service: what is to go goes without the node.
    let taint = json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"});
    let mut taints = json!(server.taints("node-1").await);
    taints.as_array_mut().unwrap().push(taint);
    server.set_taints("node-1", taints).await;
    for pod in ["at-once", "soon", "never"] {
        eventually(&format!("{pod} is gone"), async || {
            server
                .pods()
                .get_opt(pod)
                .await
                .ok()?
                .is_none()
                .then_some(())
        })
        .await;
    }
    server.set_taints("node-1", json!([])).await;
    server
        .tainted(
            "node-1",
            &["unreachable:NoExecute", "unreachable:NoSchedule"],
        )
        .await;
    server.report("node-1", "True").await;
    server.tainted("node-1", &[]).await;
    beat.abort();
}

#[tokio::test]
async fn a_cordon_is_a_taint_and_when_all_nodes_are_silent_no_pod_leaves() {
    let server = Server::start().await;
    server.add_node("node-1", "True").await;
    server
        .add_ready_pod("a", "node-1", for_seconds(Some(0)))
        .await;
    let flags = ["--node-monitor-grace-period", "1s"];
    let _controllers = Controllers::start(&server, "me", &flags);
    let cordon = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    let nodes = server.nodes();
    nodes
        .patch("node-1", &PatchParams::default(), &cordon)
        .await
        .unwrap();
    server
        .tainted(
            "node-1",
            &["unreachable:NoSchedule", "unschedulable:NoSchedule"],
        )
        .await;
    eventually("a is not ready", async || {
        (server.condition("a", "Ready").await?.0 == "False").then_some(())
    })
    .await;
    assert!(!server.is_leaving("a").await);
    server.event("RegisteredNode", "node-1").await;
    nodes
        .delete("node-1", &DeleteParams::default())
        .await
        .unwrap();
    server.event("RemovingNode", "node-1").await;
}
