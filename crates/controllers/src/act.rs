//! Actions carried out at the API server. No decision is taken here.
//!
//! Every request carries the object's uid or version as a precondition, so
//! that repeating one whose answer was lost does no harm. A server that does
//! not answer is asked again until it does, or until leadership ends.

mod nodes;
mod scale;

use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
};
use kube::{Api, Client, Error};
use sealane_kube::events::Recorder;
use sealane_kube::{Backoff, explain, is_conflict, is_not_found, is_unreachable};
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use crate::action::{About, Action, Kind, Outcome, Part};

/// The hand that carries out what controllers decide.
#[derive(Clone)]
pub struct Actor {
    client: Client,
    events: Recorder,
}

impl Actor {
    pub fn new(client: Client, events: Recorder) -> Self {
        Self { client, events }
    }

    /// Carries one action out, for as long as it takes.
    pub async fn perform(&self, action: &Action) -> Outcome {
        if let Action::AskScale { by, keeper } = action {
            return self.ask_scale(&by.name.namespace, keeper).await;
        }
        let mut backoff = Backoff::reconnect();
        loop {
            match self.try_once(action).await {
                Err(error) if is_unreachable(&error) && is_timely(action) => {
                    tracing::debug!("{action}: {}; given up", explain(&error));
                    return Outcome::Outdated;
                }
                Err(error) if is_unreachable(&error) => {
                    tracing::debug!("{action}: {}; trying again", explain(&error));
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                result => return outcome(action, result),
            }
        }
    }

    async fn try_once(&self, action: &Action) -> Result<(), Error> {
        match action {
            Action::SetSubnets { node, uid, subnets } => {
                let spec = json!({"podCIDR": subnets.first(), "podCIDRs": subnets});
                let patch = json!({"metadata": {"uid": uid}, "spec": spec});
                let nodes = Api::<Node>::all(self.client.clone());
                nodes
                    .patch(node, &PatchParams::default(), &Patch::Merge(patch))
                    .await
                    .map(drop)
            }
            Action::Bind { pod, uid, node } => self.bind(pod, uid, node).await,
            Action::Refuse {
                pod,
                uid,
                version,
                reason,
                message,
                turns,
                nominated,
            } => {
                let mut patch = refusal((uid, version), reason, message, *turns);
                if let Some(node) = nominated {
                    let node = Some(node).filter(|node| !node.is_empty());
                    patch["status"]["nominatedNodeName"] = json!(node);
                }
                let pods = self.pods(pod);
                pods.patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch))
                    .await
                    .map(drop)
            }
            Action::MarkUnknown { .. } => self.mark_unknown(action).await,
            Action::Taint {
                node,
                uid,
                add,
                remove,
            } => self.taint(node, uid, add, remove).await,
            Action::Unready { pod, uid, version } => self.unready(pod, uid, version).await,
            Action::Preempt { pod, uid, .. } => self.preempt(pod, uid).await,
            Action::Evict { pod, uid } => self.evict(pod, uid).await,
            Action::Collect {
                pod,
                uid,
                ended,
                cause,
            } => self.collect(pod, uid, *ended, cause).await,
            Action::Create {
                kind, name, object, ..
            } => {
                let created: Result<DynamicObject, _> =
                    match serde_json::from_value(*object.clone()) {
                        Ok(object) => {
                            let api = self.objects(*kind, name);
                            api.create(&PostParams::default(), &object).await
                        }
                        Err(error) => Err(Error::SerdeError(error)),
                    };
                created.map(drop)
            }
            Action::Patch {
                kind,
                name,
                part,
                patch,
                ..
            } => self.patch(*kind, name, *part, patch).await,
            Action::Delete {
                kind, name, uid, ..
            } => {
                let params = DeleteParams {
                    preconditions: Some(Preconditions {
                        uid: Some(uid.clone()),
                        resource_version: None,
                    }),
                    ..DeleteParams::background()
                };
                let api = self.objects(*kind, name);
                api.delete(&name.name, &params).await.map(drop)
            }
            // It has an answer of its own: see `perform`.
            Action::AskScale { .. } => Ok(()),
            Action::Tell {
                about,
                severity,
                reason,
                message,
            } => {
                self.events
                    .record(&reference(about), *severity, reason, message.clone());
                Ok(())
            }
        }
    }

    async fn bind(&self, pod: &ObjectName, uid: &str, node: &str) -> Result<(), Error> {
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(pod.name.clone()),
                namespace: Some(pod.namespace.clone()),
                uid: Some(uid.to_owned()),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let created: Result<Value, _> = self
            .pods(pod)
            .create_subresource("binding", &pod.name, &PostParams::default(), &binding)
            .await;
        created.map(drop)
    }

    async fn patch(
        &self,
        kind: Kind,
        name: &ObjectName,
        part: Part,
        patch: &Value,
    ) -> Result<(), Error> {
        let api = self.objects(kind, name);
        let params = PatchParams::default();
        match part {
            Part::Object => api.patch(&name.name, &params, &Patch::Merge(patch)).await,
            Part::Owners => {
                let patch = Patch::Strategic(patch);
                api.patch(&name.name, &params, &patch).await
            }
            Part::Status => {
                let patch = Patch::Merge(patch);
                api.patch_status(&name.name, &params, &patch).await
            }
        }
        .map(drop)
    }

    fn objects(&self, kind: Kind, name: &ObjectName) -> Api<DynamicObject> {
        let client = self.client.clone();
        Api::namespaced_with(client, &name.namespace, &resource(kind))
    }

    fn pods(&self, pod: &ObjectName) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.namespace)
    }
}

