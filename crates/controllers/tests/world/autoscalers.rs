//! Autoscalers against a real API server: the bounds that hold without any metric, and what is said
//! when there is none.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::server::Server;
use super::{Controllers, eventually};

impl Server {
    pub(super) fn autoscalers(&self) -> Api<HorizontalPodAutoscaler> {
        Api::namespaced(self.admin.clone(), "default")
    }

    /// Reason of a condition of the autoscaler, and its status.
    async fn scaler_says(&self, kind: &str) -> Option<(String, String)> {
        let conditions = self.autoscalers().get("h").await.ok()?.status?.conditions?;
        let found = conditions.into_iter().find(|one| one.type_ == kind)?;
        Some((found.reason?, found.status))
    }

    pub(super) async fn scaler_comes_to_say(&self, kind: &str, reason: &str, status: &str) {
        let wanted = Some((reason.to_owned(), status.to_owned()));
        eventually(&format!("{kind} {reason} {status}"), async || {
            (self.scaler_says(kind).await == wanted).then_some(())
        })
        .await;
    }
}

fn deployment(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "x"}]},
        }},
    })
}

#[tokio::test]
async fn bounds_hold_and_what_is_missing_is_said() {
    let server = Server::start().await;
    let _controllers = Controllers::start(
        &server,
        "one",
        &["--horizontal-pod-autoscaler-sync-period", "50ms"],
    );
    let autoscaler = json!({
        "metadata": {"name": "h"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2, "maxReplicas": 3,
        },
    });
    let (autoscaler, post) = (
        serde_json::from_value(autoscaler).unwrap(),
        PostParams::default(),
    );
    eventually("make an autoscaler", async || {
        server.autoscalers().create(&post, &autoscaler).await.ok()
    })
    .await;
    server
        .scaler_comes_to_say("AbleToScale", "FailedGetScale", "False")
        .await;

    let deployments: Api<Deployment> = Api::namespaced(server.admin.clone(), "default");
    let web = serde_json::from_value(deployment(5)).unwrap();
    deployments.create(&post, &web).await.unwrap();
    let replicas = async || deployments.get("web").await.ok()?.spec?.replicas;
    eventually("no more than three", async || {
        (replicas().await == Some(3)).then_some(())
    })
    .await;
    let event = server.event("SuccessfulRescale", "h").await;
    let message = "New size: 3; reason: Current number of replicas above Spec.MaxReplicas";
    assert_eq!(event.message.as_deref(), Some(message));

    // Within the bounds it asks what pods take; no node is there to tell.
    server
        .scaler_comes_to_say("ScalingActive", "FailedGetResourceMetric", "False")
        .await;
    let patch = Patch::Merge(json!({"spec": {"replicas": 1}}));
    let params = PatchParams::default();
    deployments.patch("web", &params, &patch).await.unwrap();
    eventually("no fewer than two", async || {
        (replicas().await == Some(2)).then_some(())
    })
    .await;
    let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
    deployments.patch("web", &params, &patch).await.unwrap();
    server
        .scaler_comes_to_say("ScalingActive", "ScalingDisabled", "False")
        .await;
    assert_eq!(
        replicas().await,
        Some(0),
        "nothing is scaled that is switched off"
    );
}
