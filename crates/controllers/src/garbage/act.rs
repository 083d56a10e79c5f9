//! The collector's requests, carried out. No decision is taken here.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, PartialObjectMeta, Patch, PatchParams, Preconditions,
    PropagationPolicy,
};
use kube::core::DynamicResourceScope;
use kube::{Api, Client, Error, Resource};
use sealane_kube::events::{Recorder, Severity};
use sealane_kube::{Backoff, explain, is_conflict, is_not_found, is_unreachable};
use serde_json::json;

use super::action::{Action, Outcome, Policy};
use super::kinds::{KindId, Kinds};
use super::object::{Identity, Owner};

/// The hand that carries out what the collector decides.
#[derive(Clone)]
pub struct Actor {
    client: Client,
    events: Recorder,
    kinds: Arc<Kinds>,
    resources: Arc<[ApiResource]>,
}

impl Actor {
    /// `resources` stand in the order of `kinds`.
    pub fn new(
        client: Client,
        events: Recorder,
        kinds: Kinds,
        resources: Vec<ApiResource>,
    ) -> Self {
        Self {
            client,
            events,
            kinds: Arc::new(kinds),
            resources: resources.into(),
        }
    }

    /// Carries one action out, for as long as it takes.
    pub async fn perform(&self, action: &Action) -> Outcome {
        let mut backoff = Backoff::reconnect();
        loop {
            match self.try_once(action).await {
                Err(error) if is_unreachable(&error) => {
                    let what = action.show(&self.kinds);
                    tracing::debug!("{what}: {}; trying again", explain(&error));
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                result => return self.outcome(action, result),
            }
        }
    }

    async fn try_once(&self, action: &Action) -> Result<bool, Error> {
        match action {
            Action::Look(owner) => self.look(owner).await,
            Action::Delete {
                object,
                version,
                policy,
            } => self.delete(object, version, *policy).await,
            Action::SetOwners {
                object,
                version,
                owners,
            } => {
                let owners: Vec<_> = owners.iter().map(Owner::reference).collect();
                let change = json!({"ownerReferences": owners});
                self.patch(object, version, change).await
            }
            Action::SetFinalizers {
                object,
                version,
                finalizers,
            } => {
                let change = json!({"finalizers": finalizers});
                self.patch(object, version, change).await
            }
            Action::TellWrongNamespace { object, owner } => {
                self.tell_wrong_namespace(object, owner);
                Ok(true)
            }
        }
    }

    /// Whether this very object exists.
    async fn look(&self, owner: &Identity) -> Result<bool, Error> {
        let api: Api<PartialObjectMeta<DynamicObject>> = self.api(owner);
        let found = api.get_opt(&owner.name).await?;
        Ok(found.is_some_and(|found| found.metadata.uid.as_deref() == Some(&owner.uid)))
    }

    async fn delete(
        &self,
        object: &Identity,
        version: &str,
        policy: Policy,
    ) -> Result<bool, Error> {
        let params = DeleteParams {
            propagation_policy: Some(match policy {
                Policy::Background => PropagationPolicy::Background,
                Policy::Foreground => PropagationPolicy::Foreground,
                Policy::Orphan => PropagationPolicy::Orphan,
            }),
            preconditions: Some(Preconditions {
                uid: Some(object.uid.to_string()),
                resource_version: Some(version.to_owned()),
            }),
            ..DeleteParams::default()
        };
        // A deletion is answered by the whole object, or by a Status.
        let api: Api<DynamicObject> = self.api(object);
        api.delete(&object.name, &params).await.map(|_| true)
    }

    async fn patch(
        &self,
        object: &Identity,
        version: &str,
        mut metadata: serde_json::Value,
    ) -> Result<bool, Error> {
        metadata["uid"] = json!(&*object.uid);
        metadata["resourceVersion"] = json!(version);
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let params = PatchParams::default();
        let api: Api<PartialObjectMeta<DynamicObject>> = self.api(object);
        api.patch(&object.name, &params, &patch).await.map(|_| true)
    }

    fn tell_wrong_namespace(&self, object: &Identity, owner: &Owner) {
        let resource = self.resource(object.kind);
        let target = &owner.target;
        let about = ObjectReference {
            api_version: Some(resource.api_version.clone()),
            kind: Some(resource.kind.clone()),
            namespace: Some(object.namespace.to_string()).filter(|name| !name.is_empty()),
            name: Some(object.name.to_string()),
            uid: Some(object.uid.to_string()),
            ..ObjectReference::default()
        };
        // Kubernetes' words.
        let message = format!(
            "ownerRef [{}/{}, namespace: {namespace}, name: {}, uid: {}] does not exist in namespace {namespace:?}",
            target.api_version,
            target.kind,
            target.name,
            target.uid,
            namespace = object.namespace,
        );
        self.events.record(
            &about,
            Severity::Warning,
            "OwnerRefInvalidNamespace",
            message,
        );
    }

    fn outcome(&self, action: &Action, result: Result<bool, Error>) -> Outcome {
        let what = action.show(&self.kinds);
        match result {
            Ok(true) => Outcome::Done,
            Ok(false) => Outcome::Gone,
            Err(error) if is_not_found(&error) => Outcome::Gone,
            Err(error) if is_conflict(&error) => {
                tracing::debug!("{what}: {}", explain(&error));
                Outcome::Outdated
            }
            Err(error) => {
                tracing::error!("{what}: {}", explain(&error));
                Outcome::Refused(explain(&error).to_string())
            }
        }
    }

    fn api<K: Resource<Scope = DynamicResourceScope, DynamicType = ApiResource>>(
        &self,
        object: &Identity,
    ) -> Api<K> {
        let resource = self.resource(object.kind);
        let client = self.client.clone();
        if object.namespace.is_empty() {
            Api::all_with(client, resource)
        } else {
            Api::namespaced_with(client, &object.namespace, resource)
        }
    }

    fn resource(&self, kind: KindId) -> &ApiResource {
        &self.resources[kind.index()]
    }
}
