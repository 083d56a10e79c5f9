//! Whom a piece of news concerns: those are planned for anew.

use std::sync::Arc;

use sealane_kube::Change;
use sealane_objects::{ObjectName, Selector};

use super::budget::Budget;
use super::cron_job::CronJob;
use super::daemon_set::{self, DaemonSet};
use super::deployment::Deployment;
use super::head::Head;
use super::job::Job;
use super::replica_set::ReplicaSet;
use super::revision::Revision;
use super::stateful_set::StatefulSet;
use super::{Workloads, key};
use crate::action::{Key, Kind};
use crate::view::{NodeView, PodView};

impl Workloads {
    pub(super) fn pods_changed(&mut self, change: &Change<Arc<PodView>>) {
        match change {
            Change::Reset(all) => {
                self.pods.reset(all);
                for (name, pod) in all {
                    self.desk.seen(Kind::Pod, name, &pod.uid, pod.deleting);
                }
                self.note_strays();
                self.concern_all();
            }
            Change::Applied(name, pod) => {
                let waited = self.desk.seen(Kind::Pod, name, &pod.uid, pod.deleting);
                let before = self.pods.insert(name, pod);
                self.note_stray(name, pod);
                self.pod_concerns_budgets(&name.namespace, before.as_deref(), Some(pod));
                if waited.as_ref().is_some_and(|by| self.desk.is_creating(by)) {
                    return; // It counted already; whoever made it is planned for after the last.
                }
                self.concerned.extend(waited);
                self.pod_concerns(&name.namespace, before.as_deref());
                self.pod_concerns(&name.namespace, Some(pod));
            }
            Change::Deleted(name, pod) => {
                self.concerned.extend(self.desk.gone(Kind::Pod, name));
                self.pods.remove(name);
                self.pod_concerns_budgets(&name.namespace, Some(pod), None);
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
                "Job" => Kind::Job,
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
        let jobs = self.jobs.values();
        let jobs = jobs.filter(|job| takes(&job.head, &job.selector));
        self.concerned.extend(jobs.map(|job| key(&job.head)));
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

    pub(super) fn sets_changed(&mut self, kind: Kind, change: &Change<Arc<ReplicaSet>>) {
        self.scale_changed(change, |set| &set.head);
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

    pub(super) fn jobs_changed(&mut self, change: &Change<Arc<Job>>) {
        self.jobs.apply(change.clone());
        let kind = Kind::Job;
        match change {
            Change::Reset(all) => {
                for (name, job) in all {
                    let head = &job.head;
                    self.desk.seen(kind, name, &head.uid, head.deleting);
                }
                self.note_strays();
                self.concern_all();
            }
            Change::Applied(name, job) => {
                let head = &job.head;
                let waited = self.desk.seen(kind, name, &head.uid, head.deleting);
                self.concerned.extend(waited);
                self.concerned.extend(owner_of(head));
                self.concerned.insert(key(head));
            }
            Change::Deleted(name, job) => {
                self.concerned.extend(self.desk.gone(kind, name));
                self.concerned.extend(owner_of(&job.head));
                self.desk.forget(&key(&job.head));
                self.note_strays_of(job);
            }
        }
    }

    pub(super) fn cron_jobs_changed(&mut self, change: &Change<Arc<CronJob>>) {
        self.cron_jobs.apply(change.clone());
        self.owners_changed(change, |cron| &cron.head);
    }

    pub(super) fn budgets_changed(&mut self, change: &Change<Arc<Budget>>) {
        self.budgets.apply(change.clone());
        self.owners_changed(change, |budget| &budget.head);
    }

    pub(super) fn deployments_changed(&mut self, change: &Change<Arc<Deployment>>) {
        self.deployments.apply(change.clone());
        self.scale_changed(change, |deployment| &deployment.head);
        self.owners_changed(change, |deployment| &deployment.head);
    }

    pub(super) fn stateful_sets_changed(&mut self, change: &Change<Arc<StatefulSet>>) {
        self.stateful_sets.apply(change.clone());
        self.scale_changed(change, |set| &set.head);
        self.owners_changed(change, |set| &set.head);
    }

    pub(super) fn daemon_sets_changed(&mut self, change: &Change<Arc<DaemonSet>>) {
        self.daemon_sets.apply(change.clone());
        self.owners_changed(change, |set| &set.head);
    }

    /// Budgets count what somebody wants to have.
    fn scale_changed<T>(&mut self, change: &Change<Arc<T>>, head: fn(&T) -> &Head) {
        if self.budgets.is_empty() {
            return;
        }
        if let Change::Applied(_, set) | Change::Deleted(_, set) = change {
            self.concern_budgets(&head(set).name.namespace);
        }
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

    pub(super) fn revisions_changed(&mut self, change: &Change<Arc<Revision>>) {
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
    pub(super) fn nodes_changed(&mut self, change: &Change<NodeView>) {
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
        let jobs = self.jobs.values().map(|job| key(&job.head));
        let crons = self.cron_jobs.values().map(|cron| key(&cron.head));
        let budgets = self.budgets.values().map(|budget| key(&budget.head));
        self.concerned.extend(jobs.chain(crons).chain(budgets));
    }
}

/// Who keeps a ReplicaSet or a ControllerRevision.
fn owner_of(head: &Head) -> Option<Key> {
    let controller = head.controller.as_ref()?;
    let kind = match &*controller.kind {
        "Deployment" => Kind::Deployment,
        "StatefulSet" => Kind::StatefulSet,
        "DaemonSet" => Kind::DaemonSet,
        "CronJob" => Kind::CronJob,
        _ => return None,
    };
    let name = ObjectName::new(&*head.name.namespace, &*controller.name);
    Some(Key { kind, name })
}
