//! Pushing pods aside for one of higher priority.
//!
//! ```text
//!  fits nowhere ──room can be made──> Preempt each victim, nominated ──they are gone──> tried again: fits
//!       ^  └──it cannot──> refused, for good reasons                │
//!       └───────────── a victim could not be deleted ───────────────┘
//! ```
//!
//! Who has to go is decided in [`sealane_scheduling`]. The pod is not given the node: it is tried again as
//! any pod when its victims have ended, and until then nothing more is done for it.

use std::collections::BTreeMap;
use std::time::Instant;

use sealane_kube::events::Severity;
use sealane_objects::ObjectName;
use sealane_scheduling::{Attempt, ClassId, Refusal, Standing};

use super::pod::Pod;
use super::{FIRST_PAUSE, Scheduler};
use crate::action::{Action, Outcome};

/// Room that counts as taken.
pub type Held = Vec<(ClassId, String)>;

impl Scheduler {
    /// Counts pods for which room is being made where it is, but for those of lower priority than this
    /// one and itself.
    pub(super) fn hold_nominated(&mut self, name: &ObjectName) -> Held {
        let Some(own) = self.pods.get(name).map(priority) else {
            return Held::new();
        };
        let pods = &self.pods;
        let waits = |other: &ObjectName| {
            let pod = pods.get(other)?;
            pod.queued?;
            Some((pod, pod.nominated.as_ref()?))
        };
        self.nominated.retain(|other| waits(other).is_some());
        let others = self.nominated.iter().filter(|other| *other != name);
        let others = others.filter_map(waits);
        let held: Held = others
            .filter(|(pod, _)| priority(pod) >= own)
            .map(|(pod, node)| (pod.class, node.clone()))
            .collect();
        for (class, node) in &held {
            self.board.put(*class, node, false);
        }
        held
    }

    /// Gives back what was held.
    pub(super) fn release(&mut self, held: Held) {
        for (class, node) in held {
            self.board.take(class, &node, false);
        }
    }

    /// Makes room for a pod that fits nowhere, if others of lower priority are in its way; writes into its
    /// refusal what came of it.
    pub(super) fn preempt(
        &mut self,
        name: &ObjectName,
        refusal: &mut Refusal,
        vain: &mut BTreeMap<ClassId, Attempt>,
        actions: &mut Vec<Action>,
    ) {
        if !self.budgets.is_synced() {
            return;
        }
        let Some(pod) = self.pods.get(name) else {
            return;
        };
        let class = pod.class;
        let attempt = if !refusal.might_preempt() {
            Attempt::None
        } else if self.awaits_victims(pod) {
            Attempt::Awaited
        } else if let Some(known) = vain.get(&class) {
            known.clone()
        } else {
            let attempt = self.make_room(name, class, actions);
            if let Attempt::Vain(_) = attempt {
                vain.insert(class, attempt.clone());
            }
            attempt
        };
        if let (Attempt::None | Attempt::Vain(_), Some(pod)) = (&attempt, self.pods.get_mut(name)) {
            pod.nominated = None;
            pod.victims.clear();
        }
        refusal.attempted(attempt);
    }

    fn make_room(
        &mut self,
        name: &ObjectName,
        class: ClassId,
        actions: &mut Vec<Action>,
    ) -> Attempt {
        let held = self.hold_nominated(name);
        let own = self.pods.get(name).map_or(0, priority);
        let (standing, names) = self.standing(own);
        let allowed: Vec<i32> = self.budgets.values().map(|one| one.allowed()).collect();
        let room = self.board.make_room(class, &standing, &allowed);
        self.release(held);
        let room = match room {
            Ok(room) => room,
            Err(failing) => return Attempt::Vain(failing),
        };
        let there = names.get(&room.node).map_or(&[][..], Vec::as_slice);
        let victims = room.victims.iter().filter_map(|at| there.get(*at));
        let victims: Vec<ObjectName> = victims.cloned().collect();
        self.push_aside(name, &room.node, victims, actions);
        Attempt::Made
    }

