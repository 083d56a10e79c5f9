//! PodDisruptionBudgets: whom they concern, and their plans, carried out.
//!
//! A budget counts all its pods at each change of one of them, so changes that come together are
//! counted together, a moment later.

use std::time::{Duration, Instant};

use sealane_objects::ObjectName;

use super::budget;
use super::head::status_change;
use super::{Workloads, key};
use crate::action::{About, Action, Key, Kind, Part};
use crate::facts::Controller;
use crate::view::PodView;

/// How long changes are gathered.
const GATHER: Duration = Duration::from_millis(20);
/// When those are asked again who could not say how many pods they keep.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Whether a watch shows how many pods it keeps; others have to be asked.
fn is_watched(keeper: &Controller) -> bool {
    matches!(
        (&*keeper.api_version, &*keeper.kind),
        ("apps/v1", "ReplicaSet" | "StatefulSet") | ("v1", "ReplicationController")
    )
}

impl Workloads {
    pub(super) fn plan_budget(&mut self, key: &Key, now: Instant, actions: &mut Vec<Action>) {
        self.gathering.remove(key);
        let Some(budget) = self.budgets.get(&key.name).cloned() else {
            self.scales.forget(key);
            return;
        };
        if budget.head.deleting {
            return;
        }
        let wall = self.clock.wall(now);
        let namespace = &key.name.namespace;
        let pods = self.pods.in_namespace(namespace);
        let pods: Vec<_> = pods
            .filter(|(_, pod)| budget.selects(namespace, &pod.facts.labels))
            .collect();
        let keepers = pods
            .iter()
            .filter_map(|(_, pod)| pod.facts.controller.as_ref());
        let others = keepers.filter(|keeper| budget.asks_for_scale() && !is_watched(keeper));
        if !self.scales.ask(key, others, actions) {
            return;
        }
        let plan = {
            let scale = |controller: &Controller| self.scale(key, controller);
            budget::plan(&budget, &pods, &scale, wall)
        };
        if let Some(patch) = status_change(&budget.head, &budget.status, &plan.status)
            && let Some(action) = self.desk.patch_of(key, &budget.head, Part::Status, patch)
        {
            actions.push(action);
            let events = plan.tell.into_iter();
            actions.extend(events.map(|(severity, reason, message)| Action::Tell {
                about: About::of(&budget.head),
                severity,
                reason,
                message,
            }));
        }
        let again = self.scales.used(key).then_some(ASK_AGAIN);
        for wake_in in plan.wake_in.into_iter().chain(again) {
            self.desk.wake(now + wake_in, key);
        }
    }

    /// How many pods a controller wants, or who scales it; none if it is gone.
    fn scale(&self, by: &Key, controller: &Controller) -> Result<Option<(String, i32)>, String> {
        let namespace = &*by.name.namespace;
        if !is_watched(controller) {
            return self.scales.said(by, controller);
        }
        let name = ObjectName::new(namespace, &*controller.name);
        let is_it = |uid: &str| uid == controller.uid;
        match &*controller.kind {
            "ReplicaSet" => {
                let set = self.replica_sets.get(&name);
                let Some(set) = set.filter(|set| is_it(&set.head.uid)) else {
                    return Ok(None);
                };
                let owner = set.head.controller.as_ref();
                let deployment = owner.and_then(|owner| {
                    let name = ObjectName::new(namespace, &*owner.name);
                    let found = self.deployments.get(&name)?;
                    (found.head.uid == owner.uid).then_some(found)
                });
                Ok(Some(match deployment {
                    Some(deployment) => (deployment.head.uid.clone(), deployment.replicas),
                    None => (set.head.uid.clone(), set.replicas),
                }))
            }
            "ReplicationController" => {
                let set = self.controllers.get(&name);
                let set = set.filter(|set| is_it(&set.head.uid));
                Ok(set.map(|set| (set.head.uid.clone(), set.replicas)))
            }
            _ => {
                let set = self.stateful_sets.get(&name);
                let set = set.filter(|set| is_it(&set.head.uid));
                Ok(set.map(|set| (set.head.uid.clone(), set.replicas)))
            }
        }
    }

    /// Budgets that select a pod, before its change or after it.
    pub(super) fn pod_concerns_budgets(
        &mut self,
        namespace: &str,
        before: Option<&PodView>,
        after: Option<&PodView>,
    ) {
        let same = before
            .zip(after)
            .is_some_and(|(a, b)| !budget::differ(a, b));
        if self.budgets.is_empty() || same {
            return;
        }
        let selected = |pod: &PodView| pod.facts.labels.clone();
        let labels: Vec<_> = before.into_iter().chain(after).map(selected).collect();
        let theirs = self.budgets.values().filter(|budget| {
            let mut labels = labels.iter();
            labels.any(|labels| budget.selects(namespace, labels))
        });
        let theirs: Vec<Key> = theirs.map(|budget| key(&budget.head)).collect();
        theirs.into_iter().for_each(|key| self.gather(key));
    }

    /// All budgets of a namespace: the number of pods that somebody wants may have changed.
    pub(super) fn concern_budgets(&mut self, namespace: &str) {
        let theirs = self.budgets.values();
        let theirs = theirs.filter(|budget| budget.head.name.namespace == namespace);
        let theirs: Vec<Key> = theirs.map(|budget| key(&budget.head)).collect();
        theirs.into_iter().for_each(|key| self.gather(key));
    }

    fn gather(&mut self, key: Key) {
        debug_assert_eq!(key.kind, Kind::PodDisruptionBudget);
        if let Some(now) = self.desk.now()
            && self.gathering.insert(key.clone())
        {
            self.desk.wake(now + GATHER, &key);
        }
    }
}
