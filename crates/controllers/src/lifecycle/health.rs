//! Which nodes are still there: a node whose heartbeat stops is marked Unknown.
//!
//! A node renews its Lease in `kube-node-lease` every few seconds, and writes
//! its status now and then. Either is a sign of life. The times inside are
//! the node's own and are only compared with each other; how long ago a sign
//! came is measured by our clock from the moment we saw it. A controller that
//! has just started therefore waits a whole grace period before it says
//! anything about a node.
//!
//! Grace periods may be short, so silence must not be mistaken for death when
//! it is we who do not hear:
//!
//! - a tick that comes late says that this process did not run: nodes get half a grace period anew;
//! - while *no* node gives a sign of life, the API server or the machine is the
//!   likelier cause, and nodes get a few seconds more;
//! - a mark that the API server does not take at once is given up: while it was
//!   away no node could renew, and all get a whole grace period anew.
//!
//! Only the node itself may say that it is ready again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use sealane_kube::Change;
use sealane_kube::events::Severity;
use serde_json::{Value, json};

use super::names;
use crate::action::{About, Action, Outcome};
use crate::view::{LeaseView, NodeView, Truth};

/// Until a mark that could not be set is tried again.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// What nodes get on top, at most, while none of them is heard.
const BENEFIT_OF_DOUBT: Duration = Duration::from_secs(5);
/// A tick that comes later than this was held up.
const LATE: Duration = Duration::from_millis(250);
/// Conditions that a node keeps; others are kept by whoever runs what they tell of.
const KEPT: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

pub struct Health {
    grace: Duration,
    startup_grace: Duration,
    nodes: BTreeMap<String, Node>,
    leases: BTreeMap<String, Option<Timestamp>>,
}

struct Node {
    view: NodeView,
    seen_at: Instant,
    /// A mark is on its way, or was refused a moment ago.
    quiet_until: Quiet,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quiet {
    No,
    Until(Instant),
    UntilEnded,
}

impl Health {
    /// A node without a sign of life for `grace` is marked; one that never posted its status gets `startup_grace`.
    pub fn new(grace: Duration, startup_grace: Duration) -> Self {
        Self {
            grace,
            startup_grace,
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
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
                let there: BTreeSet<_> = names(change).collect();
                let gone = self
                    .nodes
                    .keys()
                    .filter(|name| !there.contains(name.as_str()));
                let gone: Vec<_> = gone.cloned().collect();
                for name in gone {
                    self.node_gone(&name, actions);
                }
                for (name, view) in all {
                    self.node_seen(&name.name, view, now, actions);
                }
            }
            Change::Applied(name, view) => self.node_seen(&name.name, view, now, actions),
            Change::Deleted(name, _) => self.node_gone(&name.name, actions),
        }
    }

    fn node_seen(&mut self, name: &str, view: &NodeView, now: Instant, actions: &mut Vec<Action>) {
        match self
            .nodes
            .get_mut(name)
            .filter(|node| node.view.uid == view.uid)
        {
            Some(node) => {
                // A status that turns for the better was written by the node, not by us.
                let recovered = node.view.ready != view.ready && view.ready != Some(Truth::Unknown);
                if node.view.heartbeat != view.heartbeat || recovered {
                    node.seen_at = now;
                }
                node.view = view.clone();
            }
            None => {
                let message = format!("Registered Node {name} in Controller");
                actions.push(tell_of(name, &view.uid, "RegisteredNode", &message));
                let node = Node {
                    view: view.clone(),
                    seen_at: now,
                    quiet_until: Quiet::No,
                };
                self.nodes.insert(name.to_owned(), node);
            }
        }
    }

    fn node_gone(&mut self, name: &str, actions: &mut Vec<Action>) {
        if let Some(node) = self.nodes.remove(name) {
            let message = format!("Removing Node {name} from Controller");
            actions.push(tell_of(name, &node.view.uid, "RemovingNode", &message));
        }
    }

    pub fn leases_changed(&mut self, change: &Change<LeaseView>, now: Instant) {
        match change {
            Change::Reset(all) => {
                for (name, lease) in all {
                    self.lease_seen(&name.name, *lease, now);
                }
            }
            Change::Applied(name, lease) => self.lease_seen(&name.name, *lease, now),
            Change::Deleted(name, _) => {
                self.leases.remove(&*name.name);
            }
        }
    }

