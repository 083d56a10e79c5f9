//! The controllers against a real API server: what they do, and how they come back.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod autoscalers;
mod custom;
mod garbage;
mod nodes;
mod preemption;
mod server;

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use server::{Server, flags};

/// Far more than anything takes here, and less than the Lease's duration: whoever waited for that would fail.
const DEADLINE: Duration = Duration::from_secs(10);

/// A running `sealane controllers`.
struct Controllers {
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Controllers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Controllers {
    fn start(server: &Server, identity: &str, further: &[&str]) -> Self {
        let kubeconfig = server.kubeconfig();
        let mut line = vec!["--kubeconfig", &kubeconfig, "--identity", identity];
        line.extend(further);
        let shutdown = CancellationToken::new();
        let options = flags(&line);
        let task = tokio::spawn(sealane_controllers::run(options, shutdown.clone()));
        Self { shutdown, task }
    }

    /// As by SIGKILL: nothing is given back.
    fn kill(self) {
        drop(self);
    }

    /// As by SIGTERM.
    async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

impl Server {
    fn nodes(&self) -> Api<Node> {
        Api::all(self.admin.clone())
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.admin.clone(), "default")
    }

    async fn add_node(&self, name: &str, ready: &str) {
        let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
        let node = serde_json::from_value(node).unwrap();
        // The first request of a test: the server may not listen yet.
        eventually(&format!("make node {name}"), async || {
            self.nodes()
                .create(&PostParams::default(), &node)
                .await
                .ok()
        })
        .await;
        self.report(name, ready).await;
    }

    /// What a node says of itself.
    async fn report(&self, node: &str, ready: &str) {
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        let condition = json!({"type": "Ready", "status": ready, "reason": "Test",
                               "lastHeartbeatTime": now, "lastTransitionTime": now});
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        let nodes = self.nodes();
        nodes
            .patch_status(node, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Renews a node's Lease until the task is stopped.
    fn keep_alive(&self, node: &str) -> JoinHandle<()> {
        let leases: Api<Lease> = Api::namespaced(self.admin.clone(), "kube-node-lease");
        let node = node.to_owned();
        tokio::spawn(async move {
            loop {
                let now = k8s_openapi::jiff::Timestamp::now();
                let now = json!(k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(
                    now
                ));
                let spec = json!({"holderIdentity": node, "renewTime": now});
                let patch = Patch::Merge(json!({"spec": spec}));
                let renewed = leases.patch(&node, &PatchParams::default(), &patch).await;
                if renewed.is_err() {
                    let lease = json!({"metadata": {"name": node}, "spec": spec});
                    let lease = serde_json::from_value(lease).unwrap();
                    let _there = leases.create(&PostParams::default(), &lease).await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    }

    async fn set_taints(&self, node: &str, taints: serde_json::Value) {
        let patch = Patch::Merge(json!({"spec": {"taints": taints}}));
        let nodes = self.nodes();
        nodes
            .patch(node, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn add_pod(&self, name: &str, selector: serde_json::Value) {
        let pod = json!({
            "metadata": {"name": name},
            "spec": {"nodeSelector": selector, "containers": [{"name": "c", "image": "sealane.io/echo"}]},
        });
        let pod = serde_json::from_value(pod).unwrap();
        self.pods()
            .create(&PostParams::default(), &pod)
            .await
            .unwrap();
    }

    async fn node_of(&self, pod: &str) -> String {
        eventually(&format!("pod {pod} has a node"), async || {
            self.pods().get(pod).await.ok()?.spec?.node_name
        })
        .await
    }

    async fn subnets_of(&self, node: &str) -> Vec<String> {
        eventually(&format!("node {node} has a subnet"), async || {
            self.nodes().get(node).await.ok()?.spec?.pod_cidrs
        })
        .await
    }

    async fn ready(&self, node: &str) -> Option<(String, String)> {
        let conditions = self.nodes().get(node).await.ok()?.status?.conditions?;
        let ready = conditions.into_iter().find(|c| c.type_ == "Ready")?;
        Some((ready.status, ready.reason.unwrap_or_default()))
    }

    async fn event(&self, reason: &str, about: &str) -> Event {
        let events: Api<Event> = Api::namespaced(self.admin.clone(), "default");
        eventually(&format!("event {reason} of {about}"), async || {
            let all = events.list(&ListParams::default()).await.ok()?;
            all.into_iter().find(|event| {
                event.reason.as_deref() == Some(reason)
                    && event.involved_object.name.as_deref() == Some(about)
            })
        })
        .await
    }

    async fn holder(&self) -> Option<String> {
        let leases: Api<Lease> = Api::namespaced(self.admin.clone(), "kube-system");
        leases
            .get("sealane-controllers")
            .await
            .ok()?
            .spec?
            .holder_identity
    }
}

/// Asks until there is an answer.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

const RANGE: &[&str] = &["--cluster-cidr", "10.244.0.0/16,fd00:10:244::/56"];

#[tokio::test]
async fn nodes_get_subnets_and_pods_get_nodes() {
    let server = Server::start().await;
    let _controllers = Controllers::start(&server, "me", RANGE);
    server.add_node("node-1", "True").await;
    server.add_node("node-2", "True").await;
    assert_eq!(
        server.subnets_of("node-2").await,
        ["10.244.2.0/24", "fd00:10:244:2::/64"]
    );
    assert_eq!(
        server.subnets_of("node-1").await,
        ["10.244.1.0/24", "fd00:10:244:1::/64"]
    );

    for pod in ["a", "b", "c", "d"] {
        server.add_pod(pod, json!({})).await;
    }
    let mut nodes = Vec::new();
    for pod in ["a", "b", "c", "d"] {
        nodes.push(server.node_of(pod).await);
    }
    nodes.sort();
    assert_eq!(nodes, ["node-1", "node-1", "node-2", "node-2"]);
    let scheduled = server.event("Scheduled", "a").await;
    assert!(
        scheduled
            .message
            .unwrap()
            .starts_with("Successfully assigned default/a to node-")
    );
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_says_why_until_it_fits() {
    let server = Server::start().await;
    let _controllers = Controllers::start(&server, "me", RANGE);
    server.add_node("node-1", "True").await;
    server.add_node("node-2", "False").await;
    server
        .add_pod("a", json!({"kubernetes.io/hostname": "node-2"}))
        .await;

    let why = "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
               1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }. \
               preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";
    let condition = eventually("the pod says why", async || {
        let conditions = server.pods().get("a").await.ok()?.status?.conditions?;
        let why_now = |c: &&_| -> bool {
            let c: &k8s_openapi::api::core::v1::PodCondition = c;
            c.type_ == "PodScheduled" && c.message.as_deref() == Some(why)
        };
        conditions.iter().find(why_now).cloned()
    })
    .await;
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_deref()),
        ("False", Some("Unschedulable"))
    );
    let event = server.event("FailedScheduling", "a").await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));

    server.report("node-2", "True").await;
    assert_eq!(server.node_of("a").await, "node-2");
}

#[tokio::test]
async fn a_node_without_a_subnet_is_told_and_gets_the_first_that_is_free() {
    let server = Server::start().await;
    let _controllers = Controllers::start(&server, "me", &["--cluster-cidr", "10.9.0.0/24"]);
    server.add_node("node-1", "True").await;
    assert_eq!(server.subnets_of("node-1").await, ["10.9.0.0/24"]);
    server.add_node("node-2", "True").await;
    let event = server.event("CIDRNotAvailable", "node-2").await;
    assert!(
        event
            .message
            .unwrap()
            .contains("cluster range 10.9.0.0/24 is used up")
    );
    server
        .nodes()
        .delete("node-1", &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(server.subnets_of("node-2").await, ["10.9.0.0/24"]);
}

#[tokio::test]
async fn a_node_that_falls_silent_is_marked_and_comes_back_by_its_own_word() {
    let server = Server::start().await;
    let _controllers = Controllers::start(&server, "me", &["--node-monitor-grace-period", "1"]);
    server.add_node("node-1", "True").await;
    let reason = eventually("node-1 is unknown", async || {
        let (status, reason) = server.ready("node-1").await?;
        (status == "Unknown").then_some(reason)
    })
    .await;
    assert_eq!(reason, "NodeStatusUnknown");
    server.event("NodeNotReady", "node-1").await;
    server.add_pod("a", json!({})).await;
    server.event("FailedScheduling", "a").await;
    server.report("node-1", "True").await;
    assert_eq!(server.node_of("a").await, "node-1");
}

#[tokio::test]
async fn a_killed_process_is_replaced_at_once_by_one_of_the_same_identity() {
    let server = Server::start().await;
    let first = Controllers::start(&server, "me", RANGE);
    server.add_node("node-1", "True").await;
    server.subnets_of("node-1").await;
    first.kill();
    server.add_pod("a", json!({})).await;
    let _second = Controllers::start(&server, "me", RANGE);
    assert_eq!(server.node_of("a").await, "node-1");
    assert_eq!(
        server.subnets_of("node-1").await,
        ["10.244.1.0/24", "fd00:10:244:1::/64"]
    );
}

#[tokio::test]
async fn another_process_stands_by_and_takes_over_when_the_first_ends() {
    let server = Server::start().await;
    let first = Controllers::start(&server, "first", RANGE);
    server.add_node("node-1", "True").await;
    server.subnets_of("node-1").await;
    let _second = Controllers::start(&server, "second", RANGE);
    assert_eq!(server.holder().await.as_deref(), Some("first"));
    first.stop().await;
    eventually("the second leads", async || {
        (server.holder().await.as_deref() == Some("second")).then_some(())
    })
    .await;
    server.add_pod("a", json!({})).await;
    assert_eq!(server.node_of("a").await, "node-1");
}

#[tokio::test]
async fn an_api_server_that_restarts_is_found_again() {
    let mut server = Server::start().await;
    let _controllers = Controllers::start(&server, "me", RANGE);
    server.add_node("node-1", "True").await;
    server.subnets_of("node-1").await;
    server.stop().await;
    server.start_again();
    server.add_node("node-2", "True").await;
    assert_eq!(
        server.subnets_of("node-2").await,
        ["10.244.2.0/24", "fd00:10:244:2::/64"]
    );
    server
        .add_pod("a", json!({"kubernetes.io/hostname": "node-2"}))
        .await;
    assert_eq!(server.node_of("a").await, "node-2");
    assert_eq!(
        server.nodes().get("node-1").await.unwrap().name_any(),
        "node-1"
    );
}
