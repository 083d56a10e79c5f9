//! StatefulSets and DaemonSets: their plans, carried out.
//!
//! Both make pods from a revision of their template, and both wait until what
//! they have asked for is seen before they ask for more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use sealane_objects::ObjectName;
use serde_json::{Value, json};

use super::head::{Head, status_patch};
use super::revision::{self, History, Revision};
use super::stateful_set::{self, StatefulSet, Which};
use super::{Workloads, daemon_set, pod};
use crate::action::{Action, Key, Kind, Part};
use crate::view::PodView;

impl Workloads {
    pub(super) fn plan_stateful_set(&mut self, key: &Key, now: Instant, actions: &mut Vec<Action>) {
        let Some(set) = self.stateful_sets.get(&key.name).cloned() else {
            return;
        };
        let named = |name: &ObjectName| set.ordinal(&name.name).is_some();
        self.claim_pods(key, &set.head, &set.selector, &named, actions);
        let collisions = set.status.collision_count;
        let Some((history, update)) =
            self.revision(key, &set.head, &set.template, collisions, actions)
        else {
            return;
        };
        let current = history
            .get(&set.status.current_revision)
            .unwrap_or(&update)
            .clone();
        let pods = self.by_ordinal(&set);
        let plan = stateful_set::plan(&set, &pods, (&current, &update), self.clock.wall(now));
        let used = |revision: &Revision| {
            let label = |pod: &&PodView| pod.facts.labels.get(revision::HASH_LABEL).cloned();
            let names = [current.name(), update.name()];
            names.contains(&revision.name())
                || pods
                    .values()
                    .any(|pod| label(pod).as_deref() == Some(revision.name()))
        };
        let surplus = history.surplus(set.history, used);
        let delete = self.names_of(&plan.delete);
        let create: Vec<_> = plan
            .create
            .iter()
            .map(|(ordinal, which)| {
                let revision = match which {
                    Which::Current => &current,
                    Which::Update => &update,
                };
                let name = ObjectName::new(&*key.name.namespace, set.pod_name(*ordinal));
                let template = set.template_of(*ordinal, revision);
                let pod = pod::from_template(&template, &set.head, &name, None);
                (name, pod)
            })
            .collect();
        let (status, wake_in) = (plan.status, plan.wake_in);
        self.change_pods(key, create, delete, now, actions);
        self.remove_revisions(key, surplus, actions);
        if let Some(patch) = status_patch(&set.head, &set.status, &status) {
            actions.extend(self.desk.patch_of(key, &set.head, Part::Status, patch));
        }
        if let Some(wake_in) = wake_in {
            self.desk.wake(now + wake_in, key);
        }
    }

    pub(super) fn plan_daemon_set(&mut self, key: &Key, now: Instant, actions: &mut Vec<Action>) {
        let Some(set) = self.daemon_sets.get(&key.name).cloned() else {
            return;
        };
        if set.selector.is_empty() {
            return;
        }
        self.claim_pods(key, &set.head, &set.selector, &|_| true, actions);
        let collisions = set.status.collision_count;
        let Some((history, update)) =
            self.revision(key, &set.head, &set.template, collisions, actions)
        else {
            return;
        };
        let pods: Vec<_> = self
            .pods
            .of_owner(&set.head.uid)
            .map(|(_, pod)| pod)
            .collect();
        let wall = self.clock.wall(now);
        let plan = daemon_set::plan(&set, &self.nodes, &pods, update.hash(), wall);
        let used = |revision: &Revision| {
            let made = |pod: &&PodView| {
                let hash = pod.facts.labels.get(revision::HASH_LABEL);
                hash.is_some_and(|hash| hash == revision.hash())
            };
            revision.name() == update.name() || pods.iter().any(made)
        };
        let surplus = history.surplus(set.history, used);
        let delete = self.names_of(&plan.delete);
        let (nodes, status, wake_in) = (plan.create, plan.status, plan.wake_in);
        let start = format!("{}-", key.name.name);
        let create: Vec<_> = nodes
            .iter()
            .map(|node| {
                let name = ObjectName::new(&*key.name.namespace, self.names.next(&start));
                let template = set.template_for(node, update.hash());
                let pod = pod::from_template(&template, &set.head, &name, Some(&start));
                (name, pod)
            })
            .collect();
        self.change_pods(key, create, delete, now, actions);
        self.remove_revisions(key, surplus, actions);
        if let Some(patch) = status_patch(&set.head, &set.status, &status) {
            actions.extend(self.desk.patch_of(key, &set.head, Part::Status, patch));
        }
        if let Some(wake_in) = wake_in {
            self.desk.wake(now + wake_in, key);
        }
    }

