//! StatefulSets: pods with names that stay, one after the other.
//!
//! ```text
//!  for each ordinal, from the lowest:   ended -> delete;  missing -> create;  (ordered) not available -> wait
//!  for each pod too many, from the highest:   (ordered) its predecessors not healthy -> wait;  delete
//!  for each ordinal, from the highest to the partition:   old revision -> delete;  not healthy -> wait
//! ```
//!
//! With `podManagementPolicy: Parallel` the first two do not wait. With
//! `maxUnavailable` the third deletes as many at once as may be missing. Numbers and
//! order are those of kube-controller-manager's stateful set control. A claim
//! template never gets here: the API server refuses it, as there are no
//! persistent volumes.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::deployment::Share;
use super::head::{Condition, Head, is_zero};
use super::replica_set::take;
use super::revision::{HASH_LABEL, Revision};
use sealane_objects::Selector;

use crate::action::Kind;
use crate::facts::Phase;
use crate::view::PodView;

/// A StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub struct StatefulSet {
    pub head: Head,
    pub replicas: i32,
    pub selector: Selector,
    pub template: Value,
    pub service_name: String,
    /// One pod after the other, or all at once.
    pub ordered: bool,
    /// Ordinals from here on are updated; none: pods are updated when somebody deletes them.
    pub partition: Option<i32>,
    /// How many pods may be missing in an update; none: one after the other.
    pub max_unavailable: Option<Share>,
    pub start: i32,
    pub min_ready: Duration,
    pub history: usize,
    pub status: Status,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    pub replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub ready_replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub current_replicas: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub updated_replicas: i32,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_revision: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub update_revision: String,
    pub available_replicas: i32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    replicas: Option<i32>,
    selector: Selector,
    template: Value,
    service_name: String,
    pod_management_policy: String,
    update_strategy: Value,
    ordinals: Value,
    min_ready_seconds: u64,
    revision_history_limit: Option<usize>,
}

impl StatefulSet {
    pub fn of(mut object: DynamicObject) -> Self {
        let spec: Spec = take(&mut object.data, "spec");
        let number = |value: &Value| value.as_i64().and_then(|n| i32::try_from(n).ok());
        let strategy = &spec.update_strategy;
        let partition = number(&strategy["rollingUpdate"]["partition"]).unwrap_or(0);
        Self {
            replicas: spec.replicas.unwrap_or(1),
            selector: spec.selector,
            service_name: spec.service_name,
            ordered: spec.pod_management_policy != "Parallel",
            max_unavailable: Share::of(&strategy["rollingUpdate"]["maxUnavailable"]),
            partition: (strategy["type"] != "OnDelete").then_some(partition),
            start: number(&spec.ordinals["start"]).unwrap_or(0),
            min_ready: Duration::from_secs(spec.min_ready_seconds),
            history: spec.revision_history_limit.unwrap_or(10),
            template: spec.template,
            status: take(&mut object.data, "status"),
            head: Head::of(Kind::StatefulSet, object.metadata),
        }
    }

    /// The ordinal in the name of one of its pods.
    pub fn ordinal(&self, pod: &str) -> Option<i32> {
        let ordinal = pod.strip_prefix(&*self.head.name.name)?.strip_prefix('-')?;
        ordinal.parse().ok().filter(|_| !ordinal.starts_with('+'))
    }

    pub fn pod_name(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.head.name.name)
    }

    /// The template of the pod of an ordinal, at a revision.
    pub fn template_of(&self, ordinal: i32, revision: &Revision) -> Value {
        let name = self.pod_name(ordinal);
        let mut template = revision.template.clone();
        let labels = &mut template["metadata"]["labels"];
        labels["statefulset.kubernetes.io/pod-name"] = json!(name);
        labels["apps.kubernetes.io/pod-index"] = json!(ordinal.to_string());
        labels[HASH_LABEL] = json!(revision.name());
        template["spec"]["hostname"] = json!(name);
        template["spec"]["subdomain"] = json!(self.service_name);
        template
    }
}

