//! Pods leave a node that is tainted `NoExecute`: at once, or when the time is over for which they bear the taint.
//!
//! ```text
//!  taint appears ──> pod does not bear it ──────────────────> Evict
//!                └─> bears it for a while ──timer──> Evict
//!                         └── taint goes, or is borne for ever ──> cancelled, with an Event
//! ```
//!
//! Several taints that are borne for different times: the shortest counts. The
//! time runs from when the first of them was seen, so that an exchange of one
//! for another gives no time anew; a controller that has just started counts
//! from its start. All as in Kubernetes' taint eviction controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealane_kube::Change;
use sealane_kube::events::Severity;
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use super::pods::PodsByNode;
use crate::action::{About, Action, Outcome};
use crate::view::{NodeView, PodView};
use sealane_objects::{Effect, Placement, Taint};

/// Until an eviction that was refused is tried again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Evictions {
    /// The taints that send pods away, of nodes that have any.
    tainted: BTreeMap<String, Vec<Taint>>,
    waiting: BTreeMap<ObjectName, Waiting>,
    timers: BTreeSet<(Instant, ObjectName)>,
    /// Pods (by uid) whose deletion is asked for.
    asked: BTreeSet<String>,
}

struct Waiting {
    uid: String,
    since: Instant,
    until: Instant,
}

/// How a pod bears some taints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bearing {
    NotAtAll,
    For(Duration),
    ForEver,
}

impl Evictions {
    pub fn nodes_changed(
        &mut self,
        change: &Change<NodeView>,
        pods: &PodsByNode,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        match change {
            Change::Reset(all) => {
                for (name, node) in all {
                    self.node_seen(&name.name, node, pods, now, actions);
                }
            }
            Change::Applied(name, node) => self.node_seen(&name.name, node, pods, now, actions),
            // What its pods were given stands: nothing says that they are better off.
            Change::Deleted(name, _) => drop(self.tainted.remove(&*name.name)),
        }
    }

    fn node_seen(
        &mut self,
        name: &str,
        node: &NodeView,
        pods: &PodsByNode,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let sends = |taint: &&Taint| taint.effect == Effect::NoExecute;
        let taints: Vec<_> = node.taints.iter().filter(sends).cloned().collect();
        let before = match taints.is_empty() {
            true => self.tainted.remove(name),
            false => self.tainted.insert(name.to_owned(), taints.clone()),
        };
        // Pods of a node that was deleted and has come back may still wait.
        if before.is_none() && taints.is_empty() && self.waiting.is_empty() {
            return;
        }
        if before.as_ref() != Some(&taints) {
            for (pod_name, pod) in pods.of(name) {
                self.look_at(pod_name, pod, &taints, now, actions);
            }
        }
    }

    pub fn pods_changed(
        &mut self,
        change: &Change<Arc<PodView>>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        match change {
            Change::Reset(all) => {
                let there: BTreeSet<&str> = all.iter().map(|(_, pod)| &*pod.uid).collect();
                self.asked.retain(|uid| there.contains(uid.as_str()));
                let gone = self.waiting.iter();
                let gone = gone.filter(|(_, waiting)| !there.contains(waiting.uid.as_str()));
                let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
                for name in gone {
                    self.stop(&name);
                }
                for (name, pod) in all {
                    self.pod_seen(name, pod, now, actions);
                }
            }
            Change::Applied(name, pod) => self.pod_seen(name, pod, now, actions),
            Change::Deleted(name, pod) => {
                self.stop(name);
                self.asked.remove(&pod.uid);
            }
        }
    }

    fn pod_seen(
        &mut self,
        name: &ObjectName,
        pod: &PodView,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let waits_as_another = |waiting: &Waiting| waiting.uid != pod.uid;
        if pod.deleting || self.waiting.get(name).is_some_and(waits_as_another) {
            self.stop(name);
        }
        let node = pod.node.as_ref();
        if let Some(taints) = node.and_then(|node| self.tainted.get(node)).cloned() {
            self.look_at(name, pod, &taints, now, actions);
        }
    }

