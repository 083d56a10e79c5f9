//! The controllers against a simulated API server and kubelet: news arrive
//! late, requests are carried out in any order, and no rule is ever broken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use sealane_kube::Change;
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use super::deployment::Deployment;
use super::news::News;
use super::replica_set::ReplicaSet;
use super::{Budget, CronJob, DaemonSet, Job, Revision, StatefulSet, Workloads};
use crate::action::{Action, Controller, Input, Kind, Outcome, Part};
use crate::pools::Pools;
use crate::view::{NodeView, PodView};

pub const KINDS: [Kind; 10] = [
    Kind::Pod,
    Kind::ReplicaSet,
    Kind::ReplicationController,
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::ControllerRevision,
    Kind::Job,
    Kind::CronJob,
    Kind::PodDisruptionBudget,
];

/// An API server, as far as workloads go.
pub struct World {
    pub objects: BTreeMap<(Kind, ObjectName), Value>,
    news: BTreeMap<Kind, VecDeque<Change<Value>>>,
    versions: u64,
    pub wall: Timestamp,
    /// Why no pod may be made.
    pub refuse_pods: Option<String>,
    /// How many pods those of other kinds keep, by name; none if they are gone. Others have no scale.
    pub scales: BTreeMap<String, Option<i32>>,
}

/// The controllers at work in a world.
pub struct Story {
    pub world: World,
    pub workloads: Workloads,
    pub in_flight: Vec<Action>,
    pub told: Vec<String>,
    now: Instant,
}

pub fn name(name: &str) -> ObjectName {
    ObjectName::new("default", name)
}

impl World {
    fn new(wall: Timestamp) -> Self {
        let empty = |kind| (kind, VecDeque::from([Change::Reset(Vec::new())]));
        Self {
            objects: BTreeMap::new(),
            news: KINDS.into_iter().map(empty).collect(),
            versions: 0,
            wall,
            refuse_pods: None,
            scales: BTreeMap::new(),
        }
    }

    pub fn get(&self, kind: Kind, name: &ObjectName) -> &Value {
        &self.objects[&(kind, name.clone())]
    }

    pub fn of(&self, kind: Kind) -> impl Iterator<Item = (&ObjectName, &Value)> {
        let all = self.objects.iter().filter(move |((k, _), _)| *k == kind);
        all.map(|((_, name), object)| (name, object))
    }

    /// Pods that are neither finished nor on their way out.
    pub fn pods(&self) -> Vec<&Value> {
        let active = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        self.of(Kind::Pod)
            .map(|(_, pod)| pod)
            .filter(active)
            .collect()
    }

    pub fn available(&self) -> usize {
        let ready = |pod: &&&Value| is_ready(pod);
        self.pods().iter().filter(ready).count()
    }

    pub fn create(&mut self, kind: Kind, mut object: Value) {
        let wall = self.wall.to_string();
        let meta = &mut object["metadata"];
        meta["namespace"] = json!("default");
        let name = name(meta["name"].as_str().unwrap());
        meta["uid"] = json!(format!("u{}", self.versions));
        meta["creationTimestamp"] = json!(wall);
        meta["generation"] = json!(1);
        self.write(kind, name, object);
    }

