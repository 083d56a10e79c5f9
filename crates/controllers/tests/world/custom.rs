//! Custom kinds with a scale: autoscalers scale them, and budgets count by them.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::server::Server;
use super::{Controllers, eventually};

fn of<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn definition() -> CustomResourceDefinition {
    let number = || json!({"type": "integer"});
    let structure = |properties: Value| json!({"type": "object", "properties": properties});
    of(json!({
        "metadata": {"name": "mills.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Mill", "plural": "mills"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": structure(json!({
                    "spec": structure(json!({"stones": number()})),
                    "status": structure(json!({"stones": number(), "selector": {"type": "string"}})),
                }))},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.stones", "statusReplicasPath": ".status.stones",
                    "labelSelectorPath": ".status.selector",
                }},
            }],
        },
    }))
}

impl Server {
    fn mills(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("example.com", "v1", "Mill");
        let resource = ApiResource::from_gvk_with_plural(&kind, "mills");
        Api::namespaced_with(self.admin.clone(), "default", &resource)
    }

    /// A mill with this many stones, which selects its pods.
    async fn build_mill(&self, stones: i32) -> DynamicObject {
        let definitions = Api::<CustomResourceDefinition>::all(self.admin.clone());
        let post = PostParams::default();
        eventually("define mills", async || {
            definitions.create(&post, &definition()).await.ok()
        })
        .await;
        let mill = of(json!({
            "apiVersion": "example.com/v1", "kind": "Mill",
            "metadata": {"name": "m"}, "spec": {"stones": stones},
        }));
        let mill = eventually("build a mill", async || {
            self.mills().create(&post, &mill).await.ok()
        })
        .await;
        let status = json!({"status": {"stones": stones, "selector": "app=mill"}});
        let params = PatchParams::default();
        let mills = self.mills();
        mills
            .patch_status("m", &params, &Patch::Merge(status))
            .await
            .unwrap();
        mill
    }

    /// A ready pod that the mill keeps.
    async fn add_stone(&self, mill: &DynamicObject, name: &str) {
        let owner = json!({"apiVersion": "example.com/v1", "kind": "Mill", "name": "m",
                           "uid": mill.uid(), "controller": true});
        let pod: Pod = of(json!({
            "metadata": {"name": name, "labels": {"app": "mill"}, "ownerReferences": [owner]},
            "spec": {"containers": [{"name": "c", "image": "x"}]},
        }));
        let pods = self.pods();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        let ready = json!({"type": "Ready", "status": "True"});
        let status = json!({"status": {"phase": "Running", "conditions": [ready]}});
        pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(status))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_autoscaler_scales_a_custom_kind() {
    let server = Server::start().await;
    let pause = ["--horizontal-pod-autoscaler-sync-period", "50ms"];
    let _controllers = Controllers::start(&server, "one", &pause);
    server.build_mill(5).await;
    let autoscaler = of(json!({
        "metadata": {"name": "h"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "example.com/v1", "kind": "Mill", "name": "m"},
            "minReplicas": 2, "maxReplicas": 3,
        },
    }));
    let post = PostParams::default();
    server
        .autoscalers()
        .create(&post, &autoscaler)
        .await
        .unwrap();
    let comes_to = async |wanted: i64| {
        eventually(&format!("{wanted} stones"), async || {
            let stones = server.mills().get("m").await.ok()?.data["spec"]["stones"].as_i64();
            (stones == Some(wanted)).then_some(())
        })
        .await;
    };
    comes_to(3).await;
    let event = server.event("SuccessfulRescale", "h").await;
    let message = "New size: 3; reason: Current number of replicas above Spec.MaxReplicas";
    assert_eq!(event.message.as_deref(), Some(message));
    // Its selector was found: what is missing is somebody who knows what pods take.
    server
        .scaler_comes_to_say("ScalingActive", "FailedGetResourceMetric", "False")
        .await;
    let fewer = Patch::Merge(json!({"spec": {"stones": 1}}));
    let params = PatchParams::default();
    server.mills().patch("m", &params, &fewer).await.unwrap();
    comes_to(2).await;
}

#[tokio::test]
async fn budgets_count_by_the_scale_of_a_custom_kind() {
    let server = Server::start().await;
    let _controllers = Controllers::start(&server, "one", &[]);
    let mill = server.build_mill(4).await;
    for name in ["a", "b", "c"] {
        server.add_stone(&mill, name).await;
    }
    let budgets = Api::<PodDisruptionBudget>::namespaced(server.admin.clone(), "default");
    let budget = of(json!({
        "metadata": {"name": "keep"},
        "spec": {"maxUnavailable": "50%", "selector": {"matchLabels": {"app": "mill"}}},
    }));
    let post = PostParams::default();
    budgets.create(&post, &budget).await.unwrap();
    let comes_to = async |wanted: [i32; 4]| {
        eventually(&format!("a count of {wanted:?}"), async || {
            let status = budgets.get("keep").await.ok()?.status?;
            let counted = [
                status.expected_pods,
                status.desired_healthy,
                status.current_healthy,
                status.disruptions_allowed,
            ];
            (counted == wanted.map(Some)).then_some(())
        })
        .await;
    };
    comes_to([4, 2, 3, 1]).await;
    // What it wants now is asked for at the next change of its pods.
    let more = Patch::Merge(json!({"spec": {"stones": 8}}));
    let params = PatchParams::default();
    server.mills().patch("m", &params, &more).await.unwrap();
    server.add_stone(&mill, "d").await;
    comes_to([8, 4, 4, 0]).await;
}
