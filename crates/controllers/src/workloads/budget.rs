//! PodDisruptionBudgets: how many pods may be evicted now.
//!
//! The API server spends a budget when it evicts a pod: it takes one from `disruptionsAllowed` and writes the
//! pod down in `disruptedPods`. From then on the pod does not count as healthy here, whatever its
//! own status says, until it is seen to go; or for two minutes, if it does not.
//! (`pkg/controller/disruption`.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use sealane_kube::events::Severity;
use sealane_objects::{ObjectName, Selector};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::deployment::Share;
use super::head::Head;
use super::replica_set::take;
use crate::action::Kind;
use crate::facts::{Controller, Phase};
use crate::view::PodView;

/// How long a pod whose eviction was allowed may be there.
const PATIENCE: Duration = Duration::from_secs(120);
const CONDITION: &str = "DisruptionAllowed";

/// A PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub head: Head,
    /// None selects no pod, an empty one all of them.
    selector: Option<Selector>,
    limit: Limit,
    pub status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    None,
    Available(Share),
    Unavailable(Share),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    observed_generation: i64,
    disruptions_allowed: i32,
    current_healthy: i32,
    desired_healthy: i32,
    expected_pods: i32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    disrupted_pods: BTreeMap<String, Time>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    selector: Option<Selector>,
    min_available: Value,
    max_unavailable: Value,
}

/// How many pods a controller keeps: its uid, or that of who scales it, and the number.
pub type Scale<'a> = &'a dyn Fn(&Controller) -> Result<Option<(String, i32)>, String>;

impl Budget {
    pub fn of(mut object: DynamicObject) -> Self {
        let spec: Spec = take(&mut object.data, "spec");
        let available = Share::of(&spec.min_available).map(Limit::Available);
        let unavailable = Share::of(&spec.max_unavailable).map(Limit::Unavailable);
        Self {
            selector: spec.selector,
            limit: unavailable.or(available).unwrap_or(Limit::None),
            status: take(&mut object.data, "status"),
            head: Head::of(Kind::PodDisruptionBudget, object.metadata),
        }
    }

    /// How many more of its pods may go.
    pub fn allowed(&self) -> i32 {
        self.status.disruptions_allowed
    }

    /// Whether it has let a pod go that is still there.
    pub fn has_let_go(&self, pod: &str) -> bool {
        self.status.disrupted_pods.contains_key(pod)
    }

    /// Whether it has to be known how many pods there should be.
    pub fn asks_for_scale(&self) -> bool {
        !matches!(self.limit, Limit::None | Limit::Available(Share::Count(_)))
    }

    pub fn selects(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        let selector = self.selector.as_ref();
        namespace == self.head.name.namespace
            && selector.is_some_and(|selector| selector.matches(labels))
    }
}

/// What is to be said of a budget.
pub struct Plan {
    pub status: Status,
    pub tell: Vec<(Severity, &'static str, String)>,
    pub wake_in: Option<Duration>,
}

/// Counts for one budget; `pods` are those that it selects.
pub fn plan(
    budget: &Budget,
    pods: &[(&ObjectName, &PodView)],
    scale: Scale<'_>,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan {
        status: budget.status.clone(),
        tell: Vec::new(),
        wake_in: None,
    };
    plan.keep_disrupted(pods, now);
    let status = &mut plan.status;
    status.observed_generation = budget.head.generation;
    let healthy = pods.iter().filter(|(name, pod)| {
        let going = pod.deleting || status.disrupted_pods.contains_key(&name.name);
        !going && pod.facts.is_ready() && !pod.facts.is_finished()
    });
    status.current_healthy = number(healthy.count());
    match wanted(budget, pods, scale) {
        Ok((expected, desired)) => {
            status.expected_pods = expected;
            status.desired_healthy = desired;
            let spare = status.current_healthy - desired;
            status.disruptions_allowed = if expected > 0 { spare.max(0) } else { 0 };
            let allowed = status.disruptions_allowed > 0;
            let reason = if allowed {
                "SufficientPods"
            } else {
                "InsufficientPods"
            };
            status.say(allowed, reason, "", budget.head.generation, now);
        }
        Err(why) => {
            status.disruptions_allowed = 0;
            status.say(false, "SyncFailed", &why, budget.head.generation, now);
            let message = format!("Failed to calculate the number of expected pods: {why}");
            let reason = "CalculateExpectedPodCountFailed";
            plan.tell.push((Severity::Warning, reason, message));
        }
    }
    plan
}

