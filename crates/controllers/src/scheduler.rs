//! Which node a pod gets: the task around [`sealane_scheduling`].
//!
//! ```text
//!  pod appears ──> pending ──fits──> Bind, assumed ──Done──> bound (the watch says so)
//!                    │  ^                    └──Gone──> forgotten
//!         fits nowhere  └──── Outdated, Refused: after a pause ┘
//!                    v
//!             Refuse: condition and Event say why; tried again when something
//!             happens that could help against one of the reasons
//! ```
//!
//! A pod counts on its node from the moment it is assigned, before the API server
//! has heard of it, so that a hundred pods at once are spread like a hundred
//! one after the other and none is promised what another was given. Pending
//! pods are tried by priority, then in the order of their coming; of pods that are
//! alike only the first is tried in a pass, since the others would get the same answer.
//! A pod with scheduling gates waits until the last one is taken away.
//!
//! A pod that fits nowhere may push others of lower priority aside ([`preempt`]): they are deleted, and until
//! they are gone the room counts as taken for whoever is of no higher priority.

mod facts;
mod pod;
mod preempt;
mod spreading;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealane_kube::events::Severity;
use sealane_kube::{Change, Mirror};
use sealane_objects::ObjectName;
use sealane_scheduling::{Attempt, Board, ClassId, Happening, Refusal, Traits};
use serde_json::{Value, json};

use crate::action::{About, Action, Controller, Input, Outcome};
use crate::view::{NodeView, PodView};
use crate::workloads::Budget;
use crate::workloads::news::{Labels, News};
use facts::facts;
use pod::{Place, Pod};
use spreading::Spreading;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Scheduler {
    board: Board,
    seen: Seen,
    pods: BTreeMap<ObjectName, Pod>,
    /// Pods that want a node, in the order in which they are tried.
    pending: BTreeMap<Place, ObjectName>,
    arrivals: u64,
    /// When pods have to be looked at without any news.
    alarms: BTreeSet<(Instant, Place)>,
    spreading: Spreading,
    budgets: Mirror<Arc<Budget>>,
    /// Pending pods for which room is being made; some that are not pending any more among them.
    nominated: BTreeSet<ObjectName>,
}

/// Which watches have given their first full set.
#[derive(Default)]
struct Seen {
    nodes: bool,
    pods: bool,
    namespaces: bool,
}

/// Pods that are alike and were refused, in one pass over the queue.
#[derive(Default)]
struct Refused {
    why: BTreeMap<ClassId, Refusal>,
    /// What pushing others aside would not have changed.
    vain: BTreeMap<ClassId, Attempt>,
}

impl Scheduler {
    fn is_synced(&self) -> bool {
        self.seen.nodes && self.seen.pods && self.seen.namespaces
    }

    /// Whether a node changed in a way that a pending pod could care for.
    fn nodes_changed(&mut self, change: &Change<NodeView>) -> bool {
        match change {
            Change::Reset(all) => {
                self.seen.nodes = true;
                let listed: BTreeSet<_> = all.iter().map(|(name, _)| &name.name).collect();
                let known = self.board.nodes().map(|(name, _)| name.to_owned());
                let gone: Vec<_> = known.filter(|name| !listed.contains(name)).collect();
                for name in gone {
                    self.board.set_node(&name, None);
                }
                for (name, node) in all {
                    self.board.set_node(&name.name, Some(facts(node)));
                }
                true
            }
            Change::Applied(name, node) => self.board.set_node(&name.name, Some(facts(node))),
            Change::Deleted(name, _) => self.board.set_node(&name.name, None),
        }
    }

