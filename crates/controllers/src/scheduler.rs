//! Which node a pod gets.
//!
//! ```text
//!  pod appears ──> pending ──fits──> Bind, assumed ──Done──> bound (the watch says so)
//!                    │  ^                    └──Gone──> forgotten
//!         fits nowhere  └──── Outdated, Refused: after a pause ┘
//!                    v
//!             Refuse: condition and Event say why; tried again when a node
//!             changes in a way that matters, or a pod leaves
//! ```
//!
//! The choice itself is in [`fit`]. A pod counts on its node from the moment
//! it is assigned, before the API server has heard of it, so that a hundred
//! pods at once are spread like a hundred one after the other.

pub mod fit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealane_kube::Change;
use sealane_kube::events::Severity;
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use crate::action::{About, Action, Controller, Input, Outcome};
use crate::view::{NodeView, PodView};
use fit::Candidate;

/// Pods that name another scheduler are left to it.
const OUR_NAME: &str = "default-scheduler";
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Scheduler {
    nodes: Option<BTreeMap<String, Candidate>>,
    pods: Option<BTreeMap<ObjectName, Pod>>,
    /// Pods that nothing stands in the way of trying, in the order of their coming.
    pending: BTreeMap<u64, ObjectName>,
    arrivals: u64,
}

struct Pod {
    view: Arc<PodView>,
    /// What was last said of why it has no node.
    refused: Option<String>,
    /// The node that we gave it and that the API does not show yet.
    assumed: Option<String>,
    /// Its place in `pending`.
    queued: Option<u64>,
    failures: u32,
    not_before: Option<Instant>,
}

impl Scheduler {
    fn nodes_changed(&mut self, change: &Change<NodeView>) -> bool {
        match change {
            Change::Reset(all) => {
                let candidates = all
                    .iter()
                    .map(|(name, node)| (name.name.clone(), Candidate::of(node)));
                self.nodes = Some(candidates.collect());
                self.recount();
                true
            }
            Change::Applied(name, node) => self.node_applied(&name.name, node),
            Change::Deleted(name, _) => self
                .nodes
                .as_mut()
                .and_then(|nodes| nodes.remove(&name.name))
                .is_some(),
        }
    }

    /// Whether the node changed in a way that a pending pod could care for.
    fn node_applied(&mut self, name: &str, node: &NodeView) -> bool {
        let known = self.nodes.as_ref().and_then(|nodes| nodes.get(name));
        let pods = known.map_or_else(|| self.count_on(name), |candidate| candidate.pods);
        let Some(nodes) = &mut self.nodes else {
            return false;
        };
        let candidate = Candidate {
            pods,
            ..Candidate::of(node)
        };
        let changed = nodes.get(name) != Some(&candidate);
        nodes.insert(name.to_owned(), candidate);
        changed
    }

    fn pods_changed(&mut self, change: &Change<Arc<PodView>>) -> bool {
        match change {
            Change::Reset(all) => {
                let before = self.pods.replace(BTreeMap::new()).unwrap_or_default();
                self.pending.clear();
                for (name, view) in all {
                    self.insert(name, view, before.get(name));
                }
                self.recount();
                true
            }
            Change::Applied(name, view) => {
                let before = self.remove(name);
                let held = before.as_ref().and_then(Pod::holds).map(str::to_owned);
                self.insert(name, view, before.as_ref());
                self.count(name, 1);
                // A pod that has ended makes room on a full node.
                held.is_some() && self.pod(name).and_then(Pod::holds).is_none()
            }
            Change::Deleted(name, _) => self.remove(name).is_some_and(|pod| pod.holds().is_some()),
        }
    }

    fn pod(&self, name: &ObjectName) -> Option<&Pod> {
        self.pods.as_ref()?.get(name)
    }

    fn pod_mut(&mut self, name: &ObjectName, uid: &str) -> Option<&mut Pod> {
        self.pods
            .as_mut()?
            .get_mut(name)
            .filter(|pod| pod.view.uid == uid)
    }