/// Whether an action is for its moment alone: what is known of nodes is old when the API server is back.
fn is_timely(action: &Action) -> bool {
    matches!(
        action,
        Action::MarkUnknown { .. } | Action::Taint { .. } | Action::Unready { .. }
    )
}

fn outcome(action: &Action, result: Result<(), Error>) -> Outcome {
    match result {
        Ok(()) => {
            tracing::debug!("{action}: done");
            Outcome::Done
        }
        Err(error) if is_not_found(&error) => Outcome::Gone,
        Err(error) if is_conflict(&error) => {
            tracing::debug!("{action}: {}", explain(&error));
            Outcome::Outdated
        }
        Err(error) => {
            tracing::error!("{action}: {}", explain(&error));
            Outcome::Refused(explain(&error).to_string())
        }
    }
}

fn refusal((uid, version): (&str, &str), reason: &str, message: &str, turns: bool) -> Value {
    let mut condition = json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": reason,
        "message": message,
    });
    if turns {
        condition["lastTransitionTime"] = json!(Time(Timestamp::now()));
    }
    json!({
        "metadata": {"uid": uid, "resourceVersion": version},
        "status": {"conditions": [condition]},
    })
}

/// How the API calls a kind.
pub fn resource(kind: Kind) -> ApiResource {
    let api_version = kind.api_version();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_string(),
        plural: kind.plural().to_owned(),
    }
}

fn reference(about: &About) -> ObjectReference {
    let (api_version, kind, namespace, name, uid) = match about {
        About::Node { name, uid } => ("v1", "Node".to_owned(), None, name, uid),
        About::Pod { name, uid } => (
            "v1",
            "Pod".to_owned(),
            Some(name.namespace.clone()),
            &name.name,
            uid,
        ),
        About::Object { kind, name, uid } => (
            kind.api_version(),
            kind.to_string(),
            Some(name.namespace.clone()),
            &name.name,
            uid,
        ),
    };
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind),
        namespace,
        name: Some(name.clone()),
        uid: Some(uid.clone()),
        ..ObjectReference::default()
    }
}

fn conflict(message: String) -> Error {
    Error::Api(Box::new(kube::core::Status {
        code: 409,
        reason: "Conflict".to_owned(),
        message,
        ..kube::core::Status::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_turns_the_condition_once_and_then_only_changes_its_message() {
        let first = refusal(("u", "7"), "Unschedulable", "no nodes", true);
        assert!(first["status"]["conditions"][0]["lastTransitionTime"].is_string());
        let second = refusal(("u", "8"), "Unschedulable", "0/1 nodes", false);
        assert_eq!(
            second,
            json!({
                "metadata": {"uid": "u", "resourceVersion": "8"},
                "status": {"conditions": [{
                    "type": "PodScheduled", "status": "False",
                    "reason": "Unschedulable", "message": "0/1 nodes",
                }]},
            })
        );
    }
}