    /// A client's merge patch.
    pub fn patch(&mut self, kind: Kind, name: &ObjectName, patch: &Value, status: bool) {
        let mut object = self.get(kind, name).clone();
        let before = object["spec"].clone();
        merge(&mut object, patch);
        if !status && object["spec"] != before {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.write(kind, name.clone(), object);
    }

    pub fn remove(&mut self, kind: Kind, name: &ObjectName) {
        if kind == Kind::Pod && self.objects.get(&(kind, name.clone())).is_some_and(is_held) {
            let wall = self.wall.to_string();
            let over = json!({"deletionTimestamp": wall, "deletionGracePeriodSeconds": 0});
            return self.patch(kind, name, &json!({ "metadata": over }), true);
        }
        if let Some(object) = self.objects.remove(&(kind, name.clone())) {
            let news = self.news.get_mut(&kind).unwrap();
            news.push_back(Change::Deleted(name.clone(), object));
        }
    }

    fn write(&mut self, kind: Kind, name: ObjectName, mut object: Value) {
        self.versions += 1;
        object["metadata"]["resourceVersion"] = json!(self.versions.to_string());
        self.objects.insert((kind, name.clone()), object.clone());
        let news = self.news.get_mut(&kind).unwrap();
        news.push_back(Change::Applied(name, object));
    }

    /// A gap in a watch.
    pub fn relist(&mut self, kind: Kind) {
        let all = self.of(kind).map(|(n, o)| (n.clone(), o.clone())).collect();
        let news = self.news.get_mut(&kind).unwrap();
        news.clear();
        news.push_back(Change::Reset(all));
    }

    fn perform(&mut self, action: &Action) -> Outcome {
        match action {
            Action::AskScale { keeper, .. } => match self.scales.get(&keeper.name) {
                Some(Some(count)) => Outcome::Keeps(*count),
                Some(None) => Outcome::Gone,
                None => Outcome::Refused(
                    "daemonsets.apps does not implement the scale subresource".into(),
                ),
            },
            Action::Create {
                kind, name, object, ..
            } => {
                if *kind == Kind::Pod
                    && let Some(why) = &self.refuse_pods
                {
                    return Outcome::Refused(why.clone());
                }
                if self.objects.contains_key(&(*kind, name.clone())) {
                    return Outcome::Outdated;
                }
                self.create(*kind, *object.clone());
                Outcome::Done
            }
            Action::Patch {
                kind,
                name,
                part,
                patch,
                ..
            } => self.patched(*kind, name, *part, patch),
            Action::Delete {
                kind, name, uid, ..
            } => {
                let Some(object) = self.objects.get(&(*kind, name.clone())) else {
                    return Outcome::Gone;
                };
                if object["metadata"]["uid"] != json!(uid) {
                    return Outcome::Outdated;
                }
                if *kind == Kind::Pod {
                    let at = json!({"metadata": {"deletionTimestamp": self.wall.to_string()}});
                    self.patch(*kind, name, &at, true);
                } else {
                    self.remove(*kind, name);
                }
                Outcome::Done
            }
            _ => Outcome::Done,
        }
    }

    fn patched(&mut self, kind: Kind, name: &ObjectName, part: Part, patch: &Value) -> Outcome {
        let Some(object) = self.objects.get(&(kind, name.clone())) else {
            return Outcome::Gone;
        };
        for field in ["uid", "resourceVersion"] {
            let asked = &patch["metadata"][field];
            if !asked.is_null() && *asked != object["metadata"][field] {
                return Outcome::Outdated;
            }
        }
        let mut patch = patch.clone();
        if !patch["metadata"]["$deleteFromPrimitiveList/finalizers"].is_null() {
            self.patch(kind, name, &json!({"metadata": {"finalizers": null}}), true);
            if !self.get(kind, name)["metadata"]["deletionTimestamp"].is_null() {
                self.remove(kind, name);
            }
            return Outcome::Done;
        }
        if part == Part::Owners {
            let reference = patch["metadata"]["ownerReferences"][0].clone();
            patch["metadata"]["ownerReferences"] = if reference["$patch"] == "delete" {
                json!([])
            } else {
                json!([reference])
            };
        }
        self.patch(kind, name, &patch, part == Part::Status);
        Outcome::Done
    }

    /// A kubelet does one thing for a pod: it becomes ready, or ends.
    pub fn kubelet(&mut self, index: usize) {
        let waiting = |pod: &Value| {
            let goes = !pod["metadata"]["deletionTimestamp"].is_null();
            let removed = pod["metadata"]["deletionGracePeriodSeconds"] == 0;
            (goes && !removed) || (!goes && !is_ended(pod) && !is_ready(pod))
        };
        let names = self.of(Kind::Pod).filter(|(_, pod)| waiting(pod));
        let names: Vec<_> = names.map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            return;
        }
        let name = &names[index % names.len()];
        if self.get(Kind::Pod, name)["metadata"]["deletionTimestamp"].is_null() {
            let since = self.wall.to_string();
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": since});
            let status = json!({"status": {"phase": "Running", "conditions": [ready]}});
            self.patch(Kind::Pod, name, &status, true);
        } else {
            if is_held(self.get(Kind::Pod, name)) && !is_ended(self.get(Kind::Pod, name)) {
                return self.end(&name.clone(), 143);
            }
            self.remove(Kind::Pod, &name.clone());
        }
    }

    /// A container ends, and with it its pod.
    pub fn end(&mut self, name: &ObjectName, code: i32) {
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let ended = json!({"exitCode": code, "finishedAt": self.wall.to_string()});
        let container = json!({"name": "c", "restartCount": 0, "image": "a", "imageID": "",
                               "ready": false, "state": {"terminated": ended}});
        let status = json!({"phase": phase, "containerStatuses": [container]});
        self.patch(Kind::Pod, name, &json!({ "status": status }), true);
    }
}

/// Whether somebody has a finalizer on it.
fn is_held(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|all| !all.is_empty())
}

pub fn is_ended(pod: &Value) -> bool {
    pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed"
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"][0]["status"] == "True"
}

fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

