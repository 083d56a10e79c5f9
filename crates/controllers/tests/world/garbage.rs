//! Owners and dependents at a real API server.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, PostParams, PropagationPolicy,
};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::server::Server;
use crate::{Controllers, eventually};

impl Server {
    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.admin.clone(), "default")
    }

    /// Makes a ConfigMap that is owned by those others.
    async fn add_map(&self, name: &str, owners: &[&ConfigMap]) -> ConfigMap {
        let owners: Vec<Value> = owners.iter().map(|owner| reference(owner)).collect();
        let map = json!({"metadata": {"name": name, "ownerReferences": owners}});
        let map = serde_json::from_value(map).unwrap();
        eventually(&format!("make {name}"), async || {
            self.maps().create(&PostParams::default(), &map).await.ok()
        })
        .await
    }

    async fn delete_map(&self, name: &str, policy: PropagationPolicy) {
        let params = DeleteParams {
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        self.maps().delete(name, &params).await.unwrap();
    }

    /// Waits until these are the ConfigMaps that are left, apart from the cluster's own.
    async fn left_are(&self, expected: &[&str]) {
        eventually(&format!("{expected:?} are left"), async || {
            let all = self.maps().list(&ListParams::default()).await.ok()?;
            let names: Vec<_> = all.iter().map(ResourceExt::name_any).collect();
            let ours: Vec<_> = names.iter().filter(|n| *n != "kube-root-ca.crt").collect();
            (ours == expected).then_some(())
        })
        .await;
    }
}

fn reference(owner: &ConfigMap) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid(),
        "controller": false, "blockOwnerDeletion": true,
    })
}

#[tokio::test]
async fn dependents_follow_an_owner_that_is_gone_and_only_those_of_no_other() {
    let server = Server::start().await;
    let a = server.add_map("a", &[]).await;
    let b = server.add_map("b", &[]).await;
    let child = server.add_map("child", &[&a]).await;
    server.add_map("grandchild", &[&child]).await;
    server.add_map("of-both", &[&a, &b]).await;
    let _controllers = Controllers::start(&server, "me", &[]);
    server.delete_map("a", PropagationPolicy::Background).await;
    server.left_are(&["b", "of-both"]).await;
    eventually("of-both forgets a", async || {
        let owners = server.maps().get("of-both").await.ok()?;
        let owners = owners.metadata.owner_references?;
        (owners.len() == 1 && owners[0].name == "b" && owners[0].controller == Some(false))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_owner_that_never_was_is_no_owner() {
    let server = Server::start().await;
    let _controllers = Controllers::start(&server, "me", &[]);
    let mut lost = server.add_map("keeper", &[]).await;
    server.add_map("kept", &[&lost]).await;
    lost.metadata.uid = Some("a-uid-of-nobody".into());
    server.add_map("lost", &[&lost]).await;
    server.left_are(&["keeper", "kept"]).await;
}

#[tokio::test]
async fn in_the_foreground_an_owner_goes_last() {
    let server = Server::start().await;
    let a = server.add_map("a", &[]).await;
    let child = server.add_map("child", &[&a]).await;
    server.add_map("grandchild", &[&child]).await;
    server.delete_map("a", PropagationPolicy::Foreground).await;
    let waiting = server.maps().get("a").await.unwrap();
    assert!(waiting.metadata.deletion_timestamp.is_some());
    assert_eq!(waiting.finalizers(), ["foregroundDeletion"]);
    let _controllers = Controllers::start(&server, "me", &[]);
    server.left_are(&[]).await;
}

#[tokio::test]
async fn orphans_stay_without_their_owner() {
    let server = Server::start().await;
    let a = server.add_map("a", &[]).await;
    let b = server.add_map("b", &[]).await;
    server.add_map("child", &[&a, &b]).await;
    server.delete_map("a", PropagationPolicy::Orphan).await;
    let _controllers = Controllers::start(&server, "me", &[]);
    server.left_are(&["b", "child"]).await;
    let child = server.maps().get("child").await.unwrap();
    let owners: Vec<_> = child.owner_references().iter().map(|o| &o.name).collect();
    assert_eq!(owners, ["b"]);
}

/// Objects of a kind that the API server knows by its name.
fn objects(server: &Server, group: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(group, "v1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    Api::all_with(server.admin.clone(), &resource)
}

#[tokio::test]
async fn kinds_that_are_made_meanwhile_are_collected_too() {
    let server = Server::start().await;
    server.add_map("before", &[]).await;
    let _controllers = Controllers::start(&server, "me", &[]);
    let group = "apiextensions.k8s.io";
    let definitions = objects(
        &server,
        group,
        "CustomResourceDefinition",
        "customresourcedefinitions",
    );
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let definition = json!({
        "metadata": {"name": "mills.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster",
            "names": {"plural": "mills", "kind": "Mill"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    });
    let definition = serde_json::from_value(definition).unwrap();
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    let mills = objects(&server, "example.com", "Mill", "mills");
    let mill = eventually("make the mill", async || {
        let mill = serde_json::from_value(json!({"metadata": {"name": "mill"}})).unwrap();
        mills.create(&PostParams::default(), &mill).await.ok()
    })
    .await;
    let owner = json!({
        "apiVersion": "example.com/v1", "kind": "Mill", "name": "mill", "uid": mill.uid(),
    });
    let flour = json!({"metadata": {"name": "flour", "ownerReferences": [owner]}});
    let flour = serde_json::from_value(flour).unwrap();
    server
        .maps()
        .create(&PostParams::default(), &flour)
        .await
        .unwrap();
    mills
        .delete("mill", &DeleteParams::default())
        .await
        .unwrap();
    server.left_are(&["before"]).await;
}