    fn namespaces_changed(&mut self, change: &Change<Arc<Labels>>) -> bool {
        match change {
            Change::Reset(all) => {
                self.seen.namespaces = true;
                let listed: BTreeSet<_> = all.iter().map(|(name, _)| &name.name).collect();
                let known = self.board.namespaces().cloned();
                let gone: Vec<_> = known.filter(|name| !listed.contains(name)).collect();
                for name in gone {
                    self.board.set_namespace(&name, None);
                }
                for (name, labels) in all {
                    self.board
                        .set_namespace(&name.name, Some((**labels).clone()));
                }
                true
            }
            Change::Applied(name, labels) => {
                let labels = Some((**labels).clone());
                self.board.set_namespace(&name.name, labels)
            }
            Change::Deleted(name, _) => self.board.set_namespace(&name.name, None),
        }
    }

    fn pods_listed(&mut self, all: &[(ObjectName, Arc<PodView>)]) {
        self.seen.pods = true;
        self.pending.clear();
        let mut before = std::mem::take(&mut self.pods);
        for pod in before.values() {
            self.lift(pod);
        }
        for (name, view) in all {
            let before = before.remove(name);
            self.insert(name, view, before);
        }
        for pod in before.values() {
            self.board.part(pod.class);
        }
    }

    /// What the change of one pod means for others.
    fn pod_applied(&mut self, name: &ObjectName, view: &Arc<PodView>) -> Vec<Happening> {
        let before = self.pods.remove(name);
        if let Some(before) = &before {
            self.lift(before);
            self.unqueue(before);
        }
        let held = before.as_ref().and_then(standing);
        self.insert(name, view, before);
        let holds = self.pods.get(name).and_then(standing);
        match (held, holds) {
            (before, after) if before == after => vec![],
            (None, Some(_)) => vec![Happening::PodCame],
            (Some(_), None) => vec![Happening::PodLeft],
            // Its labels changed, or it begins to leave.
            _ => vec![Happening::PodLeft, Happening::PodCame],
        }
    }

    fn pod_deleted(&mut self, name: &ObjectName) -> Option<Happening> {
        let pod = self.pods.remove(name)?;
        self.lift(&pod);
        self.unqueue(&pod);
        self.board.part(pod.class);
        pod.holds().map(|_| Happening::PodLeft)
    }

    fn insert(&mut self, name: &ObjectName, view: &Arc<PodView>, before: Option<Pod>) {
        let class = self.board.join(traits(name, view));
        let parted = before.as_ref().map(|before| before.class);
        let before = before.filter(|before| before.view.uid == view.uid);
        let queued = before.as_ref().and_then(|before| before.queued);
        let mut pod = Pod::of(view, class, before);
        if let Some(parted) = parted {
            self.board.part(parted);
        }
        pod.queued = None;
        if let Some(node) = pod.holds() {
            self.board.put(class, node, view.deleting);
        }
        if pod.nominated.is_some() {
            self.nominated.insert(name.clone());
        }
        if pod.is_wanting() && !view.gated {
            let arrival = queued.map_or(self.arrivals, |(_, arrival)| arrival);
            self.enqueue(name, &mut pod, arrival);
        }
        self.pods.insert(name.clone(), pod);
    }

    fn enqueue(&mut self, name: &ObjectName, pod: &mut Pod, arrival: u64) {
        let place = (Reverse(pod.view.demand.priority), arrival);
        self.arrivals = self.arrivals.max(arrival + 1);
        self.pending.insert(place, name.clone());
        pod.queued = Some(place);
    }

    fn unqueue(&mut self, pod: &Pod) {
        if let Some(place) = pod.queued {
            self.pending.remove(&place);
        }
    }

    /// Takes a pod from the node on which it counts.
    fn lift(&mut self, pod: &Pod) {
        if let Some(node) = pod.holds() {
            self.board.take(pod.class, node, pod.view.deleting);
        }
    }

    /// Tries the pods that this could help, and those that were never tried.
    fn try_after(&mut self, happening: Happening, now: Instant, actions: &mut Vec<Action>) {
        let helped = |name: &ObjectName| {
            let pod = self.pods.get(name)?;
            let helped = pod.refusal.as_ref().is_none_or(|r| r.helped_by(happening));
            helped.then(|| name.clone())
        };
        let names: Vec<_> = self.pending.values().filter_map(helped).collect();
        let mut refused = Refused::default();
        for name in names {
            self.try_one(&name, now, &mut refused, actions);
        }
    }

