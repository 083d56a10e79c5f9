//! ReplicaSets and ReplicationControllers: their plans, carried out.

use std::collections::HashMap;
use std::time::Instant;

use sealane_objects::{ObjectName, Selector};
use serde_json::{Value, json};

use super::head::{Head, status_patch};
use super::jobs::with_tracking;
use super::replica_set::{self, ReplicaSet};
use super::{Workloads, pod};
use crate::action::{Action, Key, Kind, Part};
use crate::view::PodView;

impl Workloads {
    pub(super) fn plan_set(&mut self, key: &Key, now: Instant, actions: &mut Vec<Action>) {
        let Some(set) = self.set(key).cloned() else {
            return;
        };
        self.claim_pods(key, &set.head, &set.selector, &|_| true, actions);
        let plan = {
            let known = self.pods_of(key, &set);
            let plan = replica_set::plan(&set, &known, self.clock.wall(now));
            let delete: Vec<_> = plan
                .delete
                .iter()
                .filter_map(|pod| Some((self.pods.name_of(&pod.uid)?.clone(), pod.uid.clone())))
                .collect();
            (plan.create, delete, plan.status, plan.wake_in)
        };
        let (mut create, mut delete, status, wake_in) = plan;
        if self.desk.rests(key, now) {
            create = 0;
            delete.clear();
        }
        for _ in 0..self.desk.batch(key, create) {
            let start = format!("{}-", key.name.name);
            let name = ObjectName::new(&*key.name.namespace, self.names.next(&start));
            let pod = pod::from_template(&set.template, &set.head, &name, Some(&start));
            actions.push(self.desk.create(key, Kind::Pod, name, pod));
        }
        for (name, uid) in delete {
            actions.push(self.desk.delete(key, Kind::Pod, &name, &uid));
        }
        if let Some(patch) = status_patch(&set.head, &set.status, &status) {
            actions.extend(self.desk.patch_of(key, &set.head, Part::Status, patch));
        }
        if let Some(wake_in) = wake_in {
            self.desk.wake(now + wake_in, key);
        }
    }

    /// Takes in pods that match and nobody keeps, lets go of those that match no more.
    pub(super) fn claim_pods(
        &mut self,
        key: &Key,
        head: &Head,
        selector: &Selector,
        fits: &dyn Fn(&ObjectName) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let metadata = |pod: &PodView, reference: Value, takes| {
            let metadata = json!({"uid": pod.uid, "ownerReferences": [reference]});
            with_tracking(key.kind, metadata, takes)
        };
        let mut claims = Vec::new();
        for (name, pod) in self.pods.of_owner(&head.uid) {
            if replica_set::is_active(pod) && !selector.matches(&pod.facts.labels) {
                let release = json!({"$patch": "delete", "uid": head.uid});
                claims.push((name.clone(), pod, metadata(pod, release, false)));
            }
        }
        if !head.deleting && !selector.is_empty() {
            for (name, pod) in self.pods.loose_in(&head.name.namespace) {
                if replica_set::is_active(pod) && selector.matches(&pod.facts.labels) && fits(name)
                {
                    let reference = metadata(pod, head.reference(), true);
                    claims.push((name.clone(), pod, reference));
                }
            }
        }
        for (name, pod, metadata) in claims {
            let patch = json!({ "metadata": metadata });
            let place = (Kind::Pod, &name, &*pod.version);
            actions.extend(self.desk.patch(key, place, Part::Owners, patch));
        }
    }

    fn pods_of(&self, key: &Key, set: &ReplicaSet) -> replica_set::Pods<'_> {
        let leaving =
            |name: &ObjectName, pod: &PodView| self.desk.is_deleting(Kind::Pod, name, &pod.uid);
        let own = self.pods.of_owner(&set.head.uid).filter(|(name, pod)| {
            replica_set::is_active(pod)
                && set.selector.matches(&pod.facts.labels)
                && !leaving(name, pod)
        });
        // What is being taken in counts already.
        let taken = self.pods.loose_in(&set.head.name.namespace);
        let taken = taken.filter(|(name, pod)| {
            replica_set::is_active(pod)
                && set.selector.matches(&pod.facts.labels)
                && self.desk.is_patching(key, Kind::Pod, name, &pod.version)
        });
        let active: Vec<_> = own.chain(taken).map(|(_, pod)| pod).collect();
        let wanted = usize::try_from(set.replicas).unwrap_or(0);
        let on_node = if active.len() > wanted {
            self.neighbours(set)
        } else {
            HashMap::new()
        };
        replica_set::Pods {
            creating: self.desk.creating(key, Kind::Pod).count(),
            active,
            on_node,
            failure: self.failure(key),
        }
    }

    fn failure(&self, key: &Key) -> Option<(&'static str, &str)> {
        self.desk.failure(key)
    }

    /// How many pods each node holds of all sets with the same owner.
    fn neighbours(&self, set: &ReplicaSet) -> HashMap<&str, usize> {
        let owner = set.head.controller.as_ref().map(|c| &c.uid);
        let siblings = self.replica_sets.values().filter(|other| {
            let related = owner.is_some_and(|uid| other.head.is_controlled_by(uid));
            related || other.head.uid == set.head.uid
        });
        let mut on_node = HashMap::new();
        for sibling in siblings {
            for (_, pod) in self.pods.of_owner(&sibling.head.uid) {
                if replica_set::is_active(pod)
                    && let Some(node) = &pod.node
                {
                    *on_node.entry(node.as_str()).or_insert(0) += 1;
                }
            }
        }
        on_node
    }
}
