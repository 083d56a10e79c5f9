//! Which taints a node has for what its conditions say, and for being cordoned.
//!
//! | node | `NoSchedule` | `NoExecute` |
//! |---|---|---|
//! | Ready is False | `node.kubernetes.io/not-ready` | the same, as fast as its zone allows |
//! | Ready is Unknown | `node.kubernetes.io/unreachable` | the same, as fast as its zone allows |
//! | MemoryPressure, DiskPressure, PIDPressure, NetworkUnavailable is True | `memory-pressure`, … | |
//! | `spec.unschedulable` | `unschedulable` | |
//!
//! A node that turns from one of the first two to the other has its
//! `NoExecute` taint exchanged at once: pods that bear it for a while must not
//! get that time anew. Taints that others have put there are left alone. When
//! no node of the cluster is ready, no node keeps a `NoExecute` taint: there
//! is no better place for its pods ([`super::zones`]).
//!
//! A node that has just registered is not ready for a moment. That costs no
//! taint (Kubernetes sets one at creation): the scheduler passes over nodes
//! that are not ready anyway.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sealane_kube::Change;
use serde_json::{Value, json};

use super::zones::{Rates, Turn, Zones};
use crate::action::{Action, Outcome};
use crate::view::{NodeView, Truth};
use sealane_objects::{Effect, Taint};

pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Taints for conditions that hold, by the condition's type.
pub const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "node.kubernetes.io/network-unavailable",
    ),
];
/// A node that has never been ready gets so long before it is tainted for that.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
/// Until a taint that could not be set is tried again, or is taken for lost.
const AGAIN: Duration = Duration::from_secs(1);

pub struct Taints {
    nodes: BTreeMap<String, Node>,
    zones: Zones,
    /// After a time without any ready node, others are given so long to come back.
    patience: Duration,
    /// Some node was ready once.
    seen_ready: bool,
}

struct Node {
    view: NodeView,
    /// When it may be tainted for not being ready.
    not_before: Instant,
    /// When it may be tainted further, as things were when that was looked at.
    later: Option<Instant>,
    quiet: Quiet,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quiet {
    No,
    UntilEnded,
    Until(Instant),
}

/// What has to change on a node, and when that may happen.
#[derive(Default)]
struct Wish {
    add: Vec<Taint>,
    remove: Vec<Taint>,
    /// When more may be wished for.
    later: Option<Instant>,
    /// Its pods are going to leave.
    empties: bool,
}

impl Taints {
    pub fn new(rates: Rates, patience: Duration) -> Self {
        Self {
            nodes: BTreeMap::new(),
            zones: Zones::new(rates),
            patience,
            seen_ready: false,
        }
    }

    pub fn nodes_changed(
        &mut self,
        change: &Change<NodeView>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        match change {
            Change::Reset(all) => {
                let mut before = std::mem::take(&mut self.nodes);
                for (name, view) in all {
                    let old = before.remove(&*name.name);
                    self.seen(&name.name, view, old, now);
                }
            }
            Change::Applied(name, view) => {
                let old = self.nodes.remove(&*name.name);
                self.seen(&name.name, view, old, now);
            }
            Change::Deleted(name, _) => drop(self.nodes.remove(&*name.name)),
        }
        let views = self.nodes.values().map(|node| &node.view);
        let turn = self.zones.count(views, now, self.patience);
        // Nodes that have just registered are not ready either.
        self.seen_ready |= self
            .nodes
            .values()
            .any(|node| node.view.ready == Some(Truth::True));
        if turn == Turn::Blind && self.seen_ready {
            tracing::warn!("no node is ready: pods are not evicted");
        }
        self.wish_all(now, actions);
    }