    fn by_ordinal(&self, set: &StatefulSet) -> BTreeMap<i32, &PodView> {
        let own = self.pods.of_owner(&set.head.uid);
        own.filter_map(|(name, pod)| Some((set.ordinal(&name.name)?, pod)))
            .collect()
    }

    pub(super) fn names_of(&self, pods: &[&PodView]) -> Vec<(ObjectName, String)> {
        let named = |pod: &&PodView| Some((self.pods.name_of(&pod.uid)?.clone(), pod.uid.clone()));
        pods.iter().filter_map(named).collect()
    }

    /// Makes and deletes pods, unless what was asked for before is still to be seen.
    fn change_pods(
        &mut self,
        key: &Key,
        create: Vec<(ObjectName, Value)>,
        delete: Vec<(ObjectName, String)>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if self.desk.is_waiting(key, Kind::Pod) || self.desk.rests(key, now) {
            return;
        }
        let free = create
            .into_iter()
            .filter(|(name, _)| self.pods.get(name).is_none());
        let free: Vec<_> = free.collect();
        let batch = self.desk.batch(key, free.len());
        for (name, pod) in free.into_iter().take(batch) {
            actions.push(self.desk.create(key, Kind::Pod, name, pod));
        }
        for (name, uid) in delete {
            actions.push(self.desk.delete(key, Kind::Pod, &name, &uid));
        }
    }

    /// The history of a template, and the revision that it has now; none while that is being made.
    fn revision(
        &mut self,
        key: &Key,
        head: &Head,
        template: &Value,
        collisions: Option<u32>,
        actions: &mut Vec<Action>,
    ) -> Option<(History, Arc<Revision>)> {
        let own = self
            .revisions
            .values()
            .filter(|r| r.head.is_controlled_by(&head.uid));
        let history = History::new(own.cloned().collect());
        let Some(found) = history.of_template(template).cloned() else {
            if !self.desk.is_waiting(key, Kind::ControllerRevision) {
                let name = self.free_revision_name(head, template, collisions.unwrap_or(0));
                let object = revision::object(head, template, &name.name, history.next());
                actions.push(
                    self.desk
                        .create(key, Kind::ControllerRevision, name, object),
                );
            }
            return None;
        };
        if !history.is_last(&found) {
            let patch = json!({
                "metadata": {"uid": found.head.uid, "resourceVersion": found.head.version},
                "revision": history.next(),
            });
            actions.extend(self.desk.patch_of(key, &found.head, Part::Object, patch));
        }
        Some((history, found))
    }

    /// The first name for a template that nobody else's revision has.
    fn free_revision_name(&self, head: &Head, template: &Value, collisions: u32) -> ObjectName {
        let named = |n| ObjectName::new(&*head.name.namespace, revision::name(head, template, n));
        let free = (collisions..)
            .map(named)
            .find(|name| self.revisions.get(name).is_none());
        free.unwrap_or_else(|| named(collisions))
    }

    fn remove_revisions(
        &mut self,
        key: &Key,
        surplus: Vec<Arc<Revision>>,
        actions: &mut Vec<Action>,
    ) {
        for revision in surplus {
            let head = &revision.head;
            if !self.desk.is_deleting(head.kind, &head.name, &head.uid) {
                actions.push(self.desk.delete(key, head.kind, &head.name, &head.uid));
            }
        }
    }
}