    fn push_aside(
        &mut self,
        name: &ObjectName,
        node: &str,
        victims: Vec<ObjectName>,
        actions: &mut Vec<Action>,
    ) {
        let Some((own, uid)) = self
            .pods
            .get(name)
            .map(|pod| (priority(pod), pod.view.uid.clone()))
        else {
            return;
        };
        // Who was to get that room before has to look for another.
        for other in &self.nominated {
            let other = self.pods.get_mut(other);
            let here = |pod: &&mut Pod| pod.nominated.as_deref() == Some(node);
            if let Some(other) = other.filter(|pod| priority(pod) < own).filter(here) {
                other.nominated = None;
                other.victims.clear();
            }
        }
        let mut awaited = Vec::new();
        for victim in victims {
            let Some(pod) = self.pods.get(&victim) else {
                continue;
            };
            awaited.push((victim.clone(), pod.view.uid.clone()));
            if pod.view.deleting {
                continue;
            }
            let message = format!("Preempted by pod {uid} on node {node}");
            actions.push(Action::Preempt {
                pod: victim.clone(),
                uid: pod.view.uid.clone(),
                by: name.clone(),
            });
            actions.push(pod.tell(&victim, Severity::Normal, "Preempted", message));
        }
        if let Some(pod) = self.pods.get_mut(name) {
            pod.nominated = Some(node.to_owned());
            pod.victims = awaited;
            self.nominated.insert(name.clone());
        }
    }

    /// Pods on nodes that are of lower priority, and their names.
    fn standing(
        &self,
        own: i32,
    ) -> (
        BTreeMap<String, Vec<Standing>>,
        BTreeMap<String, Vec<ObjectName>>,
    ) {
        let mut standing = BTreeMap::<String, Vec<Standing>>::new();
        let mut names = BTreeMap::<String, Vec<ObjectName>>::new();
        for (name, pod) in &self.pods {
            let Some(node) = pod.holds().filter(|_| priority(pod) < own) else {
                continue;
            };
            let facts = &pod.view.facts;
            let budgets = self.budgets.values().enumerate().filter(|(_, budget)| {
                budget.selects(&name.namespace, &facts.labels) && !budget.has_let_go(&name.name)
            });
            let one = Standing {
                class: pod.class,
                leaving: pod.view.deleting,
                since: facts.created.map_or(i64::MAX, |at| at.as_millisecond()),
                budgets: budgets.map(|(at, _)| at).collect(),
            };
            standing.entry(node.to_owned()).or_default().push(one);
            names.entry(node.to_owned()).or_default().push(name.clone());
        }
        (standing, names)
    }

    /// Whether pods still go for this one. Those of the leader before us are known by where they are.
    fn awaits_victims(&self, pod: &Pod) -> bool {
        let Some(node) = pod.nominated.as_deref() else {
            return false;
        };
        if pod.victims.is_empty() {
            let mut others = self.pods.values();
            return others.any(|other| {
                let goes = other.holds() == Some(node) && other.view.deleting;
                goes && priority(other) < priority(pod)
            });
        }
        pod.victims.iter().any(|(victim, uid)| {
            let there = self.pods.get(victim);
            there.is_some_and(|other| other.view.uid == *uid && other.holds().is_some())
        })
    }

    /// A victim that could not be deleted stays; another way is looked for, a moment later.
    pub(super) fn preempt_ended(
        &mut self,
        victim: &ObjectName,
        by: &ObjectName,
        outcome: &Outcome,
        now: Instant,
    ) {
        let failed = matches!(outcome, Outcome::Refused(_) | Outcome::Outdated);
        let Some(pod) = self.pods.get_mut(by).filter(|_| failed) else {
            return;
        };
        pod.victims.retain(|(other, _)| other != victim);
        self.alarms
            .extend(pod.queued.map(|place| (now + FIRST_PAUSE, place)));
    }
}

fn priority(pod: &Pod) -> i32 {
    pod.view.demand.priority
}