/// What is to be done for a StatefulSet.
#[derive(Debug, Default, PartialEq)]
pub struct Plan<'a> {
    /// Ordinals, and whether their pods are made from the update revision or from the current one.
    pub create: Vec<(i32, Which)>,
    pub delete: Vec<&'a PodView>,
    pub status: Status,
    pub wake_in: Option<Duration>,
}

/// One of the two revisions that a rollout leads from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Current,
    Update,
}

/// Decides for one set. `pods` are its own, by ordinal.
pub fn plan<'a>(
    set: &StatefulSet,
    pods: &BTreeMap<i32, &'a PodView>,
    (current, update): (&Revision, &Revision),
    now: Timestamp,
) -> Plan<'a> {
    let mut plan = Plan {
        status: status(set, pods, (current, update), now),
        ..Plan::default()
    };
    let waits = pods
        .values()
        .filter_map(|pod| pod.facts.available_in(set.min_ready, now));
    plan.wake_in = waits.filter(|wait| !wait.is_zero()).min();
    if !set.head.deleting {
        Decision {
            set,
            pods,
            update,
            now,
            plan: &mut plan,
        }
        .decide();
    }
    plan
}

struct Decision<'a, 'p> {
    set: &'p StatefulSet,
    pods: &'p BTreeMap<i32, &'a PodView>,
    update: &'p Revision,
    now: Timestamp,
    plan: &'p mut Plan<'a>,
}

/// Whether the next thing may be done at once.
#[derive(PartialEq, Eq)]
enum Go {
    On,
    Wait,
}

impl Decision<'_, '_> {
    fn decide(&mut self) {
        if self.fill() == Go::On && self.shrink() == Go::On {
            self.roll();
        }
    }

    fn wanted(&self) -> std::ops::Range<i32> {
        self.set.start..self.set.start + self.set.replicas
    }

    fn is_available(&self, pod: &PodView) -> bool {
        pod.facts.phase == Phase::Running && pod.facts.is_available(self.set.min_ready, self.now)
    }

    fn is_healthy(&self, pod: &PodView) -> bool {
        pod.facts.phase == Phase::Running && pod.facts.is_ready() && !pod.deleting
    }

    /// Every ordinal has a pod.
    fn fill(&mut self) -> Go {
        for ordinal in self.wanted() {
            let Some(pod) = self.pods.get(&ordinal).copied() else {
                let which = self.which(ordinal);
                self.plan.create.push((ordinal, which));
                if self.set.ordered {
                    return Go::Wait;
                }
                continue;
            };
            if pod.facts.is_finished() {
                if !pod.deleting {
                    self.plan.delete.push(pod);
                }
                if self.set.ordered {
                    return Go::Wait;
                }
            } else if self.set.ordered && (pod.deleting || !self.is_available(pod)) {
                return Go::Wait;
            }
        }
        Go::On
    }

    fn which(&self, ordinal: i32) -> Which {
        match self.set.partition {
            Some(partition) if ordinal < self.set.start + partition => Which::Current,
            _ => Which::Update,
        }
    }

    /// Ordinals beyond the number asked for go, the highest first.
    fn shrink(&mut self) -> Go {
        let wanted = self.wanted();
        let surplus = self.pods.iter().rev().filter(|(o, _)| !wanted.contains(o));
        let surplus: Vec<_> = surplus.map(|(_, pod)| *pod).collect();
        let first_unhealthy = self.first_unhealthy(&surplus);
        for pod in surplus {
            if pod.deleting {
                if self.set.ordered {
                    return Go::Wait;
                }
                continue;
            }
            let others = first_unhealthy.as_deref().is_some_and(|uid| uid != pod.uid);
            if self.set.ordered && !self.is_healthy(pod) && others {
                return Go::Wait;
            }
            self.plan.delete.push(pod);
            if self.set.ordered {
                return Go::Wait;
            }
        }
        Go::On
    }