    fn try_one(
        &mut self,
        name: &ObjectName,
        now: Instant,
        refused: &mut Refused,
        actions: &mut Vec<Action>,
    ) {
        if !self.is_synced() {
            return;
        }
        let Some(pod) = self.pods.get_mut(name) else {
            return;
        };
        let Some(place) = pod.queued else { return };
        if pod.not_before.is_some_and(|at| at > now) {
            return;
        }
        pod.not_before = None;
        let class = pod.class;
        // Room that is made for it is there for it alone.
        let known = refused.why.get(&class);
        let answer = match known.filter(|_| pod.nominated.is_none()) {
            Some(refusal) => Err(refusal.clone()),
            None => self.choose(name),
        };
        match answer {
            Ok(node) => {
                self.board.put(class, &node, false);
                self.pending.remove(&place);
                if let Some(pod) = self.pods.get_mut(name) {
                    pod.queued = None;
                    actions.push(pod.bind(name, node));
                }
                let helped = |refusal: &Refusal| refusal.helped_by(Happening::PodCame);
                refused.why.retain(|_, refusal| !helped(refusal));
            }
            Err(mut refusal) => {
                let known = refused.why.entry(class);
                known.or_insert_with(|| refusal.clone());
                self.preempt(name, &mut refusal, &mut refused.vain, actions);
                let pod = self.pods.get_mut(name);
                let later = pod.and_then(|pod| pod.refuse(name, refusal, now, actions));
                self.alarms.extend(later.map(|at| (at, place)));
            }
        }
    }

    /// The node for a pod, as things stand.
    fn choose(&mut self, name: &ObjectName) -> Result<String, Refusal> {
        let held = self.hold_nominated(name);
        let Some(pod) = self.pods.get(name) else {
            return Err(Refusal::default());
        };
        let silent = pod.view.demand.spread.is_empty();
        let like = silent.then(|| self.spreading.like(&name.namespace, &pod.view));
        let like = like.flatten();
        let answer = self.board.choose(pod.class, like.as_ref());
        let answer = answer.map(str::to_owned);
        self.release(held);
        answer
    }

    /// Looks at a pod that has changed itself.
    fn look_at(&mut self, name: &ObjectName, now: Instant, actions: &mut Vec<Action>) {
        let Some(pod) = self.pods.get_mut(name) else {
            return;
        };
        if pod.view.gated && pod.is_wanting() {
            return pod.hold_back(name, actions);
        }
        // One that was refused as it is gets no other answer.
        if pod.refusal.is_none() {
            self.try_one(name, now, &mut Refused::default(), actions);
        }
    }

    fn look_at_all(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for (name, pod) in &mut self.pods {
            if pod.view.gated && pod.is_wanting() {
                pod.hold_back(name, actions);
            }
        }
        self.try_after(Happening::Node, now, actions);
    }

    fn ring(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let mut refused = Refused::default();
        while let Some((_, place)) = self.alarms.first().copied().filter(|(at, _)| *at <= now) {
            self.alarms.pop_first();
            if let Some(name) = self.pending.get(&place).cloned() {
                self.try_one(&name, now, &mut refused, actions);
            }
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
            Outcome::Done | Outcome::Keeps(_) => actions.push(tell_scheduled(name, uid, node)),
            // The watch brings the pod's removal.
            Outcome::Gone => {}
            Outcome::Outdated | Outcome::Refused(_) => self.queue_again(name, uid, now),
        }
    }

    fn queue_again(&mut self, name: &ObjectName, uid: &str, now: Instant) {
        let Some(mut pod) = self.pods.remove(name) else {
            return;
        };
        if pod.view.uid == uid && pod.assumed.is_some() {
            self.lift(&pod);
            pod.assumed = None;
            let at = now + pause(pod.failures);
            pod.not_before = Some(at);
            pod.failures += 1;
            let arrival = self.arrivals;
            self.enqueue(name, &mut pod, arrival);
            self.alarms.extend(pod.queued.map(|place| (at, place)));
        }
        self.pods.insert(name.clone(), pod);
    }

