//! Controllers of what keeps pods: ReplicationController, ReplicaSet, Deployment.
//!
//! ```text
//!  news ──> mirrors ──> whom it concerns ──> plan of each (pure) ──> desk ──> requests
//!                            ^                                        │
//!                            └──────── timers, ended requests <───────┘
//! ```
//!
//! A plan is made from an object, its children and the time, and nothing else:
//! [`replica_set::plan`], [`rollout::step`], [`progress::status`]. The
//! [`desk`] remembers what has been asked for and not been seen, so that
//! nothing is asked for twice. Nothing polls: who waits for a time has a timer.

mod deployment;
pub mod desk;
pub mod head;
pub mod news;
pub mod pod;
mod pods;
mod progress;
pub mod replica_set;
mod rollout;
pub mod selector;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use sealane_kube::events::Severity;
use sealane_kube::{Change, Mirror};
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use crate::action::{About, Action, Controller, Input, Key, Kind, Outcome, Part};
use crate::view::PodView;
use deployment::Deployment;
use desk::Desk;
use head::{Head, status_patch};
use news::News;
use pod::Names;
use pods::Pods;
use progress::Happened;
use replica_set::ReplicaSet;
use rollout::{SetChange, Sets, Step};
use selector::Selector;

/// Kinds that are looked after here.
const WORKLOADS: [Kind; 3] = [
    Kind::ReplicationController,
    Kind::ReplicaSet,
    Kind::Deployment,
];

/// The controllers of workloads.
pub struct Workloads {
    clock: Clock,
    names: Names,
    pods: Pods,
    replica_sets: Mirror<Arc<ReplicaSet>>,
    controllers: Mirror<Arc<ReplicaSet>>,
    deployments: Mirror<Arc<Deployment>>,
    desk: Desk,
    /// What is to be said of ReplicaSets when their change is done.
    announcements: HashMap<ObjectName, String>,
    /// Whose plan has to be made anew.
    concerned: BTreeSet<Key>,
}

/// The time of the wall at the time of the steady clock.
struct Clock {
    steady: Instant,
    wall: Timestamp,
}

impl Clock {
    fn wall(&self, now: Instant) -> Timestamp {
        let passed = now.saturating_duration_since(self.steady);
        self.wall.saturating_add(passed).unwrap_or(self.wall)
    }
}

impl Workloads {
    /// `wall` is the time now, `seed` makes names differ from those of other runs.
    pub fn new(now: Instant, wall: Timestamp, seed: u64) -> Self {
        Self {
            clock: Clock { steady: now, wall },
            names: Names::new(seed),
            pods: Pods::default(),
            replica_sets: Mirror::default(),
            controllers: Mirror::default(),
            deployments: Mirror::default(),
            desk: Desk::default(),
            announcements: HashMap::new(),
            concerned: BTreeSet::new(),
        }
    }

    /// Before all is known, what is not known is not absent.
    fn is_synced(&self) -> bool {
        self.pods.is_synced()
            && self.replica_sets.is_synced()
            && self.controllers.is_synced()
            && self.deployments.is_synced()
    }

    fn pods_changed(&mut self, change: &Change<PodView>) {
        match change {
            Change::Reset(all) => {
                self.pods.reset(all);
                for (name, pod) in all {
                    self.desk.seen(Kind::Pod, name, &pod.uid, pod.deleting);
                }
                self.concern_all();
            }
            Change::Applied(name, pod) => {
                let waited = self.desk.seen(Kind::Pod, name, &pod.uid, pod.deleting);
                self.concerned.extend(waited);
                let before = self.pods.insert(name, pod);
                self.pod_concerns(&name.namespace, before.as_ref());
                self.pod_concerns(&name.namespace, Some(pod));
            }
            Change::Deleted(name, pod) => {
                self.concerned.extend(self.desk.gone(Kind::Pod, name));
                self.pods.remove(name);
                self.pod_concerns(&name.namespace, Some(pod));
                self.pod_concerns_deployment(&name.namespace, pod);
            }
        }
    }

    /// Who keeps a pod is concerned; a pod that nobody keeps may be anybody's.
    fn pod_concerns(&mut self, namespace: &str, pod: Option<&PodView>) {
        let Some(pod) = pod else { return };
        if let Some(controller) = &pod.facts.controller {
            let kind = match &*controller.kind {
                "ReplicaSet" => Kind::ReplicaSet,
                "ReplicationController" => Kind::ReplicationController,
                _ => return,
            };
            let name = ObjectName::new(namespace, &controller.name);
            self.concerned.insert(Key { kind, name });
            return;
        }
        let sets = self.replica_sets.values().chain(self.controllers.values());
        let theirs = sets.filter(|set| {
            set.head.name.namespace == namespace && set.selector.matches(&pod.facts.labels)
        });
        self.concerned.extend(theirs.map(|set| key(&set.head)));
    }