    fn seen(&mut self, name: &str, view: &NodeView, old: Option<Node>, now: Instant) {
        let old = old.filter(|old| old.view.uid == view.uid);
        let was_ready = |old: &Node| old.view.ready == Some(Truth::True);
        let not_before = match &old {
            Some(old) if was_ready(old) => now,
            Some(old) => old.not_before,
            // Of a node that is known to be gone, nothing better is to be expected.
            None if view.ready == Some(Truth::Unknown) => now,
            None => now + FIRST_PATIENCE,
        };
        let quiet = match old.map(|old| old.quiet) {
            Some(Quiet::UntilEnded) => Quiet::UntilEnded,
            // What was written shows by now.
            _ => Quiet::No,
        };
        let node = Node {
            view: view.clone(),
            not_before,
            later: None,
            quiet,
        };
        self.nodes.insert(name.to_owned(), node);
    }

    fn wish_all(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for (name, node) in &mut self.nodes {
            if node.is_quiet(now) {
                continue;
            }
            let wish = node.wish(&self.zones, now);
            node.later = wish.later;
            if wish.add.is_empty() && wish.remove.is_empty() {
                continue;
            }
            if wish.empties {
                self.zones.spend(&node.view, now);
            }
            node.quiet = Quiet::UntilEnded;
            actions.push(Action::Taint {
                node: name.clone(),
                uid: node.view.uid.clone(),
                add: wish.add,
                remove: wish.remove,
            });
        }
    }

    pub fn ended(&mut self, action: &Action, outcome: &Outcome, now: Instant) {
        let Action::Taint { node, uid, .. } = action else {
            return;
        };
        let node = self.nodes.get_mut(node);
        if let Some(node) = node.filter(|node| node.view.uid == *uid) {
            // The watch shows a change in a moment; until then nothing is to be added to it.
            node.quiet = match outcome {
                Outcome::Gone => Quiet::UntilEnded,
                _ => Quiet::Until(now + AGAIN),
            };
        }
    }

    pub fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.wish_all(now, actions);
    }

    pub fn wake_at(&self) -> Option<Instant> {
        let wake = |node: &Node| match node.quiet {
            Quiet::UntilEnded => None,
            Quiet::Until(at) => (!node.wish(&self.zones, at).is_empty()).then_some(at),
            Quiet::No => node.later,
        };
        self.nodes.values().filter_map(wake).min()
    }

    pub fn state(&self, now: Instant) -> Value {
        let wishes = self.nodes.iter().filter_map(|(name, node)| {
            let wish = node.wish(&self.zones, now);
            let later = wish.later?.saturating_duration_since(now);
            Some((name.clone(), later.as_millis()))
        });
        let waiting: BTreeMap<_, _> = wishes.collect();
        json!({"zones": self.zones.shown(), "blind": self.zones.is_blind(), "waiting_ms": waiting})
    }
}

impl Wish {
    fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty() && self.later.is_none()
    }
}

impl Node {
    fn is_quiet(&self, now: Instant) -> bool {
        match self.quiet {
            Quiet::No => false,
            Quiet::Until(at) => at > now,
            Quiet::UntilEnded => true,
        }
    }

    fn wish(&self, zones: &Zones, now: Instant) -> Wish {
        let mut wish = Wish::default();
        self.for_scheduling(now, &mut wish);
        self.for_pods(zones, now, &mut wish);
        wish
    }

    /// Taints that keep new pods off.
    fn for_scheduling(&self, now: Instant, wish: &mut Wish) {
        let pressures = PRESSURES.map(|(_, key)| key);
        for key in pressures {
            self.should(
                key,
                Effect::NoSchedule,
                self.view.pressures.contains(&key),
                wish,
            );
        }
        self.should(
            UNSCHEDULABLE,
            Effect::NoSchedule,
            self.view.unschedulable,
            wish,
        );
        for (key, holds) in self.absences() {
            if holds && self.not_before > now {
                wish.later = Some(self.not_before);
            } else {
                self.should(key, Effect::NoSchedule, holds, wish);
            }
        }
    }

