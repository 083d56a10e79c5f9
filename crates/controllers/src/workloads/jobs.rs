//! Jobs: their plans, carried out.

use std::time::Instant;

use sealane_objects::ObjectName;
use serde_json::{Value, json};

use super::head::status_change;
use super::job::{self, Job, Known, New};
use super::{Workloads, pod};
use crate::action::{About, Action, Key, Kind, Part};
use crate::facts::job::TRACKING;
use crate::view::PodView;

/// What a plan wants of pods, by their names.
struct Wanted {
    create: Vec<New>,
    delete: Vec<(ObjectName, String)>,
    untrack: Vec<ObjectName>,
}

impl Workloads {
    pub(super) fn plan_job(&mut self, key: &Key, now: Instant, actions: &mut Vec<Action>) {
        let Some(job) = self.jobs.get(&key.name).cloned() else {
            return;
        };
        if job.foreign {
            return;
        }
        self.claim_pods(key, &job.head, &job.selector, &|_| true, actions);
        let wall = self.clock.wall(now);
        let (wanted, expired, wake_in) = {
            let known = self.job_pods(key, &job);
            let plan = job::plan(&job, &known, wall);
            let untrack = plan.untrack.iter();
            let untrack = untrack.filter_map(|uid| self.pods.name_of(uid).cloned());
            let wanted = Wanted {
                untrack: untrack.collect(),
                delete: self.names_of(&plan.delete),
                create: plan.create,
            };
            (wanted, plan.expired, plan.wake_in)
        };
        self.change_job_pods(key, &job, wanted, now, actions);
        // What has just been asked for counts in the status already.
        let (status, tell) = {
            let plan = job::plan(&job, &self.job_pods(key, &job), wall);
            (plan.status, plan.tell)
        };
        if let Some(patch) = status_change(&job.head, &job.status, &status)
            && let Some(action) = self.desk.patch_of(key, &job.head, Part::Status, patch)
        {
            actions.push(action);
            let events = tell.into_iter();
            actions.extend(events.map(|(severity, reason, message)| Action::Tell {
                about: About::of(&job.head),
                severity,
                reason,
                message,
            }));
        }
        let head = &job.head;
        if expired && !self.desk.is_deleting(head.kind, &head.name, &head.uid) {
            actions.push(self.desk.delete(key, head.kind, &head.name, &head.uid));
        }
        if let Some(wake_in) = wake_in {
            self.desk.wake(now + wake_in, key);
        }
    }

    fn change_job_pods(
        &mut self,
        key: &Key,
        job: &Job,
        wanted: Wanted,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        for name in wanted.untrack {
            actions.extend(self.untrack(key, &name));
        }
        if self.desk.rests(key, now) {
            return;
        }
        let batch = self.desk.batch(key, wanted.create.len());
        for new in wanted.create.into_iter().take(batch) {
            let start = job.pod_start(new);
            let name = ObjectName::new(&*key.name.namespace, self.names.next(&start));
            let template = job.pod_template(new);
            let pod = pod::from_template(&template, &job.head, &name, Some(&start));
            actions.push(self.desk.create(key, Kind::Pod, name, pod));
        }
        for (name, uid) in wanted.delete {
            actions.push(self.desk.delete(key, Kind::Pod, &name, &uid));
        }
    }

    /// Takes the finalizer from a pod.
    fn untrack(&mut self, by: &Key, name: &ObjectName) -> Option<Action> {
        let pod = self.pods.get(name)?;
        let patch = json!({"metadata": {
            "uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING],
        }});
        let version = pod.version.clone();
        let place = (Kind::Pod, name, &*version);
        self.desk.patch(by, place, Part::Owners, patch)
    }

    fn job_pods(&self, key: &Key, job: &Job) -> Known<'_> {
        let own = self.pods.of_owner(&job.head.uid);
        let taken = self
            .pods
            .loose_in(&key.name.namespace)
            .filter(|(name, pod)| {
                job.selector.matches(&pod.facts.labels)
                    && self.desk.is_patching(key, Kind::Pod, name, &pod.version)
            });
        let pods: Vec<_> = own.chain(taken).collect();
        let leaving = pods
            .iter()
            .filter(|(name, pod)| self.desk.is_deleting(Kind::Pod, name, &pod.uid));
        Known {
            leaving: leaving.map(|(_, pod)| &*pod.uid).collect(),
            creating: self
                .desk
                .creating(key, Kind::Pod)
                .map(|name| job.index_in(&name.name))
                .collect(),
            pods,
        }
    }

    /// Pods that have the finalizer, though the Job that would count them is no more.
    pub(super) fn untrack_strays(&mut self, actions: &mut Vec<Action>) {
        if self.strays.is_empty() || !self.jobs.is_synced() {
            return;
        }
        for name in std::mem::take(&mut self.strays) {
            let Some(pod) = self.pods.get(&name).filter(|pod| is_tracked(pod)) else {
                continue;
            };
            let controller = pod.facts.controller.as_ref();
            let keeper = controller.filter(|controller| controller.kind == "Job");
            let called = keeper.map_or(&name.name, |keeper| &keeper.name);
            let by = Key {
                kind: Kind::Job,
                name: ObjectName::new(&*name.namespace, &**called),
            };
            let job = self.jobs.get(&by.name);
            if job.is_some_and(|job| keeper.is_some_and(|keeper| keeper.uid == job.head.uid)) {
                continue;
            }
            actions.extend(self.untrack(&by, &name));
            // Until it is seen without.
            self.strays.insert(name);
        }
    }

    pub(super) fn note_stray(&mut self, name: &ObjectName, pod: &PodView) {
        if is_tracked(pod) {
            self.strays.insert(name.clone());
        }
    }

    /// All of them could be strays.
    pub(super) fn note_strays(&mut self) {
        let tracked = self.pods.iter().filter(|(_, pod)| is_tracked(pod));
        let tracked: Vec<_> = tracked.map(|(name, _)| name.clone()).collect();
        self.strays.extend(tracked);
    }

    /// Those of a Job that is gone are.
    pub(super) fn note_strays_of(&mut self, job: &Job) {
        let tracked = self.pods.of_owner(&job.head.uid);
        let tracked = tracked.filter(|(_, pod)| is_tracked(pod));
        let tracked: Vec<_> = tracked.map(|(name, _)| name.clone()).collect();
        self.strays.extend(tracked);
    }
}

fn is_tracked(pod: &PodView) -> bool {
    pod.facts.job.as_ref().is_some_and(|facts| facts.tracked)
}

/// What a pod's owners become when a Job takes it in, or lets go of it: its finalizer goes along.
pub fn with_tracking(kind: Kind, mut metadata: Value, takes: bool) -> Value {
    if kind == Kind::Job {
        let field = match takes {
            true => "finalizers",
            false => "$deleteFromPrimitiveList/finalizers",
        };
        metadata[field] = json!([TRACKING]);
    }
    metadata
}
