//! Controllers of what keeps pods: ReplicationController, ReplicaSet,
//! Deployment, StatefulSet, DaemonSet.
//!
//! ```text
//!  news ──> mirrors ──> whom it concerns ──> plan of each (pure) ──> desk ──> requests
//!                            ^                                        │
//!                            └──────── timers, ended requests <───────┘
//! ```
//!
//! A plan is made from an object, its children and the time, and nothing else:
//! [`replica_set::plan`], [`rollout::step`], [`progress::status`],
//! [`stateful_set::plan`], [`daemon_set::plan`]. The [`desk`] remembers what has been asked for and not been seen, so that
//! nothing is asked for twice. Nothing polls: who waits for a time has a timer.

mod daemon_set;
mod deployment;
mod deployments;
pub mod desk;
pub mod head;
pub mod news;
pub mod pod;
mod pods;
mod progress;
pub mod replica_set;
mod revision;
mod rollout;
pub mod selector;
mod sets;
#[cfg(test)]
mod simulation;
mod stateful_set;
#[cfg(test)]
mod stateful_tests;
mod statefuls;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use sealane_kube::events::Severity;
use sealane_kube::{Change, Mirror};
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use crate::action::{About, Action, Controller, Input, Key, Kind, Outcome};
use crate::view::{NodeView, PodView};
pub use daemon_set::DaemonSet;
use deployment::Deployment;
use desk::Desk;
use head::Head;
use news::News;
use pod::Names;
use pods::Pods;
use replica_set::ReplicaSet;
pub use revision::Revision;
use selector::Selector;
pub use stateful_set::StatefulSet;

/// Kinds that are looked after here.
const WORKLOADS: [Kind; 5] = [
    Kind::ReplicationController,
    Kind::ReplicaSet,
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
];

