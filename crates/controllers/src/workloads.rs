//! Controllers of what keeps pods: ReplicationController, ReplicaSet,
//! Deployment, StatefulSet, DaemonSet, Job; of what makes Jobs by the clock, CronJob; and of what
//! says how many pods may be evicted, PodDisruptionBudget.
//!
//! ```text
//!  news ──> mirrors ──> whom it concerns ──> plan of each (pure) ──> desk ──> requests
//!                            ^                                        │
//!                            └──────── timers, ended requests <───────┘
//! ```
//!
//! A plan is made from an object, its children and the time, and nothing else:
//! [`replica_set::plan`], [`rollout::step`], [`progress::status`],
//! [`stateful_set::plan`], [`daemon_set::plan`], [`job::plan()`], [`cron_job::plan`],
//! [`budget::plan`]. The [`desk`] remembers what has been asked for and not been seen, so that
//! nothing is asked for twice. Nothing polls: who waits for a time has a timer.

mod budget;
#[cfg(test)]
mod budget_tests;
mod budgets;
mod concerns;
mod cron_job;
#[cfg(test)]
mod cron_job_tests;
mod cron_jobs;
mod daemon_set;
mod deployment;
mod deployments;
pub mod desk;
mod events;
pub mod head;
mod job;
mod jobs;
pub mod news;
pub mod pod;
mod pods;
mod progress;
pub mod replica_set;
mod revision;
mod rollout;
mod scales;
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
use sealane_kube::Mirror;
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use crate::action::{Action, Controller, Input, Key, Kind, Outcome};
pub use budget::Budget;
pub use cron_job::CronJob;
pub use daemon_set::DaemonSet;
use deployment::Deployment;
use desk::Desk;
use head::Head;
pub use job::Job;
use news::News;
use pod::Names;
use pods::Pods;
use replica_set::ReplicaSet;
pub use revision::Revision;
use scales::Scales;
pub use stateful_set::StatefulSet;

/// Kinds that are looked after here.
const WORKLOADS: [Kind; 8] = [
    Kind::ReplicationController,
    Kind::ReplicaSet,
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::Job,
    Kind::CronJob,
    Kind::PodDisruptionBudget,
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
    jobs: Mirror<Arc<Job>>,
    cron_jobs: Mirror<Arc<CronJob>>,
    budgets: Mirror<Arc<Budget>>,
    nodes: BTreeMap<String, daemon_set::Node>,
    nodes_synced: bool,
    desk: Desk,
    /// What is to be said of ReplicaSets when their change is done.
    announcements: HashMap<ObjectName, String>,
    /// Pods that a Job may have left uncounted when it went.
    strays: BTreeSet<ObjectName>,
    /// When CronJobs are due.
    alarms: BTreeSet<(Timestamp, Key)>,
    /// Budgets that wait a moment for further changes.
    gathering: BTreeSet<Key>,
    /// How many pods those keep whom no watch shows.
    scales: Scales,
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
            jobs: Mirror::default(),
            cron_jobs: Mirror::default(),
            budgets: Mirror::default(),
            nodes: BTreeMap::new(),
            nodes_synced: false,
            desk: Desk::default(),
            announcements: HashMap::new(),
            strays: BTreeSet::new(),
            alarms: BTreeSet::new(),
            gathering: BTreeSet::new(),
            scales: Scales::default(),
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

    fn ended(
        &mut self,
        action: &Action,
        outcome: &Outcome,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if let Action::AskScale { by, keeper } = action {
            self.scales.answered(by, keeper, outcome);
            self.concerned.insert(by.clone());
            return;
        }
        let (Action::Create { by, .. } | Action::Patch { by, .. } | Action::Delete { by, .. }) =
            action
        else {
            return;
        };
        if !WORKLOADS.contains(&by.kind) {
            return; // Somebody else's.
        }
        self.desk.ended(action, outcome, now);
        if by.kind == Kind::Job && self.jobs.get(&by.name).is_none() {
            self.desk.forget(by);
        }
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

    fn head(&self, key: &Key) -> Option<&Head> {
        match key.kind {
            Kind::Deployment => self.deployments.get(&key.name).map(|d| &d.head),
            Kind::StatefulSet => self.stateful_sets.get(&key.name).map(|set| &set.head),
            Kind::DaemonSet => self.daemon_sets.get(&key.name).map(|set| &set.head),
            Kind::Job => self.jobs.get(&key.name).map(|job| &job.head),
            Kind::CronJob => self.cron_jobs.get(&key.name).map(|cron| &cron.head),
            Kind::PodDisruptionBudget => self.budgets.get(&key.name).map(|one| &one.head),
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
                Kind::Job => self.plan_job(&key, now, actions),
                Kind::CronJob => self.plan_cron_job(&key, now, actions),
                Kind::PodDisruptionBudget => self.plan_budget(&key, now, actions),
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
            Input::Workloads(News::Jobs(change)) => self.jobs_changed(change),
            Input::Workloads(News::CronJobs(change)) => self.cron_jobs_changed(change),
            Input::Workloads(News::Budgets(change)) => self.budgets_changed(change),
            Input::Nodes(change) => self.nodes_changed(change),
            Input::Ended(action, outcome) => self.ended(action, outcome, now, actions),
            Input::Tick => {
                let due = self.desk.due(now);
                self.concerned.extend(due);
            }
            Input::Workloads(
                News::Services(_) | News::Slices(_) | News::Endpoints(_) | News::Namespaces(_),
            )
            | Input::Leases(_) => {}
        }
        self.ring_alarms(now);
        if self.is_synced() {
            self.plan_all(now, actions);
            self.untrack_strays(actions);
        }
    }

    fn set_wall(&mut self, now: Instant, wall: Timestamp) {
        self.clock = Clock { steady: now, wall };
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
            "jobs": self.jobs.len(),
            "cronJobs": self.cron_jobs.len(),
            "budgets": self.budgets.len(),
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