    /// A renewal is a sign of life; the same renewal seen again is none.
    fn lease_seen(&mut self, name: &str, lease: LeaseView, now: Instant) {
        let before = self.leases.insert(name.to_owned(), lease.renewed);
        if before != Some(lease.renewed)
            && let Some(node) = self.nodes.get_mut(name)
        {
            node.seen_at = now;
        }
    }

    pub fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.give_back_lost_time(now);
        let doubt = self.doubt(now);
        let (grace, startup) = (self.grace, self.startup_grace);
        for (name, node) in &mut self.nodes {
            let due = node.due(grace, startup).map(|due| due + doubt);
            if due.is_some_and(|due| due <= now) {
                node.quiet_until = Quiet::UntilEnded;
                let renewed = self.leases.get(name).copied().flatten();
                actions.push(node.mark(name, renewed));
            }
        }
    }

    /// A tick that is late says that this process did not run, and has not read what waits for it.
    fn give_back_lost_time(&mut self, now: Instant) {
        let Some(wanted) = self.wake_at() else { return };
        if now.saturating_duration_since(wanted) > LATE {
            let half = now.checked_sub(self.grace / 2).unwrap_or(now);
            for node in self.nodes.values_mut() {
                node.seen_at = node.seen_at.max(half);
            }
        }
    }

    /// What nodes get on top while none of them is heard.
    fn doubt(&self, now: Instant) -> Duration {
        let heard = |node: &Node| now.saturating_duration_since(node.seen_at) < self.grace / 2;
        if self.nodes.values().any(heard) {
            Duration::ZERO
        } else {
            self.grace.min(BENEFIT_OF_DOUBT)
        }
    }

    pub fn ended(
        &mut self,
        action: &Action,
        outcome: &Outcome,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Action::MarkUnknown {
            node: name, uid, ..
        } = action
        else {
            return;
        };
        let Some(node) = self
            .nodes
            .get_mut(name)
            .filter(|node| node.view.uid == *uid)
        else {
            return;
        };
        node.quiet_until = Quiet::Until(now + FAILED_PAUSE);
        match outcome {
            Outcome::Done | Outcome::Keeps(_) => actions.push(tell_not_ready(name, uid)),
            Outcome::Outdated => node.seen_at = now,
            Outcome::Gone | Outcome::Refused(_) => {}
        }
    }

    /// When the first node may have to be marked. Whether no node is heard, changes with time too.
    pub fn wake_at(&self) -> Option<Instant> {
        let due = |node: &Node| node.due(self.grace, self.startup_grace);
        let due: Vec<_> = self.nodes.values().filter_map(due).collect();
        let heard = self
            .nodes
            .values()
            .map(|node| node.seen_at + self.grace / 2)
            .max();
        let first = due.into_iter().min()?;
        Some(match heard {
            Some(heard) if heard <= first => first + self.grace.min(BENEFIT_OF_DOUBT),
            _ => first,
        })
    }

    pub fn state(&self, now: Instant) -> Value {
        let nodes = self.nodes.iter().map(|(name, node)| {
            let silent = now.saturating_duration_since(node.seen_at);
            let shown = json!({"ready": node.view.ready, "silent_ms": silent.as_millis()});
            (name.clone(), shown)
        });
        json!({"grace_ms": self.grace.as_millis(), "nodes": nodes.collect::<BTreeMap<_, _>>()})
    }
}

impl Node {
    /// When it is to be marked; none for a node that is marked, or is about to be.
    fn due(&self, grace: Duration, startup_grace: Duration) -> Option<Instant> {
        let grace = match self.view.ready {
            Some(Truth::Unknown) => return None,
            Some(_) => grace,
            None => startup_grace,
        };
        match self.quiet_until {
            Quiet::No => Some(self.seen_at + grace),
            Quiet::Until(pause) => Some((self.seen_at + grace).max(pause)),
            Quiet::UntilEnded => None,
        }
    }