    /// A Deployment that recreates waits for the end of its old pods.
    fn pod_concerns_deployment(&mut self, namespace: &str, pod: &PodView) {
        let Some(controller) = &pod.facts.controller else {
            return;
        };
        let set = ObjectName::new(namespace, &controller.name);
        if let Some(set) = self.replica_sets.get(&set) {
            self.concerned.extend(owner_of(&set.head));
        }
    }

    fn sets_changed(&mut self, kind: Kind, change: &Change<Arc<ReplicaSet>>) {
        let mirror = match kind {
            Kind::ReplicaSet => &mut self.replica_sets,
            _ => &mut self.controllers,
        };
        match change {
            Change::Reset(all) => {
                mirror.apply(change.clone());
                for (name, set) in all {
                    self.desk.seen(kind, name, &set.head.uid, set.head.deleting);
                }
                self.concern_all();
            }
            Change::Applied(name, set) => {
                let before = mirror.get(name).cloned();
                mirror.apply(change.clone());
                let head = &set.head;
                let waited = self.desk.seen(kind, name, &head.uid, head.deleting);
                self.concerned.extend(waited);
                if let Some(before) = before {
                    self.concerned.extend(owner_of(&before.head));
                }
                self.set_concerns(set);
                self.concerned.insert(key(head));
            }
            Change::Deleted(name, set) => {
                mirror.apply(change.clone());
                self.concerned.extend(self.desk.gone(kind, name));
                self.desk.forget(&key(&set.head));
                self.concerned.extend(owner_of(&set.head));
            }
        }
    }

    /// A ReplicaSet concerns its Deployment; one that nobody keeps may be anybody's.
    fn set_concerns(&mut self, set: &ReplicaSet) {
        if set.head.controller.is_some() {
            self.concerned.extend(owner_of(&set.head));
            return;
        }
        let theirs = self.deployments.values().filter(|deployment| {
            deployment.head.name.namespace == set.head.name.namespace
                && deployment.selector.matches(&set.head.labels)
        });
        self.concerned
            .extend(theirs.map(|deployment| key(&deployment.head)));
    }

    fn deployments_changed(&mut self, change: &Change<Arc<Deployment>>) {
        self.deployments.apply(change.clone());
        match change {
            Change::Reset(_) => self.concern_all(),
            Change::Applied(_, deployment) => drop(self.concerned.insert(key(&deployment.head))),
            Change::Deleted(name, deployment) => {
                self.desk.gone(Kind::Deployment, name);
                self.desk.forget(&key(&deployment.head));
            }
        }
    }

    fn concern_all(&mut self) {
        let sets = self.replica_sets.values().chain(self.controllers.values());
        let sets = sets.map(|set| key(&set.head));
        let deployments = self.deployments.values().map(|d| key(&d.head));
        self.concerned.extend(sets.chain(deployments));
    }

    fn ended(
        &mut self,
        action: &Action,
        outcome: &Outcome,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let (Action::Create { by, .. } | Action::Patch { by, .. } | Action::Delete { by, .. }) =
            action
        else {
            return;
        };
        if !WORKLOADS.contains(&by.kind) {
            return; // Somebody else's.
        }
        self.desk.ended(action, outcome, now);
        if let Action::Create {
            kind: Kind::Pod,
            name,
            ..
        } = action
            && *outcome == Outcome::Outdated
            && self.pods.get(name).is_some()
        {
            // The name is somebody else's: the next try has another.
            self.desk.gone(Kind::Pod, name);
        }
        let announced = self.announce(by, action, outcome);
        actions.extend(announced.or_else(|| self.tell(by, action, outcome)));
        self.concerned.insert(by.clone());
    }

    /// A Deployment says how it scales its ReplicaSets, once that is done.
    fn announce(&mut self, by: &Key, action: &Action, outcome: &Outcome) -> Option<Action> {
        let (Action::Create { kind, name, .. } | Action::Patch { kind, name, .. }) = action else {
            return None;
        };
        if by.kind != Kind::Deployment || *kind != Kind::ReplicaSet {
            return None;
        }
        let message = self.announcements.remove(name)?;
        let head = self.head(by).filter(|_| *outcome == Outcome::Done)?;
        Some(tell(head, "ScalingReplicaSet", message))
    }