/// The controllers of workloads.
pub struct Workloads {
    clock: Clock,
    names: Names,
    pods: Pods,
    replica_sets: Mirror<Arc<ReplicaSet>>,
    controllers: Mirror<Arc<ReplicaSet>>,
    deployments: Mirror<Arc<Deployment>>,
    stateful_sets: Mirror<Arc<StatefulSet>>,
    daemon_sets: Mirror<Arc<DaemonSet>>,
    revisions: Mirror<Arc<Revision>>,
    nodes: BTreeMap<String, daemon_set::Node>,
    nodes_synced: bool,
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
            stateful_sets: Mirror::default(),
            daemon_sets: Mirror::default(),
            revisions: Mirror::default(),
            nodes: BTreeMap::new(),
            nodes_synced: false,
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
            && self.stateful_sets.is_synced()
            && self.daemon_sets.is_synced()
            && self.revisions.is_synced()
            && self.nodes_synced
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
                let before = self.pods.insert(name, pod);
                if waited.as_ref().is_some_and(|by| self.desk.is_creating(by)) {
                    return; // It counted already; whoever made it is planned for after the last.
                }
                self.concerned.extend(waited);
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
                "StatefulSet" => Kind::StatefulSet,
                "DaemonSet" => Kind::DaemonSet,
                _ => return,
            };
            let name = ObjectName::new(namespace, &controller.name);
            self.concerned.insert(Key { kind, name });
            return;
        }
        let labels = &pod.facts.labels;
        let takes = |head: &Head, selector: &Selector| {
            head.name.namespace == namespace && selector.matches(labels)
        };
        let sets = self.replica_sets.values().chain(self.controllers.values());
        let sets = sets.filter(|set| takes(&set.head, &set.selector));
        let stateful = self.stateful_sets.values();
        let stateful = stateful.filter(|set| takes(&set.head, &set.selector));
        let daemons = self.daemon_sets.values();
        let daemons = daemons.filter(|set| takes(&set.head, &set.selector));
        self.concerned.extend(sets.map(|set| key(&set.head)));
        self.concerned.extend(stateful.map(|set| key(&set.head)));
        self.concerned.extend(daemons.map(|set| key(&set.head)));
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
        self.owners_changed(change, |deployment| &deployment.head);
    }

    fn stateful_sets_changed(&mut self, change: &Change<Arc<StatefulSet>>) {
        self.stateful_sets.apply(change.clone());
        self.owners_changed(change, |set| &set.head);
    }

    fn daemon_sets_changed(&mut self, change: &Change<Arc<DaemonSet>>) {
        self.daemon_sets.apply(change.clone());
        self.owners_changed(change, |set| &set.head);
    }

    fn owners_changed<T>(&mut self, change: &Change<Arc<T>>, head: fn(&T) -> &Head) {
        match change {
            Change::Reset(_) => self.concern_all(),
            Change::Applied(_, owner) => drop(self.concerned.insert(key(head(owner)))),
            Change::Deleted(name, owner) => {
                let head = head(owner);
                self.desk.gone(head.kind, name);
                self.desk.forget(&key(head));
            }
        }
    }

    fn revisions_changed(&mut self, change: &Change<Arc<Revision>>) {
        self.revisions.apply(change.clone());
        let kind = Kind::ControllerRevision;
        match change {
            Change::Reset(all) => {
                for (name, revision) in all {
                    let head = &revision.head;
                    self.desk.seen(kind, name, &head.uid, head.deleting);
                }
                self.concern_all();
            }
            Change::Applied(name, revision) => {
                let head = &revision.head;
                let waited = self.desk.seen(kind, name, &head.uid, head.deleting);
                self.concerned.extend(waited);
            }
            Change::Deleted(name, revision) => {
                self.concerned.extend(self.desk.gone(kind, name));
                self.concerned.extend(owner_of(&revision.head));
            }
        }
    }

    /// A DaemonSet looks at labels and taints, and at nothing else of a node.
    fn nodes_changed(&mut self, change: &Change<NodeView>) {
        let seen = |node: &NodeView| daemon_set::Node {
            labels: node.labels.clone(),
            taints: node.taints.clone(),
        };
        let changed = match change {
            Change::Reset(all) => {
                let nodes = all
                    .iter()
                    .map(|(name, node)| (name.name.clone(), seen(node)));
                self.nodes = nodes.collect();
                self.nodes_synced = true;
                true
            }
            Change::Applied(name, node) => {
                let now = seen(node);
                self.nodes.insert(name.name.clone(), now.clone()) != Some(now)
            }
            Change::Deleted(name, _) => self.nodes.remove(&name.name).is_some(),
        };
        if changed {
            let sets = self.daemon_sets.values().map(|set| key(&set.head));
            self.concerned.extend(sets);
        }
    }

    fn concern_all(&mut self) {
        let sets = self.replica_sets.values().chain(self.controllers.values());
        let sets = sets.map(|set| key(&set.head));
        let deployments = self.deployments.values().map(|d| key(&d.head));
        self.concerned.extend(sets.chain(deployments));
        let stateful = self.stateful_sets.values().map(|set| key(&set.head));
        let daemons = self.daemon_sets.values().map(|set| key(&set.head));
        self.concerned.extend(stateful.chain(daemons));
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
        let one_of_many = matches!(action, Action::Create { .. }) && self.desk.is_creating(by);
        if !(one_of_many && *outcome == Outcome::Done) {
            self.concerned.insert(by.clone());
        }
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
        if by.kind == Kind::StatefulSet {
            return tell_of_stateful(about, by, action, outcome);
        }
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
            Kind::StatefulSet => self.stateful_sets.get(&key.name).map(|set| &set.head),
            Kind::DaemonSet => self.daemon_sets.get(&key.name).map(|set| &set.head),
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
                Kind::StatefulSet => self.plan_stateful_set(&key, now, actions),
                Kind::DaemonSet => self.plan_daemon_set(&key, now, actions),
                _ => {}
            }
        }
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
            Input::Workloads(News::StatefulSets(change)) => self.stateful_sets_changed(change),
            Input::Workloads(News::DaemonSets(change)) => self.daemon_sets_changed(change),
            Input::Workloads(News::Revisions(change)) => self.revisions_changed(change),
            Input::Nodes(change) => self.nodes_changed(change),
            Input::Ended(action, outcome) => self.ended(action, outcome, now, actions),
            Input::Tick => {
                let due = self.desk.due(now);
                self.concerned.extend(due);
            }
            Input::Workloads(News::Services(_) | News::Slices(_) | News::Endpoints(_))
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
            "statefulSets": self.stateful_sets.len(),
            "daemonSets": self.daemon_sets.len(),
            "revisions": self.revisions.len(),
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

/// Who keeps a ReplicaSet or a ControllerRevision.
fn owner_of(head: &Head) -> Option<Key> {
    let controller = head.controller.as_ref()?;
    let kind = match &*controller.kind {
        "Deployment" => Kind::Deployment,
        "StatefulSet" => Kind::StatefulSet,
        "DaemonSet" => Kind::DaemonSet,
        _ => return None,
    };
    let name = ObjectName::new(&*head.name.namespace, &*controller.name);
    Some(Key { kind, name })
}

/// A StatefulSet's controller has words of its own.
fn tell_of_stateful(about: About, by: &Key, action: &Action, outcome: &Outcome) -> Option<Action> {
    let (verb, name) = match action {
        Action::Create { kind, name, .. } if *kind == Kind::Pod => ("create", name),
        Action::Delete { kind, name, .. } if *kind == Kind::Pod => ("delete", name),
        _ => return None,
    };
    let what = format!("{verb} Pod {} in StatefulSet {}", name.name, by.name.name);
    let (severity, reason, message) = match (verb, outcome) {
        ("create", Outcome::Done) => (
            Severity::Normal,
            "SuccessfulCreate",
            format!("{what} successful"),
        ),
        ("delete", Outcome::Done) => (
            Severity::Normal,
            "SuccessfulDelete",
            format!("{what} successful"),
        ),
        ("create", Outcome::Refused(why)) => (
            Severity::Warning,
            "FailedCreate",
            format!("{what} failed error: {why}"),
        ),
        ("delete", Outcome::Refused(why)) => (
            Severity::Warning,
            "FailedDelete",
            format!("{what} failed error: {why}"),
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