    /// Reasons and messages are those of Kubernetes' node lifecycle controller.
    fn mark(&self, name: &str, renewed: Option<Timestamp>) -> Action {
        let (reason, message) = match self.view.ready {
            None => (
                "NodeStatusNeverUpdated",
                "Kubelet never posted node status.",
            ),
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        };
        let mut conditions = self.view.conditions.clone();
        conditions.retain(|kind| KEPT.contains(&kind.as_str()));
        if self.view.ready.is_none() {
            conditions = KEPT.map(str::to_owned).into();
        }
        Action::MarkUnknown {
            node: name.to_owned(),
            uid: self.view.uid.clone(),
            version: self.view.version.clone(),
            renewed,
            conditions,
            reason,
            message,
        }
    }
}

fn tell_of(name: &str, uid: &str, reason: &'static str, event: &str) -> Action {
    Action::Tell {
        about: About::Node {
            name: name.to_owned(),
            uid: uid.to_owned(),
        },
        severity: Severity::Normal,
        reason,
        message: format!("Node {name} event: {event}"),
    }
}

fn tell_not_ready(name: &str, uid: &str) -> Action {
    Action::Tell {
        about: About::Node {
            name: name.to_owned(),
            uid: uid.to_owned(),
        },
        severity: Severity::Normal,
        reason: "NodeNotReady",
        message: format!("Node {name} status is now: NodeNotReady"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{name, node};

    const GRACE: Duration = Duration::from_secs(40);

    struct Story {
        health: Health,
        now: Instant,
        beats: i64,
    }

    impl Story {
        fn of_one_node() -> Self {
            let mut story = Self {
                health: Health::new(GRACE, 2 * GRACE),
                now: Instant::now(),
                beats: 0,
            };
            let told = story.nodes(Change::Reset(vec![(name("", "node-1"), node("u"))]));
            assert_eq!(
                told,
                [
                    "record event RegisteredNode: Node node-1 event: Registered Node node-1 in Controller"
                ]
            );
            story
        }

        /// The same, and a node that is well all the time.
        fn of_two_nodes() -> Self {
            let mut story = Self::of_one_node();
            story.nodes(Change::Applied(name("", "node-2"), node("u2")));
            story
        }

        fn nodes(&mut self, change: Change<NodeView>) -> Vec<String> {
            let mut actions = Vec::new();
            self.health.nodes_changed(&change, self.now, &mut actions);
            actions.iter().map(ToString::to_string).collect()
        }

        fn renew(&mut self, at: &str) {
            self.renewed("node-1", at.parse().unwrap());
        }

        fn renewed(&mut self, node: &str, at: Timestamp) {
            let renewed = Some(at);
            let change = Change::Applied(name("kube-node-lease", node), LeaseView { renewed });
            self.health.leases_changed(&change, self.now);
        }

        /// The other node renews, and time has passed.
        fn after(&mut self, seconds: u64) -> Vec<Action> {
            self.beats += 1;
            self.now += Duration::from_secs(seconds);
            self.renewed("node-2", Timestamp::from_second(self.beats).unwrap());
            self.tick()
        }

        fn tick(&mut self) -> Vec<Action> {
            let mut actions = Vec::new();
            self.health.tick(self.now, &mut actions);
            actions
        }

        fn ends(&mut self, marked: &[Action], outcome: Outcome) -> Vec<Action> {
            let mut actions = Vec::new();
            self.health
                .ended(&marked[0], &outcome, self.now, &mut actions);
            actions
        }
    }

    #[test]
    fn while_no_node_is_heard_it_may_be_us_who_do_not_hear() {
        let mut story = Story::of_one_node();
        let wake = story.health.wake_at().unwrap();
        assert_eq!(wake, story.now + GRACE + BENEFIT_OF_DOUBT);
        story.now += GRACE;
        assert!(story.tick().is_empty());
        story.now += BENEFIT_OF_DOUBT;
        assert_eq!(story.tick().len(), 1);
    }

    #[test]
    fn a_process_that_was_held_up_does_not_take_that_for_silence() {
        let mut story = Story::of_two_nodes();
        story.now += 3 * GRACE;
        assert!(story.tick().is_empty(), "what waits has not been read");
        story.renew("2026-11-21T00:00:10Z");
        assert!(story.after(30).is_empty());
        assert_eq!(story.after(10).len(), 1);
    }

    #[test]
    fn while_the_api_server_was_away_nobody_could_renew() {
        let mut story = Story::of_two_nodes();
        let marked = story.after(40);
        assert!(story.ends(&marked, Outcome::Outdated).is_empty());
        assert!(story.after(39).is_empty());
        assert_eq!(story.after(1).len(), 1);
    }

    #[test]
    fn a_node_that_renews_is_left_alone_and_one_that_stops_is_marked_once() {
        let mut story = Story::of_two_nodes();
        for second in ["10", "20", "30"] {
            assert!(story.after(30).is_empty());
            story.renew(&format!("2026-11-21T00:00:{second}Z"));
        }
        assert!(story.after(39).is_empty());
        let marked = story.after(1);
        let [
            Action::MarkUnknown {
                node,
                reason,
                conditions,
                ..
            },
        ] = marked.as_slice()
        else {
            panic!("{marked:?}");
        };
        assert_eq!((node.as_str(), *reason), ("node-1", "NodeStatusUnknown"));
        assert_eq!(*conditions, ["Ready"]);
        assert!(story.after(100).is_empty(), "on its way");
        let told = story.ends(&marked, Outcome::Done);
        assert_eq!(
            told[0].to_string(),
            "record event NodeNotReady: Node node-1 status is now: NodeNotReady"
        );
    }

    #[test]
    fn the_same_renewal_seen_again_is_no_sign_of_life() {
        let mut story = Story::of_two_nodes();
        story.renew("2026-11-21T00:00:10Z");
        assert!(story.after(30).is_empty());
        story.renew("2026-11-21T00:00:10Z");
        assert_eq!(story.after(10).len(), 1);
    }

    #[test]
    fn the_nodes_clock_may_be_wrong_by_years() {
        let mut story = Story::of_two_nodes();
        story.after(30);
        story.renew("1999-01-01T00:00:00Z");
        assert!(story.after(39).is_empty());
        assert_eq!(story.after(1).len(), 1);
    }

    #[test]
    fn a_status_that_the_node_writes_is_a_sign_of_life_and_our_own_mark_is_not() {
        let mut story = Story::of_two_nodes();
        story.after(30);
        let alive = NodeView {
            heartbeat: Some("2026-11-21T00:00:00Z".parse().unwrap()),
            ..node("u")
        };
        story.nodes(Change::Applied(name("", "node-1"), alive.clone()));
        assert!(story.after(39).is_empty());
        let marked = story.after(1);
        story.ends(&marked, Outcome::Done);
        let unknown = NodeView {
            ready: Some(Truth::Unknown),
            ..alive.clone()
        };
        story.nodes(Change::Applied(name("", "node-1"), unknown));
        assert!(story.after(100).is_empty(), "marked, nothing left to say");
        // The node is back, with the same heartbeat time, and is given its time anew.
        story.nodes(Change::Applied(name("", "node-1"), alive));
        assert!(story.after(39).is_empty());
        assert_eq!(story.after(1).len(), 1);
    }

    #[test]
    fn a_mark_that_failed_is_tried_again_after_a_pause() {
        let mut story = Story::of_two_nodes();
        let marked = story.after(40);
        assert!(
            story
                .ends(&marked, Outcome::Refused("no".into()))
                .is_empty()
        );
        assert!(story.tick().is_empty());
        assert_eq!(story.after(1).len(), 1);
    }

    #[test]
    fn a_node_that_never_reported_is_marked_as_that() {
        let mut story = Story::of_two_nodes();
        let silent = NodeView {
            ready: None,
            conditions: vec!["NetworkUnavailable".into()],
            ..node("other")
        };
        story.nodes(Change::Applied(name("", "node-1"), silent));
        assert!(story.after(79).is_empty());
        let marked = story.after(1);
        let [
            Action::MarkUnknown {
                reason, conditions, ..
            },
        ] = marked.as_slice()
        else {
            panic!("{marked:?}");
        };
        assert_eq!(*reason, "NodeStatusNeverUpdated");
        assert_eq!(*conditions, KEPT);
    }

    #[test]
    fn a_node_that_was_deleted_is_forgotten() {
        let mut story = Story::of_two_nodes();
        story.nodes(Change::Deleted(name("", "node-1"), node("u")));
        assert!(story.after(100).is_empty());
        story.nodes(Change::Applied(name("", "node-1"), node("u")));
        story.nodes(Change::Reset(vec![]));
        assert_eq!(story.health.wake_at(), None);
    }
}