impl Plan {
    /// Pods whose eviction was allowed and that are not seen to go yet.
    fn keep_disrupted(&mut self, pods: &[(&ObjectName, &PodView)], now: Timestamp) {
        let standing: BTreeSet<&str> = pods
            .iter()
            .filter(|(_, pod)| !pod.deleting)
            .map(|(name, _)| &*name.name)
            .collect();
        let disrupted = std::mem::take(&mut self.status.disrupted_pods);
        for (name, since) in disrupted {
            if !standing.contains(&*name) {
                continue;
            }
            let passed = Duration::try_from(now.duration_since(since.0)).unwrap_or_default();
            let left = PATIENCE.saturating_sub(passed);
            if left.is_zero() {
                let message = format!("Pod {name} was expected by PDB to be deleted but it wasn't");
                self.tell.push((Severity::Warning, "NotDeleted", message));
                continue;
            }
            self.wake_in = Some(self.wake_in.map_or(left, |other| other.min(left)));
            self.status.disrupted_pods.insert(name, since);
        }
    }
}

impl Status {
    fn say(&mut self, holds: bool, reason: &str, message: &str, generation: i64, now: Timestamp) {
        let status = if holds { "True" } else { "False" };
        let before = self.conditions.iter().find(|one| one["type"] == CONDITION);
        let since = before.filter(|one| one["status"] == status);
        let since = since.map_or_else(|| json!(Time(now)), |one| one["lastTransitionTime"].clone());
        self.conditions.retain(|one| one["type"] != CONDITION);
        self.conditions.push(json!({
            "type": CONDITION, "status": status, "reason": reason, "message": message,
            "observedGeneration": generation, "lastTransitionTime": since,
        }));
    }
}

/// How many pods are expected, and how many have to be healthy.
fn wanted(
    budget: &Budget,
    pods: &[(&ObjectName, &PodView)],
    scale: Scale<'_>,
) -> Result<(i32, i32), String> {
    match budget.limit {
        Limit::None => Ok((0, 0)),
        // Pods of their own are counted as they are.
        Limit::Available(Share::Count(count)) => Ok((number(pods.len()), count)),
        Limit::Available(share) => {
            let expected = expected(pods, scale)?;
            Ok((expected, share.rounded_up(expected)))
        }
        Limit::Unavailable(share) => {
            let expected = expected(pods, scale)?;
            Ok((expected, (expected - share.rounded_up(expected)).max(0)))
        }
    }
}

/// How many pods those who keep these pods want, all together. Pods that nobody keeps are left out.
fn expected(pods: &[(&ObjectName, &PodView)], scale: Scale<'_>) -> Result<i32, String> {
    let mut known = BTreeMap::new();
    let mut looked_at = BTreeSet::new();
    for (_, pod) in pods {
        let Some(controller) = &pod.facts.controller else {
            continue;
        };
        if looked_at.insert(&controller.uid)
            && let Some((uid, count)) = scale(controller)?
        {
            known.insert(uid, count);
        }
    }
    Ok(known.values().sum())
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Whether a budget could care for what has changed of a pod.
pub fn differ(before: &PodView, after: &PodView) -> bool {
    let seen = |pod: &PodView| -> (bool, bool, Phase) {
        (pod.deleting, pod.facts.is_ready(), pod.facts.phase)
    };
    seen(before) != seen(after)
        || before.facts.labels != after.facts.labels
        || before.facts.controller != after.facts.controller
}
