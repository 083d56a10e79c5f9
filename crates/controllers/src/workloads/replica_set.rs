//! ReplicaSets and ReplicationControllers: as many pods as asked for.
//!
//! A plan is made from the set, the pods that are seen to be its own, and what
//! is on its way but not seen yet. Which pods go first when there are too many
//! is kube-controller-manager's order (`ActivePodsWithRanks`).

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::head::{Condition, Head, is_zero};
use sealane_objects::Selector;

use crate::action::Kind;
use crate::facts::{Phase, PodFacts};
use crate::view::PodView;

/// A ReplicaSet or a ReplicationController.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSet {
    pub head: Head,
    pub replicas: i32,
    pub min_ready: Duration,
    pub selector: Selector,
    /// `.spec.template`
    pub template: Value,
    /// The labels of the template: a pod may have fewer and be selected all the same.
    pub labels: Selector,
    pub status: Status,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub fully_labeled_replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub ready_replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub available_replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    replicas: Option<i32>,
    min_ready_seconds: u64,
    selector: Value,
    template: Value,
}

impl ReplicaSet {
    pub fn of(kind: Kind, mut object: DynamicObject) -> Self {
        let spec: Spec = take(&mut object.data, "spec");
        let selector = match kind {
            Kind::ReplicationController => {
                Selector::of_labels(serde_json::from_value(spec.selector).unwrap_or_default())
            }
            _ => serde_json::from_value(spec.selector).unwrap_or_default(),
        };
        Self {
            replicas: spec.replicas.unwrap_or(1),
            min_ready: Duration::from_secs(spec.min_ready_seconds),
            selector,
            labels: labels_of(&spec.template),
            template: spec.template,
            status: take(&mut object.data, "status"),
            head: Head::of(kind, object.metadata),
        }
    }
}

/// A part of an object, or its default where it is absent or not what it should be.
pub fn take<T: Default + serde::de::DeserializeOwned>(data: &mut Value, field: &str) -> T {
    let part = data.get_mut(field).map(Value::take).unwrap_or_default();
    serde_json::from_value(part).unwrap_or_default()
}

/// What is to be done for a set.
#[derive(Debug, PartialEq)]
pub struct Plan<'a> {
    pub create: usize,
    pub delete: Vec<&'a PodView>,
    pub status: Status,
    /// When the status changes by itself: a pod becomes available.
    pub wake_in: Option<Duration>,
}

/// What is known of a set's pods.
pub struct Pods<'a> {
    /// Its own, neither finished nor being deleted.
    pub active: Vec<&'a PodView>,
    /// Asked for and not seen yet.
    pub creating: usize,
    /// How many pods each node holds of all sets with the same owner.
    pub on_node: HashMap<&'a str, usize>,
    /// What went wrong with the last pod that was asked for.
    pub failure: Option<(&'static str, &'a str)>,
}

/// Decides for one set.
pub fn plan<'a>(set: &ReplicaSet, pods: &Pods<'a>, now: Timestamp) -> Plan<'a> {
    let wanted = usize::try_from(set.replicas).unwrap_or(0);
    let there = pods.active.len() + pods.creating;
    let (create, surplus) = if set.head.deleting {
        (0, 0)
    } else {
        (wanted.saturating_sub(there), there.saturating_sub(wanted))
    };
    Plan {
        create,
        delete: surplus_pods(pods, surplus, now),
        status: status(set, pods, now),
        wake_in: wake_in(set, pods, now),
    }
}

fn surplus_pods<'a>(pods: &Pods<'a>, count: usize, now: Timestamp) -> Vec<&'a PodView> {
    let mut ranked = pods.active.clone();
    let neighbours = |pod: &PodView| {
        let node = pod.node.as_deref().unwrap_or_default();
        pods.on_node.get(node).copied().unwrap_or(0)
    };
    ranked.sort_by(|a, b| goes_first((a, neighbours(a)), (b, neighbours(b)), now));
    ranked.truncate(count);
    ranked
}

/// The order in which pods go that are like any others.
pub fn by_rank(a: &PodView, b: &PodView, now: Timestamp) -> Ordering {
    goes_first((a, 0), (b, 0), now)
}

/// Less goes first.
fn goes_first(a: (&PodView, usize), b: (&PodView, usize), now: Timestamp) -> Ordering {
    let ((a, near_a), (b, near_b)) = (a, b);
    let (left, right): (&PodFacts, &PodFacts) = (&a.facts, &b.facts);
    let simple = |pod: &PodView, near: usize| {
        let facts = &pod.facts;
        let unknown_first = facts.phase;
        (
            pod.node.is_some(),
            unknown_first,
            facts.is_ready(),
            facts.deletion_cost,
            Reverse(near),
        )
    };
    simple(a, near_a)
        .cmp(&simple(b, near_b))
        .then_with(|| younger(left.ready, right.ready, now))
        .then_with(|| right.restarts.cmp(&left.restarts))
        .then_with(|| younger(left.created, right.created, now))
        .then_with(|| a.uid.cmp(&b.uid))
}

/// By orders of magnitude of their ages, so that among pods of about the same age chance decides.
fn younger(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp) -> Ordering {
    let magnitude = |since: Option<Timestamp>| {
        let nanos = now.duration_since(since?).as_nanos();
        u128::try_from(nanos).ok()?.checked_ilog2()
    };
    magnitude(a).cmp(&magnitude(b))
}

fn status(set: &ReplicaSet, pods: &Pods<'_>, now: Timestamp) -> Status {
    let count = |holds: &dyn Fn(&PodFacts) -> bool| {
        let holds = pods.active.iter().filter(|pod| holds(&pod.facts));
        i32::try_from(holds.count()).unwrap_or(i32::MAX)
    };
    Status {
        replicas: count(&|_| true),
        fully_labeled_replicas: count(&|pod| set.labels.matches(&pod.labels)),
        ready_replicas: count(&PodFacts::is_ready),
        available_replicas: count(&|pod| pod.is_available(set.min_ready, now)),
        observed_generation: set.head.generation,
        conditions: conditions(set, pods, now),
    }
}

fn labels_of(template: &Value) -> Selector {
    let labels = template["metadata"]["labels"].clone();
    Selector::of_labels(serde_json::from_value(labels).unwrap_or_default())
}

/// `ReplicaFailure` stands while pods cannot be made or deleted.
fn conditions(set: &ReplicaSet, pods: &Pods<'_>, now: Timestamp) -> Vec<Condition> {
    let is_failure = |condition: &&Condition| condition.kind == "ReplicaFailure";
    let before = set.status.conditions.iter().find(is_failure);
    let others = set.status.conditions.iter().filter(|c| !is_failure(c));
    let mut conditions: Vec<_> = others.cloned().collect();
    if let Some((reason, message)) = pods.failure {
        let fresh = || Condition {
            kind: "ReplicaFailure".into(),
            status: "True".into(),
            last_probe_time: None,
            last_update_time: None,
            last_transition_time: Some(Time(now)),
            reason: reason.into(),
            message: message.into(),
        };
        conditions.push(before.cloned().unwrap_or_else(fresh));
    }
    conditions
}

fn wake_in(set: &ReplicaSet, pods: &Pods<'_>, now: Timestamp) -> Option<Duration> {
    let soon = pods.active.iter();
    let soon = soon.filter_map(|pod| pod.facts.available_in(set.min_ready, now));
    soon.filter(|wait| !wait.is_zero()).min()
}

/// Pods that count: the others have ended, or are about to.
pub fn is_active(pod: &PodView) -> bool {
    !pod.deleting && !matches!(pod.facts.phase, Phase::Succeeded | Phase::Failed)
}