    fn look_at(
        &mut self,
        name: &ObjectName,
        pod: &PodView,
        taints: &[Taint],
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if pod.deleting || self.asked.contains(&pod.uid) {
            return;
        }
        match bearing(&pod.demand.placement, taints) {
            Bearing::ForEver => {
                if let Some(waiting) = self.stop(name) {
                    actions.push(tell(name, &waiting.uid, "Cancelling deletion of Pod"));
                }
            }
            Bearing::NotAtAll => {
                self.stop(name);
                self.evict(name, &pod.uid, actions);
            }
            Bearing::For(time) => {
                let since = self.stop(name).map_or(now, |waiting| waiting.since);
                let until = since + time;
                if until <= now {
                    return self.evict(name, &pod.uid, actions);
                }
                let uid = pod.uid.clone();
                let waiting = Waiting { uid, since, until };
                self.timers.insert((until, name.clone()));
                self.waiting.insert(name.clone(), waiting);
            }
        }
    }

    fn stop(&mut self, name: &ObjectName) -> Option<Waiting> {
        let waiting = self.waiting.remove(name)?;
        self.timers.remove(&(waiting.until, name.clone()));
        Some(waiting)
    }

    fn evict(&mut self, name: &ObjectName, uid: &str, actions: &mut Vec<Action>) {
        if self.asked.insert(uid.to_owned()) {
            actions.push(tell(name, uid, "Marking for deletion Pod"));
            actions.push(Action::Evict {
                pod: name.clone(),
                uid: uid.to_owned(),
            });
        }
    }

    pub fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some((until, name)) = self.timers.first().cloned()
            && until <= now
        {
            if let Some(waiting) = self.stop(&name) {
                self.evict(&name, &waiting.uid, actions);
            }
        }
    }

    pub fn ended(&mut self, action: &Action, outcome: &Outcome, now: Instant) {
        let Action::Evict { pod, uid } = action else {
            return;
        };
        match outcome {
            // The watch shows the deletion, or has shown it.
            Outcome::Done | Outcome::Keeps(_) => {}
            Outcome::Gone => drop(self.asked.remove(uid)),
            Outcome::Outdated | Outcome::Refused(_) => {
                self.asked.remove(uid);
                let waiting = Waiting {
                    uid: uid.clone(),
                    since: now,
                    until: now + AGAIN,
                };
                self.timers.insert((waiting.until, pod.clone()));
                self.waiting.insert(pod.clone(), waiting);
            }
        }
    }

    pub fn wake_at(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub fn state(&self, now: Instant) -> Value {
        let waiting = self.waiting.iter().map(|(name, waiting)| {
            let left = waiting.until.saturating_duration_since(now);
            (name.to_string(), left.as_millis())
        });
        let waiting: BTreeMap<_, _> = waiting.collect();
        json!({"tainted": self.tainted, "waiting_ms": waiting, "asked": self.asked})
    }
}

/// How a pod bears these taints together.
fn bearing(placement: &Placement, taints: &[Taint]) -> Bearing {
    let mut shortest = None;
    for taint in taints {
        let mut borne = false;
        for toleration in placement.tolerations.iter().filter(|t| t.bears(taint)) {
            borne = true;
            let time = toleration
                .seconds
                .map(|seconds| u64::try_from(seconds).unwrap_or(0));
            shortest = shortest.into_iter().chain(time).min();
        }
        if !borne {
            return Bearing::NotAtAll;
        }
    }
    match shortest {
        Some(seconds) => Bearing::For(Duration::from_secs(seconds)),
        None => Bearing::ForEver,
    }
}

fn tell(name: &ObjectName, uid: &str, what: &str) -> Action {
    Action::Tell {
        about: About::Pod {
            name: name.clone(),
            uid: uid.to_owned(),
        },
        severity: Severity::Normal,
        reason: "TaintManagerEviction",
        message: format!("{what} {name}"),
    }
}

#[cfg(test)]
mod tests;
