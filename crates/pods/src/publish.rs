//! One pod's status on its way to the API: only what is new, the latest alone.
//!
//! ```text
//! worker ──watch: Wish (latest only)──> publisher ──PATCH status, then DELETE──> API server
//! ```
//!
//! While one request is under way, newer statuses replace each other, so a pod
//! that comes up within a few milliseconds is told once. Requests are repeated
//! until they are answered. A status that somebody else has overwritten is put
//! back, and one that the API already has is not sent.
//!
//! A merge patch with the resource version is used: it takes fields away
//! (`podIP`) as well as it adds them on any server, and conditions that others
//! have added meanwhile are not lost, since the server then answers "conflict". The
//! strategic merge patch of the kubelet was left out because lists keyed by
//! address need its `$patch` directives for that.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use sealane_kube::{Backoff, explain, is_conflict, is_forbidden, is_not_found, is_unreachable};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::conditions;
use crate::desired::Desired;

/// How long a status that says nothing new to people waits for a better one.
const PATIENCE: Duration = Duration::from_millis(100);
/// Fields that are taken away when a status does not have them.
const REMOVABLE: [&str; 5] = [
    "message",
    "reason",
    "podIP",
    "podIPs",
    "initContainerStatuses",
];

/// Tells the API about one pod. Dropping it gives up what has not been told.
pub struct Publisher {
    wishes: watch::Sender<Wish>,
    task: JoinHandle<()>,
}

/// What the API should know.
#[derive(Clone, Debug)]
struct Wish {
    status: Option<PodStatus>,
    /// The pod as the worker last saw it.
    seen: Arc<Pod>,
    /// The pod is gone from this node.
    remove: bool,
}

/// The answer to our latest patch.
#[derive(Clone, Debug)]
struct Own {
    asked: PodStatus,
    stored: Pod,
}

impl Publisher {
    /// A publisher that has nothing to tell yet.
    pub fn start(client: Client, pod: &Desired) -> Self {
        let seen = Arc::clone(&pod.pod);
        let (wishes, receiver) = watch::channel(Wish {
            status: None,
            seen,
            remove: false,
        });
        let target = Target {
            pods: Api::namespaced(client, pod.namespace()),
            name: pod.name().to_owned(),
            uid: pod.uid().to_owned(),
            own: None,
        };
        Self {
            wishes,
            task: tokio::spawn(target.run(receiver)),
        }
    }

    /// The pod's status is this; told soon.
    pub fn show(&self, status: &PodStatus, pod: &Desired) {
        self.wishes.send_if_modified(|wish| {
            let same = wish.status.as_ref() == Some(status) && Arc::ptr_eq(&wish.seen, &pod.pod);
            wish.status = Some(status.clone());
            wish.seen = Arc::clone(&pod.pod);
            !same
        });
    }