    fn insert(&mut self, name: &ObjectName, view: &Arc<PodView>, before: Option<&Pod>) {
        let Some(pods) = &mut self.pods else { return };
        let before = before.filter(|pod| pod.view.uid == view.uid);
        let mut pod = Pod::of(view, before);
        if pod.is_wanting() {
            let place = before.and_then(|pod| pod.queued).unwrap_or(self.arrivals);
            self.arrivals = self.arrivals.max(place + 1);
            self.pending.insert(place, name.clone());
            pod.queued = Some(place);
        }
        pods.insert(name.clone(), pod);
    }

    fn remove(&mut self, name: &ObjectName) -> Option<Pod> {
        self.count(name, -1);
        let pod = self.pods.as_mut()?.remove(name)?;
        if let Some(place) = pod.queued {
            self.pending.remove(&place);
        }
        Some(pod)
    }

    /// Counts a pod in or out on the node that it holds a place of.
    fn count(&mut self, name: &ObjectName, by: isize) {
        let Some(node) = self.pod(name).and_then(Pod::holds).map(str::to_owned) else {
            return;
        };
        if let Some(candidate) = self.nodes.as_mut().and_then(|nodes| nodes.get_mut(&node)) {
            candidate.pods = candidate.pods.saturating_add_signed(by);
        }
    }

    fn count_on(&self, node: &str) -> usize {
        let pods = self.pods.iter().flat_map(BTreeMap::values);
        pods.filter(|pod| pod.holds() == Some(node)).count()
    }

    fn recount(&mut self) {
        let Some(nodes) = &mut self.nodes else { return };
        for candidate in nodes.values_mut() {
            candidate.pods = 0;
        }
        for node in self
            .pods
            .iter()
            .flat_map(BTreeMap::values)
            .filter_map(Pod::holds)
        {
            if let Some(candidate) = nodes.get_mut(node) {
                candidate.pods += 1;
            }
        }
    }

    /// Tries every pod that is due.
    fn try_all(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let names: Vec<_> = self.pending.values().cloned().collect();
        for name in names {
            self.try_one(&name, now, actions);
        }
    }

    fn try_one(&mut self, name: &ObjectName, now: Instant, actions: &mut Vec<Action>) {
        let (Some(nodes), Some(pods)) = (&mut self.nodes, &mut self.pods) else {
            return;
        };
        let Some(pod) = pods.get_mut(name).filter(|pod| pod.queued.is_some()) else {
            return;
        };
        if pod.not_before.is_some_and(|at| at > now) {
            return;
        }
        pod.not_before = None;
        match fit::choose(&pod.view, nodes) {
            Ok(node) => {
                let candidate = nodes
                    .get_mut(&node)
                    .expect("the choice is one of the nodes");
                candidate.pods += 1;
                if let Some(place) = pod.queued.take() {
                    self.pending.remove(&place);
                }
                actions.push(pod.bind(name, node));
            }
            Err(reasons) => pod.refuse(name, reasons.to_string(), actions),
        }
    }

    fn bind_ended(
        &mut self,
        (name, uid, node): (&ObjectName, &str, &str),
        outcome: &Outcome,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        match outcome {
            Outcome::Done => actions.push(tell_scheduled(name, uid, node)),
            // The watch brings the pod's removal.
            Outcome::Gone => {}
            Outcome::Outdated | Outcome::Refused(_) => self.queue_again(name, uid, now),
        }
    }

    fn queue_again(&mut self, name: &ObjectName, uid: &str, now: Instant) {
        if self
            .pod_mut(name, uid)
            .is_none_or(|pod| pod.assumed.is_none())
        {
            return;
        }
        self.count(name, -1);
        let place = self.arrivals;
        let Some(pod) = self.pod_mut(name, uid) else {
            return;
        };
        pod.assumed = None;
        pod.not_before = Some(now + pause(pod.failures));
        pod.failures += 1;
        pod.queued = Some(place);
        self.arrivals += 1;
        self.pending.insert(place, name.clone());
    }
}

