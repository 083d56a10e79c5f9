//! What becomes of nodes and their pods, carried out.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{self as core, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Error};
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use super::{Actor, conflict};
use crate::action::{Action, Cause};
use crate::view::LeaseView;
use sealane_objects::{Effect, Taint};

impl Actor {
    /// Marks a node, unless it has renewed its Lease since that was decided.
    pub(super) async fn mark_unknown(&self, action: &Action) -> Result<(), Error> {
        let Action::MarkUnknown {
            node,
            uid,
            version,
            renewed,
            conditions,
            reason,
            message,
        } = action
        else {
            return Ok(());
        };
        let leases = Api::<Lease>::namespaced(self.client.clone(), "kube-node-lease");
        let lease = leases.get_opt(node).await?.map(LeaseView::of);
        if lease.and_then(|lease| lease.renewed) != *renewed {
            return Err(conflict(format!("node {node} has renewed its lease")));
        }
        let patch = unknown(uid, version, conditions, reason, message);
        self.nodes()
            .patch_status(node, &PatchParams::default(), &Patch::Strategic(patch))
            .await
            .map(drop)
    }

    pub(super) async fn taint(
        &self,
        name: &str,
        uid: &str,
        add: &[Taint],
        remove: &[Taint],
    ) -> Result<(), Error> {
        let node = self.nodes().get(name).await?;
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let Some(taints) = with_taints(&taints, add, remove, Timestamp::now()) else {
            return Ok(());
        };
        let patch = json!({
            "metadata": {"uid": uid, "resourceVersion": node.metadata.resource_version},
            "spec": {"taints": taints},
        });
        self.nodes()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(drop)
    }

    pub(super) async fn unready(
        &self,
        pod: &ObjectName,
        uid: &str,
        version: &str,
    ) -> Result<(), Error> {
        let patch = json!({
            "metadata": {"uid": uid, "resourceVersion": version},
            "status": {"conditions": [{
                "type": "Ready", "status": "False", "lastTransitionTime": now(),
            }]},
        });
        self.patch_pod(pod, patch).await
    }

    pub(super) async fn evict(&self, pod: &ObjectName, uid: &str) -> Result<(), Error> {
        let target = disruption_target(
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
        );
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [target]}});
        self.patch_pod(pod, patch).await?;
        self.delete_pod(pod, uid, None).await
    }

    /// Deletes a pod, and says on it why.
    pub(super) async fn preempt(&self, pod: &ObjectName, uid: &str) -> Result<(), Error> {
        let target = disruption_target(
            "PreemptionByScheduler",
            "default-scheduler: preempting to accommodate a higher priority pod",
        );
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [target]}});
        self.patch_pod(pod, patch).await?;
        self.delete_pod(pod, uid, None).await
    }

    pub(super) async fn collect(
        &self,
        pod: &ObjectName,
        uid: &str,
        ended: bool,
        cause: &Cause,
    ) -> Result<(), Error> {
        if let Cause::NodeGone(node) = cause
            && self.nodes().get_opt(node).await?.is_some()
        {
            return Err(conflict(format!("node {node} exists")));
        }
        if !ended {
            let mut patch = json!({"metadata": {"uid": uid}, "status": {"phase": "Failed"}});
            if let Cause::NodeGone(_) = cause {
                let why = disruption_target("DeletionByPodGC", "PodGC: node no longer exists");
                patch["status"]["conditions"] = json!([why]);
            }
            self.patch_pod(pod, patch).await?;
        }
        self.delete_pod(pod, uid, Some(0)).await
    }

    async fn patch_pod(&self, pod: &ObjectName, patch: Value) -> Result<(), Error> {
        self.pods(pod)
            .patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch))
            .await
            .map(drop)
    }

    async fn delete_pod(
        &self,
        pod: &ObjectName,
        uid: &str,
        grace: Option<u32>,
    ) -> Result<(), Error> {
        let params = DeleteParams {
            grace_period_seconds: grace,
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        self.pods(pod).delete(&pod.name, &params).await.map(drop)
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }
}

fn now() -> Time {
    Time(Timestamp::now())
}

/// Why a pod does not end by itself.
fn disruption_target(reason: &str, message: &str) -> Value {
    json!({
        "type": "DisruptionTarget",
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": now(),
    })
}

/// The taints of a node after a change; none when it changes nothing.
fn with_taints(
    taints: &[core::Taint],
    add: &[Taint],
    remove: &[Taint],
    now: Timestamp,
) -> Option<Vec<core::Taint>> {
    let effect = |effect: Effect| format!("{effect:?}");
    let same =
        |old: &core::Taint, new: &Taint| old.key == new.key && old.effect == effect(new.effect);
    let goes = |old: &&core::Taint| remove.iter().any(|taint| same(old, taint));
    let stays: Vec<_> = taints.iter().filter(|old| !goes(old)).cloned().collect();
    let comes = |taint: &&Taint| !stays.iter().any(|old| same(old, taint));
    let fresh = add.iter().filter(comes).map(|taint| core::Taint {
        key: taint.key.clone(),
        value: Some(taint.value.clone()).filter(|value| !value.is_empty()),
        effect: effect(taint.effect),
        time_added: Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now))),
    });
    let fresh: Vec<_> = fresh.collect();
    let unchanged = fresh.is_empty() && stays.len() == taints.len();
    (!unchanged).then(|| stays.into_iter().chain(fresh).collect())
}

fn unknown(uid: &str, version: &str, conditions: &[String], reason: &str, message: &str) -> Value {
    let now = json!(now());
    let mark = |kind: &String| {
        json!({
            "type": kind,
            "status": "Unknown",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now,
        })
    };
    json!({
        "metadata": {"uid": uid, "resourceVersion": version},
        "status": {"conditions": conditions.iter().map(mark).collect::<Vec<_>>()},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_of_a_silent_node_becomes_unknown() {
        let patch = unknown("u", "7", &["Ready".into(), "DiskPressure".into()], "R", "m");
        let conditions = patch["status"]["conditions"].as_array().unwrap();
        let seen: Vec<_> = conditions
            .iter()
            .map(|c| (c["type"].as_str().unwrap(), c["status"].as_str().unwrap()))
            .collect();
        assert_eq!(seen, [("Ready", "Unknown"), ("DiskPressure", "Unknown")]);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn taints_are_added_with_their_time_and_others_stay_as_they_are() {
        let taint = |key: &str| Taint {
            key: key.into(),
            value: String::new(),
            effect: Effect::NoExecute,
        };
        let old: Vec<core::Taint> = serde_json::from_value(json!([
            {"key": "mine", "value": "x", "effect": "NoSchedule"},
            {"key": "a", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"},
            {"key": "a", "effect": "NoSchedule"},
        ]))
        .unwrap();
        let now: Timestamp = "2026-11-21T06:00:00.5Z".parse().unwrap();
        let changed = |add: &[&str], remove: &[&str]| {
            let all = |keys: &[&str]| keys.iter().map(|key| taint(key)).collect::<Vec<_>>();
            json!(with_taints(&old, &all(add), &all(remove), now))
        };
        assert_eq!(changed(&["a"], &["b"]), Value::Null);
        assert_eq!(
            changed(&["b"], &["a"]),
            json!([
                {"key": "mine", "value": "x", "effect": "NoSchedule"},
                {"key": "a", "effect": "NoSchedule"},
                {"key": "b", "effect": "NoExecute", "timeAdded": "2026-11-21T06:00:00Z"},
            ])
        );
    }
}