    /// Tells the last status, if any, and that the pod is gone; returns when the API knows.
    pub async fn finish(mut self, status: Option<PodStatus>, pod: &Desired) {
        self.wishes.send_replace(Wish {
            status,
            seen: Arc::clone(&pod.pod),
            remove: true,
        });
        if let Err(error) = (&mut self.task).await {
            tracing::error!("tell the API that pod {} is gone: {error}", pod.in_words());
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The pod in the API, and what we last told about it.
struct Target {
    pods: Api<Pod>,
    name: String,
    uid: String,
    own: Option<Own>,
}

impl Target {
    async fn run(mut self, mut wishes: watch::Receiver<Wish>) {
        let mut backoff = Backoff::reconnect();
        while wishes.changed().await.is_ok() {
            if is_dull(&wishes.borrow()) {
                // Something better usually follows at once.
                let better = wishes.wait_for(|wish| !is_dull(wish));
                let _late = tokio::time::timeout(PATIENCE, better).await.is_err();
            }
            loop {
                let wish = wishes.borrow_and_update().clone();
                // In a box: a request is large, and hundreds of pods have nothing to tell.
                match Box::pin(self.tell(&wish)).await {
                    Ok(true) => return,
                    Ok(false) => break,
                    Err(error) => {
                        self.complain(&error);
                        tokio::time::sleep(backoff.next_delay()).await;
                    }
                }
            }
            backoff.reset();
        }
    }

    /// Tells what is new; `true` when there will be nothing more to tell.
    async fn tell(&mut self, wish: &Wish) -> kube::Result<bool> {
        if let Some(status) = &wish.status
            && is_needed(status, &wish.seen, self.own.as_ref())
        {
            match self.patch(status, wish).await {
                Ok(true) => {}
                Ok(false) => return Ok(true),
                // A status that the API refuses must not keep the pod from leaving.
                Err(error) if wish.remove && !is_unreachable(&error) => self.complain(&error),
                Err(error) => return Err(error),
            }
        }
        if wish.remove {
            self.delete().await?;
        }
        Ok(wish.remove)
    }

    /// Sends a status; `false` when the API no longer has the pod.
    async fn patch(&mut self, status: &PodStatus, wish: &Wish) -> kube::Result<bool> {
        let mut base = newest(&wish.seen, self.own.as_ref()).clone();
        loop {
            let patch = Patch::Merge(body(status, &base));
            let answer = self
                .pods
                .patch_status(&self.name, &PatchParams::default(), &patch)
                .await;
            match answer {
                Ok(stored) => {
                    self.own = Some(Own {
                        asked: status.clone(),
                        stored: without_spec(stored),
                    });
                    return Ok(true);
                }
                Err(error) if self.is_gone(&error) => return Ok(false),
                Err(error) if is_conflict(&error) => {
                    base = match self.read().await? {
                        Some(pod) => pod,
                        None => return Ok(false),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn complain(&self, error: &kube::Error) {
        let (name, error) = (&self.name, explain(error));
        tracing::warn!("tell status of pod {name}: {error}");
    }

    /// Whether an error says that the API no longer has the pod. What a node may not touch is
    /// another node's: the pod is gone, and a new one of its name has been made elsewhere.
    fn is_gone(&self, error: &kube::Error) -> bool {
        if is_forbidden(error) {
            self.complain(error);
        }
        is_not_found(error) || is_forbidden(error)
    }

    /// The pod as it is now, unless it is gone or has been replaced by another of its name.
    async fn read(&self) -> kube::Result<Option<Pod>> {
        let pod = match self.pods.get_opt(&self.name).await {
            Err(error) if self.is_gone(&error) => None,
            pod => pod?,
        };
        Ok(pod.filter(|pod| pod.metadata.uid.as_ref() == Some(&self.uid)))
    }

    async fn delete(&self) -> kube::Result<()> {
        let uid = Preconditions {
            uid: Some(self.uid.clone()),
            resource_version: None,
        };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(uid),
            ..DeleteParams::default()
        };
        match self.pods.delete(&self.name, &params).await {
            // A conflict: another pod has the name, ours is gone.
            Err(error) if !is_conflict(&error) && !self.is_gone(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// A pod as far as its status is concerned: there may be hundreds.
fn without_spec(mut pod: Pod) -> Pod {
    pod.spec = None;
    pod.metadata.managed_fields = None;
    pod
}

/// A status from which nobody learns anything: the containers are being made.
fn is_dull(wish: &Wish) -> bool {
    let Some(status) = &wish.status else {
        return !wish.remove;
    };
    let mut containers = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    !wish.remove
        && containers.all(|container| {
            let waiting = container
                .state
                .as_ref()
                .and_then(|state| state.waiting.as_ref());
            let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
            matches!(reason, Some("ContainerCreating" | "PodInitializing"))
                && container.last_state.is_none()
        })
}

/// Whether the API has to be told.
fn is_needed(status: &PodStatus, seen: &Pod, own: Option<&Own>) -> bool {
    let ours = |pod: &Pod| pod.status.as_ref().map(our_part);
    match own {
        None => ours(seen) != Some(our_part(status)),
        Some(own) if own.asked != *status => true,
        Some(own) => version(seen) > version(&own.stored) && ours(seen) != ours(&own.stored),
    }
}

/// A status without what others decide.
fn our_part(status: &PodStatus) -> PodStatus {
    let mut ours = status.clone();
    ours.nominated_node_name = None;
    let conditions = ours.conditions.get_or_insert_default();
    conditions.retain(|condition| conditions::is_ours(&condition.type_));
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    ours
}

fn newest<'a>(seen: &'a Pod, own: Option<&'a Own>) -> &'a Pod {
    match own {
        Some(own) if version(&own.stored) >= version(seen) => &own.stored,
        _ => seen,
    }
}

/// Resource versions of one kind compare as numbers (Kubernetes 1.35, KEP-5504).
fn version(pod: &Pod) -> u64 {
    let text = pod.metadata.resource_version.as_deref();
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The merge patch that gives `base` our status and leaves it what others decide.
fn body(status: &PodStatus, base: &Pod) -> Value {
    let mut ours = our_part(status);
    let theirs = base
        .status
        .iter()
        .filter_map(|status| status.conditions.as_ref())
        .flatten();
    let theirs = theirs
        .filter(|condition| !conditions::is_ours(&condition.type_))
        .cloned();
    ours.conditions.get_or_insert_default().extend(theirs);
    let mut status = serde_json::to_value(&ours).unwrap_or_default();
    if let Some(fields) = status.as_object_mut() {
        for field in REMOVABLE {
            fields.entry(field).or_insert(Value::Null);
        }
    }
    let metadata = json!({
        "uid": base.metadata.uid, "resourceVersion": base.metadata.resource_version,
    });
    json!({"metadata": metadata, "status": status})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(version: &str, status: Value) -> Pod {
        let object = json!({"metadata": {"name": "p", "uid": "u", "resourceVersion": version}, "status": status});
        serde_json::from_value(object).unwrap()
    }

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).unwrap()
    }

    fn running() -> Value {
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    }

    #[test]
    fn only_news_are_told() {
        let scheduled = json!({
            "phase": "Running", "nominatedNodeName": "n",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
        });
        let own = |version, asked: Value, stored: Value| Own {
            asked: status(asked),
            stored: pod(version, stored),
        };
        let pending = json!({"phase": "Pending"});
        let lost =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]});
        let cases = [
            ("never told", pod("3", pending.clone()), None, true),
            (
                "the API knows already",
                pod("3", scheduled.clone()),
                None,
                false,
            ),
            (
                "told, not yet seen",
                pod("3", pending.clone()),
                Some(own("4", running(), running())),
                false,
            ),
            (
                "told something else",
                pod("3", pending.clone()),
                Some(own("4", pending.clone(), pending)),
                true,
            ),
            (
                "another's condition came",
                pod("5", scheduled),
                Some(own("4", running(), running())),
                false,
            ),
            (
                "overwritten by another",
                pod("5", lost.clone()),
                Some(own("4", running(), running())),
                true,
            ),
            (
                "as told, but the server stored it differently",
                pod("4", lost.clone()),
                Some(own("4", running(), lost)),
                false,
            ),
        ];
        for (case, seen, own, expected) in cases {
            assert_eq!(
                is_needed(&status(running()), &seen, own.as_ref()),
                expected,
                "{case}"
            );
        }
    }

    #[test]
    fn a_patch_takes_away_and_keeps_what_others_wrote() {
        let base = pod(
            "7",
            json!({"conditions": [
                {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"},
            ], "podIP": "10.244.1.9"}),
        );
        assert_eq!(
            body(&status(running()), &base),
            json!({
                "metadata": {"uid": "u", "resourceVersion": "7"},
                "status": {
                    "phase": "Running",
                    "conditions": [
                        {"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"},
                    ],
                    "podIP": null, "podIPs": null, "message": null, "reason": null,
                    "initContainerStatuses": null,
                },
            })
        );
    }

    #[test]
    fn being_made_is_dull_and_everything_else_is_not() {
        let waiting = |reason: &str| {
            json!({"containerStatuses": [{
                "name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason}},
            }]})
        };
        let wish = |value, remove| Wish {
            status: Some(status(value)),
            seen: Arc::new(Pod::default()),
            remove,
        };
        assert!(is_dull(&wish(waiting("ContainerCreating"), false)));
        assert!(is_dull(&wish(waiting("PodInitializing"), false)));
        assert!(!is_dull(&wish(waiting("ErrImagePull"), false)));
        assert!(!is_dull(&wish(waiting("ContainerCreating"), true)));
    }
}