    /// The Events that Kubernetes' controllers record of pods that they make and delete.
    fn tell(&self, by: &Key, action: &Action, outcome: &Outcome) -> Option<Action> {
        let about = About::Object {
            kind: by.kind,
            name: by.name.clone(),
            uid: self.head(by)?.uid.clone(),
        };
        let (severity, reason, message) = match (action, outcome) {
            (
                Action::Create {
                    kind: Kind::Pod,
                    name,
                    ..
                },
                Outcome::Done,
            ) => (
                Severity::Normal,
                "SuccessfulCreate",
                format!("Created pod: {}", name.name),
            ),
            (
                Action::Delete {
                    kind: Kind::Pod,
                    name,
                    ..
                },
                Outcome::Done,
            ) => (
                Severity::Normal,
                "SuccessfulDelete",
                format!("Deleted pod: {}", name.name),
            ),
            (Action::Create { .. }, Outcome::Refused(why)) => (
                Severity::Warning,
                match by.kind {
                    Kind::Deployment => "ReplicaSetCreateError",
                    _ => "FailedCreate",
                },
                format!("Error creating: {why}"),
            ),
            (Action::Delete { .. }, Outcome::Refused(why)) => (
                Severity::Warning,
                "FailedDelete",
                format!("Error deleting: {why}"),
            ),
            _ => return None,
        };
        Some(Action::Tell {
            about,
            severity,
            reason,
            message,
        })
    }

    fn head(&self, key: &Key) -> Option<&Head> {
        match key.kind {
            Kind::Deployment => self.deployments.get(&key.name).map(|d| &d.head),
            _ => self.set(key).map(|set| &set.head),
        }
    }

    fn set(&self, key: &Key) -> Option<&Arc<ReplicaSet>> {
        match key.kind {
            Kind::ReplicaSet => self.replica_sets.get(&key.name),
            Kind::ReplicationController => self.controllers.get(&key.name),
            _ => None,
        }
    }

    fn plan_all(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some(key) = self.concerned.pop_first() {
            match key.kind {
                Kind::ReplicaSet | Kind::ReplicationController => self.plan_set(&key, now, actions),
                Kind::Deployment => self.plan_deployment(&key, now, actions),
                _ => {}
            }
        }
    }

    fn plan_set(&mut self, key: &Key, now: Instant, actions: &mut Vec<Action>) {
        let Some(set) = self.set(key).cloned() else {
            return;
        };
        self.claim_pods(key, &set.head, &set.selector, actions);
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
    fn claim_pods(
        &mut self,
        key: &Key,
        head: &Head,
        selector: &Selector,
        actions: &mut Vec<Action>,
    ) {
        let mut claims = Vec::new();
        for (name, pod) in self.pods.of_owner(&head.uid) {
            if replica_set::is_active(pod) && !selector.matches(&pod.facts.labels) {
                let release = json!({"$patch": "delete", "uid": head.uid});
                claims.push((name.clone(), pod, release));
            }
        }
        if !head.deleting && !selector.is_empty() {
            for (name, pod) in self.pods.loose_in(&head.name.namespace) {
                if replica_set::is_active(pod) && selector.matches(&pod.facts.labels) {
                    claims.push((name.clone(), pod, head.reference()));
                }
            }
        }
        for (name, pod, reference) in claims {
            let patch = json!({"metadata": {"uid": pod.uid, "ownerReferences": [reference]}});
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

    fn plan_deployment(&mut self, key: &Key, now: Instant, actions: &mut Vec<Action>) {
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

impl Controller for Workloads {
    fn handle(&mut self, input: &Input, now: Instant, actions: &mut Vec<Action>) {
        self.desk.set_now(now);
        match input {
            Input::Pods(change) => self.pods_changed(change),
            Input::Workloads(News::ReplicaSets(change)) => {
                self.sets_changed(Kind::ReplicaSet, change);
            }
            Input::Workloads(News::Controllers(change)) => {
                self.sets_changed(Kind::ReplicationController, change);
            }
            Input::Workloads(News::Deployments(change)) => self.deployments_changed(change),
            Input::Ended(action, outcome) => self.ended(action, outcome, now, actions),
            Input::Tick => {
                let due = self.desk.due(now);
                self.concerned.extend(due);
            }
            Input::Workloads(News::Services(_) | News::Slices(_) | News::Endpoints(_))
            | Input::Nodes(_)
            | Input::Leases(_) => {}
        }
        if self.is_synced() {
            self.plan_all(now, actions);
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.desk.wake_at()
    }

    fn state(&self, _now: Instant) -> Value {
        json!({
            "synced": self.is_synced(),
            "pods": self.pods.len(),
            "replicaSets": self.replica_sets.len(),
            "replicationControllers": self.controllers.len(),
            "deployments": self.deployments.len(),
            "desk": self.desk.state(),
        })
    }
}

fn key(head: &Head) -> Key {
    Key {
        kind: head.kind,
        name: head.name.clone(),
    }
}

/// The Deployment that keeps a ReplicaSet.
fn owner_of(head: &Head) -> Option<Key> {
    let controller = head.controller.as_ref()?;
    (controller.kind == "Deployment").then(|| Key {
        kind: Kind::Deployment,
        name: ObjectName::new(&*head.name.namespace, &*controller.name),
    })
}

fn tell(head: &Head, reason: &'static str, message: String) -> Action {
    Action::Tell {
        about: About::Object {
            kind: head.kind,
            name: head.name.clone(),
            uid: head.uid.clone(),
        },
        severity: Severity::Normal,
        reason,
        message,
    }
}