    /// The unhealthy pod with the lowest ordinal.
    fn first_unhealthy(&self, surplus: &[&PodView]) -> Option<String> {
        let wanted = self
            .wanted()
            .filter_map(|ordinal| self.pods.get(&ordinal).copied());
        let mut all = wanted.chain(surplus.iter().rev().copied());
        all.find(|pod| !self.is_healthy(pod))
            .map(|pod| pod.uid.clone())
    }

    /// Pods of an old revision go, the highest ordinal first, one at a time.
    fn roll(&mut self) {
        let Some(partition) = self.set.partition else {
            return;
        };
        if let Some(share) = self.set.max_unavailable {
            return self.roll_together(partition, share);
        }
        for ordinal in self.wanted().rev() {
            if ordinal < self.set.start + partition {
                return;
            }
            let Some(pod) = self.pods.get(&ordinal).copied() else {
                return;
            };
            if revision_of(pod) != self.update.name() && !pod.deleting {
                if !self.plan.delete.contains(&pod) {
                    self.plan.delete.push(pod);
                }
                return;
            }
            if !self.is_healthy(pod) {
                return;
            }
        }
    }
}

impl Decision<'_, '_> {
    /// As many pods of an old revision go together as may be missing, the highest ordinals first.
    fn roll_together(&mut self, partition: i32, share: Share) {
        let most = share.rounded_down(self.set.replicas).max(1);
        let is_well = |pod: &&PodView| !pod.deleting && self.is_available(pod);
        let there = self
            .wanted()
            .filter_map(|ordinal| self.pods.get(&ordinal).copied());
        let well = there.filter(is_well).count();
        let missing = self.wanted().len().saturating_sub(well);
        let room = usize::try_from(most).unwrap_or(0).saturating_sub(missing);
        let old = self.wanted().rev();
        let old = old.take_while(|ordinal| *ordinal >= self.set.start + partition);
        let old = old.filter_map(|ordinal| self.pods.get(&ordinal).copied());
        let old = old.filter(|pod| revision_of(pod) != self.update.name() && !pod.deleting);
        let going: Vec<_> = old.take(room).collect();
        for pod in going {
            if !self.plan.delete.contains(&pod) {
                self.plan.delete.push(pod);
            }
        }
    }
}

fn revision_of(pod: &PodView) -> &str {
    pod.facts.labels.get(HASH_LABEL).map_or("", |hash| hash)
}

fn status(
    set: &StatefulSet,
    pods: &BTreeMap<i32, &PodView>,
    (current, update): (&Revision, &Revision),
    now: Timestamp,
) -> Status {
    let count = |holds: &dyn Fn(&PodView) -> bool| {
        let holds = pods.values().filter(|pod| holds(pod));
        i32::try_from(holds.count()).unwrap_or(i32::MAX)
    };
    let at =
        |pod: &PodView, revision: &Revision| !pod.deleting && revision_of(pod) == revision.name();
    let running = |pod: &PodView| pod.facts.phase == Phase::Running && pod.facts.is_ready();
    let mut status = Status {
        observed_generation: set.head.generation,
        replicas: count(&|_| true),
        ready_replicas: count(&running),
        available_replicas: count(&|pod| {
            running(pod) && pod.facts.is_available(set.min_ready, now)
        }),
        current_replicas: count(&|pod| at(pod, current)),
        updated_replicas: count(&|pod| at(pod, update)),
        current_revision: current.name().to_owned(),
        update_revision: update.name().to_owned(),
        conditions: set.status.conditions.clone(),
        collision_count: set.status.collision_count,
    };
    let updated =
        status.updated_replicas == status.replicas && status.ready_replicas == status.replicas;
    if set.partition.is_some() && updated && status.replicas == set.replicas {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    status
}
