//! Deployments: their plans, carried out.

use std::time::Instant;

use sealane_objects::ObjectName;
use serde_json::json;

use super::Workloads;
use super::deployment::{self, Deployment};
use super::head::status_patch;
use super::progress::{self, Happened};
use super::rollout::{self, SetChange, Sets, Step};
use crate::action::{Action, Key, Kind, Part};

impl Workloads {
    pub(super) fn plan_deployment(&mut self, key: &Key, now: Instant, actions: &mut Vec<Action>) {
        let Some(deployment) = self.deployments.get(&key.name).cloned() else {
            return;
        };
        if deployment.selector.is_empty() || self.desk.is_busy(key) {
            return; // The answers bring it back here.
        }
        let rests = self.desk.rests(key, now);
        self.claim_sets(key, &deployment, actions);
        if self.desk.creating(key, Kind::ReplicaSet).next().is_some() {
            return; // The watch will show it.
        }
        let own: Vec<_> = self
            .replica_sets
            .values()
            .filter(|set| set.head.is_controlled_by(&deployment.head.uid))
            .filter(|set| deployment.selector.matches(&set.head.labels))
            .cloned()
            .collect();
        let sets = Sets::of(&deployment, own);
        let old_pods = self.old_pods(&sets);
        let mut step = rollout::step(&deployment, &sets, old_pods);
        if rests {
            step = Step::default();
        }
        self.take_step(key, &deployment, &sets, step, now, actions);
    }

    /// Whether pods of old ReplicaSets are there that have not ended.
    fn old_pods(&self, sets: &Sets) -> bool {
        let mut pods = sets
            .old
            .iter()
            .flat_map(|set| self.pods.of_owner(&set.head.uid));
        pods.any(|(_, pod)| !pod.facts.is_finished())
            || sets.old.iter().any(|set| set.status.replicas > 0)
    }

    fn claim_sets(&mut self, key: &Key, deployment: &Deployment, actions: &mut Vec<Action>) {
        let head = &deployment.head;
        for set in self.replica_sets.values() {
            if set.head.name.namespace != head.name.namespace || set.head.deleting {
                continue;
            }
            let matches = deployment.selector.matches(&set.head.labels);
            let reference = if set.head.is_controlled_by(&head.uid) && !matches {
                json!({"$patch": "delete", "uid": head.uid})
            } else if set.head.controller.is_none() && matches && !head.deleting {
                head.reference()
            } else {
                continue;
            };
            let patch = json!({"metadata": {"uid": set.head.uid, "ownerReferences": [reference]}});
            actions.extend(self.desk.patch_of(key, &set.head, Part::Owners, patch));
        }
    }

    fn take_step(
        &mut self,
        key: &Key,
        deployment: &Deployment,
        sets: &Sets,
        step: Step,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let makes = step.create.as_ref();
        let makes = makes.and_then(|set| set["metadata"]["name"].as_str().map(str::to_owned));
        let named = makes
            .as_ref()
            .map(|name| ObjectName::new(&*key.name.namespace, name));
        let collides = named
            .as_ref()
            .is_some_and(|name| self.replica_sets.get(name).is_some());
        let failure = self.desk.failure(key);
        let failure = failure.map(|(_, message)| message.to_owned());
        let happened = Happened {
            makes: makes.as_deref().filter(|_| !collides),
            failure: failure.as_deref(),
            collides,
        };
        let (status, wake_in) = progress::status(deployment, sets, happened, self.clock.wall(now));
        if let (Some(name), Some(set), false) = (named, step.create, collides) {
            let size = set["spec"]["replicas"].as_i64().unwrap_or(0);
            if size > 0 {
                let message = format!("Scaled up replica set {} from 0 to {size}", name.name);
                self.announcements.insert(name.clone(), message);
            }
            actions.push(self.desk.create(key, Kind::ReplicaSet, name, set));
        }
        for change in step.changes {
            self.change_set(key, change, actions);
        }
        for set in step.remove {
            let head = &set.head;
            if !self.desk.is_deleting(head.kind, &head.name, &head.uid) {
                actions.push(self.desk.delete(key, head.kind, &head.name, &head.uid));
            }
        }
        let mut patches = Vec::new();
        if let Some(revision) = step.revision {
            let annotations = json!({deployment::REVISION: revision});
            let meta = json!({"uid": deployment.head.uid, "annotations": annotations});
            patches.push((Part::Object, json!({"metadata": meta})));
        }
        if let Some(patch) = status_patch(&deployment.head, &deployment.status, &status) {
            patches.push((Part::Status, patch));
        }
        // One at a time: the next one follows when the first is seen.
        if let Some((part, patch)) = patches.into_iter().next() {
            actions.extend(self.desk.patch_of(key, &deployment.head, part, patch));
        }
        if let Some(wake_in) = wake_in {
            self.desk.wake(now + wake_in, key);
        }
    }

    fn change_set(&mut self, key: &Key, change: SetChange, actions: &mut Vec<Action>) {
        let set = &change.set.head;
        let Some(action) = self.desk.patch_of(key, set, Part::Object, change.patch) else {
            return;
        };
        if let Some((from, to)) = change.scales {
            let direction = if to > from { "up" } else { "down" };
            let name = &set.name.name;
            let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
            self.announcements.insert(set.name.clone(), message);
        }
        actions.push(action);
    }
}
