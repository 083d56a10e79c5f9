//! Which nodes are still there: a node whose heartbeat stops is marked Unknown.
//!
//! A node renews its Lease in `kube-node-lease` every few seconds, and writes
//! its status now and then. Either is a sign of life. The times inside are
//! the node's own and are only compared with each other; how long ago a sign
//! came is measured by our clock from the moment we saw it. A controller that
//! has just started therefore waits a whole grace period before it says
//! anything about a node.
//!
//! Only the node itself may say that it is ready again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use sealane_kube::Change;
use sealane_kube::events::Severity;
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use crate::action::{About, Action, Controller, Input, Outcome};
use crate::view::{LeaseView, NodeView, Truth};

/// Until a mark that could not be set is tried again.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

pub struct Health {
    grace: Duration,
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
    /// A node without a sign of life for `grace` is marked.
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
        }
    }

    fn nodes_changed(&mut self, change: &Change<NodeView>, now: Instant) {
        match change {
            Change::Reset(all) => {
                let kept = |(name, _): &(ObjectName, NodeView)| name.name.clone();
                let names: std::collections::BTreeSet<_> = all.iter().map(kept).collect();
                self.nodes.retain(|name, _| names.contains(name));
                for (name, view) in all {
                    self.node_seen(&name.name, view, now);
                }
            }
            Change::Applied(name, view) => self.node_seen(&name.name, view, now),
            Change::Deleted(name, _) => {
                self.nodes.remove(&name.name);
            }
        }
    }

    fn node_seen(&mut self, name: &str, view: &NodeView, now: Instant) {
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
                let node = Node {
                    view: view.clone(),
                    seen_at: now,
                    quiet_until: Quiet::No,
                };
                self.nodes.insert(name.to_owned(), node);
            }
        }
    }

    fn leases_changed(&mut self, change: &Change<LeaseView>, now: Instant) {
        match change {
            Change::Reset(all) => {
                for (name, lease) in all {
                    self.lease_seen(&name.name, *lease, now);
                }
            }
            Change::Applied(name, lease) => self.lease_seen(&name.name, *lease, now),
            Change::Deleted(name, _) => {
                self.leases.remove(&name.name);
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

    fn mark_overdue(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for (name, node) in &mut self.nodes {
            if node.due(self.grace).is_some_and(|due| due <= now) {
                node.quiet_until = Quiet::UntilEnded;
                actions.push(node.mark(name));
            }
        }
    }

    fn mark_ended(
        &mut self,
        (name, uid): (&str, &str),
        outcome: &Outcome,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(node) = self.nodes.get_mut(name).filter(|node| node.view.uid == uid) else {
            return;
        };
        node.quiet_until = Quiet::Until(now + FAILED_PAUSE);
        if *outcome == Outcome::Done {
            actions.push(tell_not_ready(name, uid));
        }
    }
}

impl Node {
    /// When it is to be marked; none for a node that is marked, or is about to be.
    fn due(&self, grace: Duration) -> Option<Instant> {
        if self.view.ready == Some(Truth::Unknown) {
            return None;
        }
        match self.quiet_until {
            Quiet::No => Some(self.seen_at + grace),
            Quiet::Until(pause) => Some((self.seen_at + grace).max(pause)),
            Quiet::UntilEnded => None,
        }
    }

    /// Reasons and messages are those of Kubernetes' node lifecycle controller.
    fn mark(&self, name: &str) -> Action {
        let (reason, message) = match self.view.ready {
            None => (
                "NodeStatusNeverUpdated",
                "Kubelet never posted node status.",
            ),
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        };
        let mut conditions = self.view.conditions.clone();
        if self.view.ready.is_none() {
            conditions.push("Ready".to_owned());
        }
        // Conditions about the network are kept by whoever runs the network.
        conditions.retain(|kind| kind != "NetworkUnavailable");
        Action::MarkUnknown {
            node: name.to_owned(),
            uid: self.view.uid.clone(),
            version: self.view.version.clone(),
            conditions,
            reason,
            message,
        }
    }
}

fn tell_not_ready(name: &str, uid: &str) -> Action {
    Action::Tell {
        about: About::Node {
            name: name.to_owned(),
            uid: uid.to_owned(),
        },
        severity: Severity::Warning,
        reason: "NodeNotReady",
        message: format!("Node {name} status is now: NodeNotReady"),
    }
}

impl Controller for Health {
    fn handle(&mut self, input: &Input, now: Instant, actions: &mut Vec<Action>) {
        match input {
            Input::Nodes(change) => self.nodes_changed(change, now),
            Input::Leases(change) => self.leases_changed(change, now),
            Input::Ended(Action::MarkUnknown { node, uid, .. }, outcome) => {
                self.mark_ended((node, uid), outcome, now, actions);
            }
            Input::Tick => self.mark_overdue(now, actions),
            Input::Ended(..) | Input::Pods(_) | Input::Workloads(_) => {}
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.nodes
            .values()
            .filter_map(|node| node.due(self.grace))
            .min()
    }

    fn state(&self, now: Instant) -> Value {
        let nodes = self.nodes.iter().map(|(name, node)| {
            let silent = now.saturating_duration_since(node.seen_at);
            let shown = json!({"ready": node.view.ready, "silent_ms": silent.as_millis()});
            (name.clone(), shown)
        });
        json!({"grace_ms": self.grace.as_millis(), "nodes": nodes.collect::<BTreeMap<_, _>>()})
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
    }

    impl Story {
        fn of_one_node() -> Self {
            let mut story = Self {
                health: Health::new(GRACE),
                now: Instant::now(),
            };
            story.nodes(Change::Reset(vec![(name("", "node-1"), node("u"))]));
            story
        }

        fn tell(&mut self, input: &Input) -> Vec<Action> {
            let mut actions = Vec::new();
            self.health.handle(input, self.now, &mut actions);
            actions
        }

        fn nodes(&mut self, change: Change<NodeView>) {
            assert!(self.tell(&Input::Nodes(change)).is_empty());
        }

        fn renew(&mut self, at: &str) {
            let renewed = Some(at.parse().unwrap());
            let change = Change::Applied(name("kube-node-lease", "node-1"), LeaseView { renewed });
            assert!(self.tell(&Input::Leases(change)).is_empty());
        }

        fn after(&mut self, seconds: u64) -> Vec<Action> {
            self.now += Duration::from_secs(seconds);
            self.tell(&Input::Tick)
        }
    }

    #[test]
    fn a_node_that_renews_is_left_alone_and_one_that_stops_is_marked_once() {
        let mut story = Story::of_one_node();
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
        let told = story.tell(&Input::Ended(marked[0].clone(), Outcome::Done));
        assert_eq!(
            told[0].to_string(),
            "record event NodeNotReady: Node node-1 status is now: NodeNotReady"
        );
    }

    #[test]
    fn the_same_renewal_seen_again_is_no_sign_of_life() {
        let mut story = Story::of_one_node();
        story.renew("2026-11-21T00:00:10Z");
        assert!(story.after(30).is_empty());
        story.renew("2026-11-21T00:00:10Z");
        assert_eq!(story.after(10).len(), 1);
    }

    #[test]
    fn the_nodes_clock_may_be_wrong_by_years() {
        let mut story = Story::of_one_node();
        story.after(30);
        story.renew("1999-01-01T00:00:00Z");
        assert!(story.after(39).is_empty());
        assert_eq!(story.after(1).len(), 1);
    }

    #[test]
    fn a_status_that_the_node_writes_is_a_sign_of_life_and_our_own_mark_is_not() {
        let mut story = Story::of_one_node();
        story.after(30);
        let alive = NodeView {
            heartbeat: Some("2026-11-21T00:00:00Z".parse().unwrap()),
            ..node("u")
        };
        story.nodes(Change::Applied(name("", "node-1"), alive.clone()));
        assert!(story.after(39).is_empty());
        let marked = story.after(1);
        story.tell(&Input::Ended(marked[0].clone(), Outcome::Done));
        let unknown = NodeView {
            ready: Some(Truth::Unknown),
            ..alive.clone()
        };
        story.nodes(Change::Applied(name("", "node-1"), unknown));
        assert_eq!(story.health.wake_at(), None, "marked, nothing left to say");
        // The node is back, with the same heartbeat time, and is given its time anew.
        story.nodes(Change::Applied(name("", "node-1"), alive));
        assert!(story.after(39).is_empty());
        assert_eq!(story.after(1).len(), 1);
    }

    #[test]
    fn a_mark_that_failed_is_tried_again_after_a_pause() {
        let mut story = Story::of_one_node();
        let marked = story.after(40);
        assert!(
            story
                .tell(&Input::Ended(marked[0].clone(), Outcome::Outdated))
                .is_empty()
        );
        assert!(story.tell(&Input::Tick).is_empty());
        assert_eq!(story.after(1).len(), 1);
    }

    #[test]
    fn a_node_that_never_reported_is_marked_as_that() {
        let mut story = Story::of_one_node();
        let silent = NodeView {
            ready: None,
            conditions: vec!["NetworkUnavailable".into()],
            ..node("other")
        };
        story.nodes(Change::Applied(name("", "node-1"), silent));
        let marked = story.after(40);
        let [
            Action::MarkUnknown {
                reason, conditions, ..
            },
        ] = marked.as_slice()
        else {
            panic!("{marked:?}");
        };
        assert_eq!(*reason, "NodeStatusNeverUpdated");
        assert_eq!(*conditions, ["Ready"]);
    }

    #[test]
    fn a_node_that_was_deleted_is_forgotten() {
        let mut story = Story::of_one_node();
        story.nodes(Change::Deleted(name("", "node-1"), node("u")));
        assert!(story.after(100).is_empty());
        story.nodes(Change::Applied(name("", "node-1"), node("u")));
        story.nodes(Change::Reset(vec![]));
        assert_eq!(story.health.wake_at(), None);
    }
}