impl Story {
    pub fn new() -> Self {
        let now = Instant::now();
        let wall: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let mut story = Self {
            world: World::new(wall),
            workloads: Workloads::new(now, wall, 7),
            in_flight: Vec::new(),
            told: Vec::new(),
            now,
        };
        story.nodes(vec![]);
        story
    }

    /// These are all the nodes, by name.
    pub fn nodes(&mut self, nodes: Vec<(&str, NodeView)>) {
        let named = |(name, node)| (ObjectName::new("", name), node);
        let nodes = nodes.into_iter().map(named).collect();
        self.tell(&Input::Nodes(Change::Reset(nodes)));
    }

    /// Another leader, who knows nothing of what is on its way.
    pub fn elect(&mut self) {
        self.workloads = Workloads::new(self.now, self.world.wall, self.world.versions);
        self.in_flight.clear();
        for kind in KINDS {
            self.world.relist(kind);
        }
        self.nodes(vec![]);
    }

    fn tell(&mut self, input: &Input) {
        let mut actions = Vec::new();
        self.workloads.handle(input, self.now, &mut actions);
        for action in actions {
            match action {
                Action::Tell {
                    reason, message, ..
                } => self.told.push(format!("{reason}: {message}")),
                action => self.in_flight.push(action),
            }
        }
    }

    /// Brings the next news of a kind.
    pub fn deliver(&mut self, kind: Kind) -> bool {
        let next = self.world.news.get_mut(&kind).unwrap().pop_front();
        let Some(change) = next else { return false };
        let sets = |change| {
            map(change, |object| {
                Arc::new(ReplicaSet::of(kind, dynamic(object)))
            })
        };
        let input = match kind {
            Kind::Pod => Input::Pods(map(change, |pod| {
                Arc::new(PodView::of(
                    serde_json::from_value(pod).unwrap(),
                    &mut Pools::default(),
                ))
            })),
            Kind::ReplicaSet => Input::Workloads(News::ReplicaSets(sets(change))),
            Kind::ReplicationController => Input::Workloads(News::Controllers(sets(change))),
            Kind::StatefulSet => Input::Workloads(News::StatefulSets(map(change, |object| {
                Arc::new(StatefulSet::of(dynamic(object)))
            }))),
            Kind::DaemonSet => Input::Workloads(News::DaemonSets(map(change, |object| {
                Arc::new(DaemonSet::of(dynamic(object)))
            }))),
            Kind::ControllerRevision => Input::Workloads(News::Revisions(map(change, |object| {
                Arc::new(Revision::of(dynamic(object)))
            }))),
            Kind::Job => Input::Workloads(News::Jobs(map(change, |object| {
                Arc::new(Job::of(dynamic(object)))
            }))),
            Kind::CronJob => Input::Workloads(News::CronJobs(map(change, |object| {
                Arc::new(CronJob::of(dynamic(object)))
            }))),
            Kind::PodDisruptionBudget => Input::Workloads(News::Budgets(map(change, |object| {
                Arc::new(Budget::of(dynamic(object)))
            }))),
            _ => Input::Workloads(News::Deployments(map(change, |object| {
                Arc::new(Deployment::of(dynamic(object)))
            }))),
        };
        self.tell(&input);
        true
    }

    pub fn deliver_all(&mut self) {
        for kind in KINDS {
            while self.deliver(kind) {}
        }
    }

    pub fn perform(&mut self, index: usize) -> bool {
        if self.in_flight.is_empty() {
            return false;
        }
        let action = self.in_flight.remove(index % self.in_flight.len());
        let outcome = self.world.perform(&action);
        self.tell(&Input::Ended(action, outcome));
        true
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.world.wall = self.world.wall.saturating_add(time).unwrap();
        if self.workloads.wake_at().is_some_and(|at| at <= self.now) {
            self.tell(&Input::Tick);
        }
    }

    /// Until nobody has anything to say, the kubelet included if it works.
    pub fn settle(&mut self, kubelet: bool) {
        for _ in 0..5000 {
            self.deliver_all();
            if self.perform(0) {
                continue;
            }
            let before = self.world.versions;
            let count = self.world.objects.len();
            if kubelet {
                self.world.kubelet(0);
            }
            if before == self.world.versions && count == self.world.objects.len() {
                return;
            }
        }
        panic!("never at rest; in flight: {:?}", self.in_flight.first());
    }
}

fn map<T>(change: Change<Value>, of: impl Fn(Value) -> T) -> Change<T> {
    match change {
        Change::Reset(all) => Change::Reset(all.into_iter().map(|(n, o)| (n, of(o))).collect()),
        Change::Applied(name, object) => Change::Applied(name, of(object)),
        Change::Deleted(name, object) => Change::Deleted(name, of(object)),
    }
}

fn dynamic(object: Value) -> DynamicObject {
    serde_json::from_value(object).unwrap()
}
