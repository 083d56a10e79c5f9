//! Pods of higher priority push others aside, against a real API server.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::server::Server;
use super::{Controllers, eventually};

impl Server {
    /// A node that is full with one pod.
    async fn add_small_node(&self) {
        self.add_node("node-1", "True").await;
        let status = json!({"status": {"allocatable": {"cpu": "1", "pods": "10"}}});
        let params = PatchParams::default();
        self.nodes()
            .patch_status("node-1", &params, &Patch::Merge(status))
            .await
            .unwrap();
    }

    async fn add_class(&self, name: &str, policy: &str) {
        let class = json!({"metadata": {"name": name}, "value": 1000, "preemptionPolicy": policy});
        let class: PriorityClass = serde_json::from_value(class).unwrap();
        let classes = Api::<PriorityClass>::all(self.admin.clone());
        classes
            .create(&PostParams::default(), &class)
            .await
            .unwrap();
    }

    async fn add_filling_pod(&self, name: &str, class: Option<&str>) {
        let resources = json!({"requests": {"cpu": "1"}});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "priorityClassName": class,
                "containers": [{"name": "c", "image": "x", "resources": resources}],
            },
        }))
        .unwrap();
        let pods = self.pods();
        pods.create(&PostParams::default(), &pod).await.unwrap();
    }

    async fn status_of(&self, pod: &str) -> Option<PodStatus> {
        self.pods().get(pod).await.ok()?.status
    }

    /// Waits until the pod says this of why it has no node.
    async fn pod_comes_to_say(&self, pod: &str, end: &str) {
        eventually(&format!("{pod} says {end:?}"), async || {
            let conditions = self.status_of(pod).await?.conditions?;
            let mut said = conditions.iter().filter_map(|one| one.message.as_ref());
            said.any(|said| said.ends_with(end)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_pod_of_higher_priority_gets_the_room_of_another() {
    let server = Server::start().await;
    let _controllers = Controllers::start(&server, "me", &[]);
    server.add_small_node().await;
    server.add_class("high", "PreemptLowerPriority").await;
    server.add_class("meek", "Never").await;
    server.add_filling_pod("low", None).await;
    server.node_of("low").await;

    server.add_filling_pod("meek", Some("meek")).await;
    let why = "preemption: not eligible due to preemptionPolicy=Never.";
    server.pod_comes_to_say("meek", why).await;
    let low = server.pods().get("low").await.unwrap();
    assert_eq!(low.metadata.deletion_timestamp, None);
    let forced = DeleteParams::default().grace_period(0);
    server.pods().delete("meek", &forced).await.unwrap();

    server.add_filling_pod("high", Some("high")).await;
    eventually("low is to go", async || {
        server
            .pods()
            .get("low")
            .await
            .ok()?
            .metadata
            .deletion_timestamp
    })
    .await;
    let target = eventually("low says why", async || {
        let conditions = server.status_of("low").await?.conditions?;
        conditions
            .into_iter()
            .find(|one| one.type_ == "DisruptionTarget")
    })
    .await;
    assert_eq!(target.reason.as_deref(), Some("PreemptionByScheduler"));
    eventually("high is nominated", async || {
        let node = server.status_of("high").await?.nominated_node_name?;
        (node == "node-1").then_some(())
    })
    .await;
    let high = serde_json::to_value(server.pods().get("high").await.unwrap()).unwrap();
    let event = server.event("Preempted", "low").await;
    let uid = high["metadata"]["uid"].as_str().unwrap();
    let message = format!("Preempted by pod {uid} on node node-1");
    assert_eq!(event.message, Some(message));
    assert_eq!(high["spec"]["nodeName"], Value::Null, "low is still there");

    server.pods().delete("low", &forced).await.unwrap();
    assert_eq!(server.node_of("high").await, "node-1");
}