    /// Taints that send pods away.
    fn for_pods(&self, zones: &Zones, now: Instant, wish: &mut Wish) {
        let absences = self.absences();
        let none = zones.is_blind() || !absences.iter().any(|(_, holds)| *holds);
        for (key, holds) in absences {
            let wanted = holds && !none;
            if !wanted || self.has(key, Effect::NoExecute) || self.is_exchanged() {
                self.should(key, Effect::NoExecute, wanted, wish);
                continue;
            }
            match zones
                .may_at(&self.view, now)
                .map(|at| at.max(self.not_before))
            {
                Some(at) if at <= now => {
                    wish.empties = true;
                    self.should(key, Effect::NoExecute, true, wish);
                }
                later => wish.later = wish.later.into_iter().chain(later).min(),
            }
        }
    }

    /// The two ways of not being there, and which of them is the case.
    fn absences(&self) -> [(&'static str, bool); 2] {
        [
            (NOT_READY, self.view.ready == Some(Truth::False)),
            (UNREACHABLE, self.view.ready == Some(Truth::Unknown)),
        ]
    }

    /// One of the two is there: the other takes its place, and time goes on.
    fn is_exchanged(&self) -> bool {
        let both = [NOT_READY, UNREACHABLE];
        both.into_iter().any(|key| self.has(key, Effect::NoExecute))
    }

    fn has(&self, key: &str, effect: Effect) -> bool {
        let mut taints = self.view.taints.iter();
        taints.any(|taint| taint.key == key && taint.effect == effect)
    }

    fn should(&self, key: &str, effect: Effect, holds: bool, wish: &mut Wish) {
        let taint = || Taint {
            key: key.to_owned(),
            value: String::new(),
            effect,
        };
        match (self.has(key, effect), holds) {
            (false, true) => wish.add.push(taint()),
            (true, false) => wish.remove.push(taint()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{name, node};

    struct Story {
        taints: Taints,
        now: Instant,
    }

    fn at(ready: Truth) -> NodeView {
        NodeView {
            ready: Some(ready),
            ..node("u")
        }
    }

    fn tainted(ready: Truth, keys: &[(&str, Effect)]) -> NodeView {
        let taint = |(key, effect): &(&str, Effect)| Taint {
            key: (*key).into(),
            value: String::new(),
            effect: *effect,
        };
        NodeView {
            taints: keys.iter().map(taint).collect(),
            ..at(ready)
        }
    }

    impl Story {
        /// A node `well`, which is ready all the time, and more.
        fn new() -> Self {
            let mut story = Self {
                taints: Taints::new(Rates::default(), Duration::from_secs(40)),
                now: Instant::now(),
            };
            assert_eq!(story.see("well", at(Truth::True)), "");
            story
        }

        fn see(&mut self, node: &str, view: NodeView) -> String {
            let mut actions = Vec::new();
            let change = Change::Applied(name("", node), view);
            self.taints.nodes_changed(&change, self.now, &mut actions);
            self.end(actions)
        }

        fn after(&mut self, seconds: u64) -> String {
            self.now += Duration::from_secs(seconds);
            let mut actions = Vec::new();
            self.taints.tick(self.now, &mut actions);
            self.end(actions)
        }

        /// All that was asked for is done.
        fn end(&mut self, actions: Vec<Action>) -> String {
            for action in &actions {
                self.taints.ended(action, &Outcome::Done, self.now);
            }
            let texts: Vec<_> = actions.iter().map(ToString::to_string).collect();
            texts.join("; ").replace("node.kubernetes.io/", "")
        }
    }

    #[test]
    fn taints_follow_conditions_and_cordons() {
        let pressed = NodeView {
            pressures: vec!["node.kubernetes.io/memory-pressure"],
            ..at(Truth::True)
        };
        let cordoned = NodeView {
            unschedulable: true,
            ..at(Truth::True)
        };
        let foreign = NodeView {
            taints: vec![Taint {
                key: "dedicated".into(),
                value: "db".into(),
                effect: Effect::NoExecute,
            }],
            ..at(Truth::True)
        };
        let both = [Effect::NoSchedule, Effect::NoExecute];
        let unreachable = both.map(|effect| (UNREACHABLE, effect));
        for (view, expected) in [
            (at(Truth::True), ""),
            (foreign, ""),
            (pressed, "taint node n: +memory-pressure:NoSchedule"),
            (cordoned, "taint node n: +unschedulable:NoSchedule"),
            (
                tainted(Truth::True, &[(UNSCHEDULABLE, Effect::NoSchedule)]),
                "taint node n: -unschedulable:NoSchedule",
            ),
            (
                at(Truth::Unknown),
                "taint node n: +unreachable:NoSchedule +unreachable:NoExecute",
            ),
            (tainted(Truth::Unknown, &unreachable), ""),
            (
                tainted(Truth::False, &unreachable),
                "taint node n: +not-ready:NoSchedule +not-ready:NoExecute \
                 -unreachable:NoSchedule -unreachable:NoExecute",
            ),
            (
                tainted(Truth::True, &unreachable),
                "taint node n: -unreachable:NoSchedule -unreachable:NoExecute",
            ),
        ] {
            let mut story = Story::new();
            story.see("n", at(Truth::True));
            assert_eq!(story.see("n", view.clone()), expected, "{view:?}");
        }
    }

    #[test]
    fn a_node_that_has_just_registered_has_a_moment_to_become_ready() {
        let mut story = Story::new();
        assert_eq!(story.see("new", at(Truth::False)), "");
        assert_eq!(story.taints.wake_at(), Some(story.now + FIRST_PATIENCE));
        assert_eq!(story.after(1), "");
        assert_eq!(
            story.after(1),
            "taint node new: +not-ready:NoSchedule +not-ready:NoExecute"
        );
    }

    #[test]
    fn nodes_are_emptied_one_after_the_other() {
        let mut story = Story::new();
        story.see("a", at(Truth::True));
        story.see("b", at(Truth::True));
        assert_eq!(
            story.see("a", at(Truth::Unknown)),
            "taint node a: +unreachable:NoSchedule +unreachable:NoExecute"
        );
        assert_eq!(
            story.see("b", at(Truth::Unknown)),
            "taint node b: +unreachable:NoSchedule"
        );
        let both = [Effect::NoSchedule, Effect::NoExecute].map(|effect| (UNREACHABLE, effect));
        assert_eq!(story.see("a", tainted(Truth::Unknown, &both)), "");
        assert_eq!(story.see("b", tainted(Truth::Unknown, &both[..1])), "");
        assert_eq!(
            story.taints.wake_at(),
            Some(story.now + Duration::from_secs(10))
        );
        assert_eq!(story.after(9), "");
        assert_eq!(story.after(1), "taint node b: +unreachable:NoExecute");
    }

    #[test]
    fn when_no_node_is_ready_none_is_emptied() {
        let mut story = Story::new();
        let both = [Effect::NoSchedule, Effect::NoExecute].map(|effect| (UNREACHABLE, effect));
        story.see("a", tainted(Truth::Unknown, &both));
        let last = story.see("well", at(Truth::Unknown));
        assert_eq!(
            last,
            "taint node a: -unreachable:NoExecute; taint node well: +unreachable:NoSchedule"
        );
        let a = tainted(Truth::Unknown, &both[..1]);
        assert_eq!(story.see("a", a), "");
        // The first that is back does not condemn the others at once.
        let well = tainted(Truth::True, &both[..1]);
        assert_eq!(
            story.see("well", well),
            "taint node well: -unreachable:NoSchedule"
        );
        assert_eq!(story.see("well", at(Truth::True)), "");
        assert_eq!(story.after(39), "");
        assert_eq!(story.after(1), "taint node a: +unreachable:NoExecute");
    }

    #[test]
    fn a_taint_that_could_not_be_set_is_tried_again() {
        let mut story = Story::new();
        story.see("n", at(Truth::True));
        let change = Change::Applied(name("", "n"), at(Truth::Unknown));
        let mut actions = Vec::new();
        story.taints.nodes_changed(&change, story.now, &mut actions);
        assert_eq!(actions.len(), 1);
        assert_eq!(story.after(100), "", "on its way");
        let refused = Outcome::Refused("no".into());
        story.taints.ended(&actions[0], &refused, story.now);
        assert_eq!(story.taints.wake_at(), Some(story.now + AGAIN));
        assert!(story.after(1).starts_with("taint node n"));
    }
}