impl Pod {
    /// A pod that is seen again keeps what we decided about it, until the API shows it.
    fn of(view: &Arc<PodView>, before: Option<&Self>) -> Self {
        let assumed = before.and_then(|pod| pod.assumed.clone());
        Self {
            assumed: assumed.filter(|_| view.node.is_none()),
            queued: None,
            failures: before.map_or(0, |pod| pod.failures),
            not_before: before.and_then(|pod| pod.not_before),
            refused: view.refused.clone(),
            view: Arc::clone(view),
        }
    }

    /// The node on which it takes up a place.
    fn holds(&self) -> Option<&str> {
        let node = self.view.node.as_deref().or(self.assumed.as_deref());
        node.filter(|_| !self.view.finished)
    }

    fn is_wanting(&self) -> bool {
        let view = &self.view;
        let unplaced = view.node.is_none() && self.assumed.is_none();
        unplaced && !view.deleting && !view.finished && view.scheduler == OUR_NAME
    }

    fn bind(&mut self, name: &ObjectName, node: String) -> Action {
        self.assumed = Some(node.clone());
        Action::Bind {
            pod: name.clone(),
            uid: self.view.uid.clone(),
            node,
        }
    }

    /// Says why there is no node, unless that is what was said last.
    fn refuse(&mut self, name: &ObjectName, message: String, actions: &mut Vec<Action>) {
        let before = self.refused.replace(message.clone());
        if before.as_ref() == Some(&message) {
            return;
        }
        let uid = self.view.uid.clone();
        actions.push(Action::Tell {
            about: About::Pod {
                name: name.clone(),
                uid: uid.clone(),
            },
            severity: Severity::Warning,
            reason: "FailedScheduling",
            message: message.clone(),
        });
        actions.push(Action::Refuse {
            pod: name.clone(),
            uid,
            version: self.view.version.clone(),
            message,
            turns: before.is_none(),
        });
    }
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << failures.min(10))
        .min(LONGEST_PAUSE)
}

fn tell_scheduled(name: &ObjectName, uid: &str, node: &str) -> Action {
    Action::Tell {
        about: About::Pod {
            name: name.clone(),
            uid: uid.to_owned(),
        },
        severity: Severity::Normal,
        reason: "Scheduled",
        message: format!("Successfully assigned {name} to {node}"),
    }
}

impl Controller for Scheduler {
    fn handle(&mut self, input: &Input, now: Instant, actions: &mut Vec<Action>) {
        match input {
            Input::Nodes(change) => {
                if self.nodes_changed(change) {
                    self.try_all(now, actions);
                }
            }
            Input::Pods(change) => {
                if self.pods_changed(change) {
                    self.try_all(now, actions);
                } else if let Change::Applied(name, _) = change {
                    self.try_one(name, now, actions);
                }
            }
            Input::Ended(Action::Bind { pod, uid, node }, outcome) => {
                self.bind_ended((pod, uid, node), outcome, now, actions);
            }
            Input::Tick => self.try_all(now, actions),
            Input::Ended(..) | Input::Leases(_) | Input::Workloads(_) => {}
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let waiting = self
            .pending
            .values()
            .filter_map(|name| self.pod(name)?.not_before);
        waiting.min()
    }

    fn state(&self, now: Instant) -> Value {
        let pods = || self.pods.iter().flatten();
        let assumed: BTreeMap<_, _> = pods()
            .filter_map(|(name, pod)| Some((name.to_string(), pod.assumed.clone()?)))
            .collect();
        let pending: BTreeMap<_, _> = pods()
            .filter(|(_, pod)| pod.queued.is_some())
            .map(|(name, pod)| {
                let wait = pod
                    .not_before
                    .map(|at| at.saturating_duration_since(now).as_millis());
                (
                    name.to_string(),
                    json!({"refused": pod.refused, "wait_ms": wait}),
                )
            })
            .collect();
        json!({"nodes": self.nodes, "assumed": assumed, "pending": pending, "pods": pods().count()})
    }
}

#[cfg(test)]
mod tests;
