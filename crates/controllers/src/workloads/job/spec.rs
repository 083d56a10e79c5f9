//! What a Job asks for, and what it says of itself.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use sealane_objects::Selector;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::policy::{FailurePolicy, SuccessPolicy};
use crate::action::Kind;
use crate::workloads::head::{Condition, Head, condition, is_zero};
use crate::workloads::replica_set::take;

/// Who looks after Jobs that name nobody.
const OURS: &str = "kubernetes.io/job-controller";

/// A Job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub head: Head,
    pub selector: Selector,
    pub template: Value,
    pub parallelism: u32,
    /// None: the first success is enough.
    pub completions: Option<u32>,
    pub indexed: bool,
    /// Failures that are borne.
    pub backoff_limit: u32,
    /// Failures that are borne of each index.
    pub limit_per_index: Option<u32>,
    pub max_failed_indexes: Option<u32>,
    /// How long it may run.
    pub deadline: Option<Duration>,
    /// How long it is kept when it has ended.
    pub ttl: Option<Duration>,
    pub suspended: bool,
    /// A pod is replaced when it has ended, not when it is to end.
    pub replaces_only_failed: bool,
    /// Its pods start containers again by themselves.
    pub restarts_on_failure: bool,
    pub failure_policy: FailurePolicy,
    pub success_policy: SuccessPolicy,
    /// Somebody else looks after it.
    pub foreign: bool,
    pub status: Status,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    #[serde(skip_serializing_if = "is_zero")]
    pub active: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub succeeded: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<u32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub completed_indexes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_indexes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncounted_terminated_pods: Option<Uncounted>,
}

/// Uids of pods that have ended and are being counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Uncounted {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub succeeded: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

impl Uncounted {
    pub fn is_empty(&self) -> bool {
        self.succeeded.is_empty() && self.failed.is_empty()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    selector: Selector,
    template: Value,
    parallelism: Option<u32>,
    completions: Option<u32>,
    completion_mode: String,
    backoff_limit: Option<u32>,
    backoff_limit_per_index: Option<u32>,
    max_failed_indexes: Option<u32>,
    active_deadline_seconds: Option<u64>,
    ttl_seconds_after_finished: Option<u64>,
    suspend: bool,
    pod_replacement_policy: String,
    pod_failure_policy: FailurePolicy,
    success_policy: SuccessPolicy,
    managed_by: Option<String>,
}

impl Job {
    pub fn of(mut object: DynamicObject) -> Self {
        let spec: Spec = take(&mut object.data, "spec");
        Self {
            selector: spec.selector,
            parallelism: spec.parallelism.unwrap_or(1),
            completions: spec.completions,
            indexed: spec.completion_mode == "Indexed",
            backoff_limit: spec.backoff_limit.unwrap_or(6),
            limit_per_index: spec.backoff_limit_per_index,
            max_failed_indexes: spec.max_failed_indexes,
            deadline: spec.active_deadline_seconds.map(Duration::from_secs),
            ttl: spec.ttl_seconds_after_finished.map(Duration::from_secs),
            suspended: spec.suspend,
            replaces_only_failed: spec.pod_replacement_policy == "Failed",
            restarts_on_failure: spec.template["spec"]["restartPolicy"] == "OnFailure",
            failure_policy: spec.pod_failure_policy,
            success_policy: spec.success_policy,
            foreign: spec.managed_by.is_some_and(|by| by != OURS),
            template: spec.template,
            status: take(&mut object.data, "status"),
            head: Head::of(Kind::Job, object.metadata),
        }
    }

    /// The condition that says that it is over, and since when.
    pub fn end(&self) -> Option<(&Condition, Timestamp)> {
        let is_true = |kind| self.status.is_true(kind);
        let end = is_true("Complete").or_else(|| is_true("Failed"))?;
        let since = end.last_transition_time.as_ref();
        Some((end, since.map_or(Timestamp::UNIX_EPOCH, |time| time.0)))
    }

    pub fn succeeded(&self) -> bool {
        self.status.is_true("Complete").is_some()
    }
}

impl Status {
    /// The condition of a type, if it holds.
    pub fn is_true(&self, kind: &str) -> Option<&Condition> {
        condition(&self.conditions, kind).filter(|condition| condition.status == "True")
    }

    /// Says that a condition holds, or does not; whether that is news.
    pub fn say(
        &mut self,
        (kind, holds): (&str, bool),
        (reason, message): (&str, &str),
        now: Timestamp,
    ) -> bool {
        let status = if holds { "True" } else { "False" };
        let said = condition(&self.conditions, kind);
        if said.map_or(!holds, |said| said.status == status) {
            return false;
        }
        self.conditions.retain(|one| one.kind != kind);
        self.conditions.push(Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            last_update_time: None,
            last_probe_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
            reason: reason.to_owned(),
            message: message.to_owned(),
        });
        true
    }
}