    /// A refusal that the API did not take, because the pod had changed, is said again.
    fn refusal_ended(&mut self, (name, uid): (&ObjectName, &str), outcome: &Outcome, now: Instant) {
        if *outcome == Outcome::Done {
            return;
        }
        let pod = self.pods.get_mut(name);
        if let Some(pod) = pod.filter(|pod| pod.view.uid == uid) {
            pod.unsaid();
            self.alarms
                .extend(pod.queued.map(|place| (now + FIRST_PAUSE, place)));
        }
    }
}

/// Where a pod counts and as what: what others can notice of it.
fn standing(pod: &Pod) -> Option<(String, ClassId, bool)> {
    let node = pod.holds()?.to_owned();
    Some((node, pod.class, pod.view.deleting))
}

fn traits(name: &ObjectName, view: &PodView) -> Traits {
    Traits {
        namespace: name.namespace.clone(),
        labels: (*view.facts.labels).clone(),
        demand: Arc::clone(&view.demand),
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
                    self.try_after(Happening::Node, now, actions);
                }
            }
            Input::Pods(Change::Reset(all)) => {
                self.pods_listed(all);
                self.look_at_all(now, actions);
            }
            Input::Pods(Change::Applied(name, view)) => {
                for happening in self.pod_applied(name, view) {
                    self.try_after(happening, now, actions);
                }
                self.look_at(name, now, actions);
            }
            Input::Pods(Change::Deleted(name, _)) => {
                if let Some(happening) = self.pod_deleted(name) {
                    self.try_after(happening, now, actions);
                }
            }
            Input::Workloads(News::Namespaces(change)) => {
                if self.namespaces_changed(change) {
                    self.try_after(Happening::Node, now, actions);
                }
            }
            Input::Workloads(News::Budgets(change)) => {
                let first = !self.budgets.is_synced();
                self.budgets.apply(change.clone());
                if first {
                    self.try_after(Happening::Node, now, actions);
                }
            }
            Input::Workloads(news) => self.spreading.hear(news),
            Input::Ended(Action::Preempt { pod, by, .. }, outcome) => {
                self.preempt_ended(pod, by, outcome, now);
            }
            Input::Ended(Action::Bind { pod, uid, node }, outcome) => {
                self.bind_ended((pod, uid, node), outcome, now, actions);
            }
            Input::Ended(Action::Refuse { pod, uid, .. }, outcome) => {
                self.refusal_ended((pod, uid), outcome, now);
            }
            Input::Tick => self.ring(now, actions),
            Input::Ended(..) | Input::Leases(_) => {}
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    fn state(&self, now: Instant) -> Value {
        let assumed: BTreeMap<_, _> = self
            .pods
            .iter()
            .filter_map(|(name, pod)| Some((name.to_string(), pod.assumed.clone()?)))
            .collect();
        let pending: BTreeMap<_, _> = self
            .pending
            .values()
            .filter_map(|name| {
                let pod = self.pods.get(name)?;
                let wait = pod.not_before;
                let wait = wait.map(|at| at.saturating_duration_since(now).as_millis());
                let shown = json!({
                    "refused": pod.said(), "wait_ms": wait, "nominated": pod.nominated,
                });
                Some((name.to_string(), shown))
            })
            .collect();
        let nodes: BTreeMap<_, _> = self
            .board
            .nodes()
            .map(|(name, node)| {
                let (pods, used) = (self.board.pods_on(name), self.board.used_on(name));
                (
                    name.to_owned(),
                    json!({"facts": node, "pods": pods, "used": used}),
                )
            })
            .collect();
        json!({"nodes": nodes, "assumed": assumed, "pending": pending, "pods": self.pods.len()})
    }
}

#[cfg(test)]
mod tests;
