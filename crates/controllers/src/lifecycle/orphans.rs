//! Pods whose node no longer exists: nobody is left who could end them, so they are removed.
//!
//! A node is given a while to register (again) first, as Kubernetes' pod
//! garbage collector does, since a pod may name a node that is yet to come.
//! Whoever carries the removal out asks once more whether the node exists.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sealane_kube::Change;
use serde_json::{Value, json};

use super::names;
use super::pods::PodsByNode;
use crate::action::{Action, Cause, Outcome};
use crate::view::NodeView;

/// Kubernetes' `quarantineTime` of `podgc`.
pub const QUARANTINE: Duration = Duration::from_secs(40);

#[derive(Default)]
pub struct Orphans {
    nodes: Option<BTreeSet<String>>,
    /// Nodes that pods name and that do not exist, since when.
    missing: BTreeMap<String, Instant>,
    /// Pods (by uid) whose removal is on its way.
    removing: BTreeSet<String>,
}

impl Orphans {
    /// The pods of these nodes have changed.
    pub fn pods_changed(&mut self, moved: &BTreeSet<String>, pods: &PodsByNode, now: Instant) {
        for node in moved {
            self.check(node, pods, now);
        }
    }

    pub fn nodes_changed(&mut self, change: &Change<NodeView>, pods: &PodsByNode, now: Instant) {
        match change {
            Change::Reset(_) => {
                self.nodes = Some(names(change).map(str::to_owned).collect());
                let named: BTreeSet<_> = pods.nodes().chain(self.missing.keys()).cloned().collect();
                for node in named {
                    self.check(&node, pods, now);
                }
            }
            Change::Applied(name, _) => {
                let nodes = self.nodes.as_mut();
                nodes.map(|nodes| nodes.insert(name.name.to_string()));
                self.check(&name.name, pods, now);
            }
            Change::Deleted(name, _) => {
                self.nodes.as_mut().map(|nodes| nodes.remove(&*name.name));
                self.check(&name.name, pods, now);
            }
        }
    }

    /// Starts or stops the clock of one node.
    fn check(&mut self, node: &str, pods: &PodsByNode, now: Instant) {
        let Some(nodes) = &self.nodes else { return };
        if nodes.contains(node) || !pods.has(node) {
            self.missing.remove(node);
        } else {
            self.missing.entry(node.to_owned()).or_insert(now);
        }
    }

    pub fn tick(&mut self, pods: &PodsByNode, now: Instant, actions: &mut Vec<Action>) {
        let overdue = self
            .missing
            .iter()
            .filter(|(_, since)| **since + QUARANTINE <= now);
        for (node, _) in overdue {
            for (name, pod) in pods.of(node) {
                if self.removing.insert(pod.uid.clone()) {
                    actions.push(Action::Collect {
                        pod: name.clone(),
                        uid: pod.uid.clone(),
                        ended: pod.finished,
                        cause: Cause::NodeGone(node.clone()),
                    });
                }
            }
        }
    }

    pub fn ended(&mut self, action: &Action, outcome: &Outcome, now: Instant) {
        let Action::Collect {
            uid,
            cause: Cause::NodeGone(node),
            ..
        } = action
        else {
            return;
        };
        self.removing.remove(uid);
        // The node is back, or the server said no: another quarantine before another try.
        let failed = !matches!(outcome, Outcome::Done | Outcome::Gone);
        if let Some(since) = self.missing.get_mut(node).filter(|_| failed) {
            *since = now;
        }
    }

    pub fn wake_at(&self, pods: &PodsByNode) -> Option<Instant> {
        let has_work = |node: &str| {
            let mut there = pods.of(node);
            there.any(|(_, pod)| !self.removing.contains(&pod.uid))
        };
        let waiting = self.missing.iter().filter(|(node, _)| has_work(node));
        waiting.map(|(_, since)| *since + QUARANTINE).min()
    }

    pub fn state(&self, now: Instant) -> Value {
        let missing = self.missing.iter().map(|(node, since)| {
            (
                node.clone(),
                now.saturating_duration_since(*since).as_millis(),
            )
        });
        json!({
            "missing_nodes_ms": missing.collect::<BTreeMap<_, _>>(),
            "removing": self.removing,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{name, node, pod};
    use crate::view::PodView;

    struct Story {
        orphans: Orphans,
        pods: PodsByNode,
        now: Instant,
    }

    impl Story {
        /// Node `node-1`, and pod `a` on a node of that name, if any.
        fn new(node_of_pod: Option<&str>) -> Self {
            let mut story = Self {
                orphans: Orphans::default(),
                pods: PodsByNode::default(),
                now: Instant::now(),
            };
            let view = PodView {
                node: node_of_pod.map(str::to_owned),
                ..pod("u")
            };
            story.see(Change::Reset(vec![(name("default", "a"), Arc::new(view))]));
            assert_eq!(story.wake_at(), None, "nodes are not known yet");
            story.node(Change::Reset(vec![(name("", "node-1"), node("n"))]));
            story
        }

        fn see(&mut self, change: Change<Arc<PodView>>) {
            let moved = self.pods.apply(&change);
            self.orphans.pods_changed(&moved, &self.pods, self.now);
        }

        fn node(&mut self, change: Change<NodeView>) {
            self.orphans.nodes_changed(&change, &self.pods, self.now);
        }

        fn wake_at(&self) -> Option<Instant> {
            self.orphans.wake_at(&self.pods)
        }

        fn after(&mut self, time: Duration) -> Vec<String> {
            self.now += time;
            let mut actions = Vec::new();
            self.orphans.tick(&self.pods, self.now, &mut actions);
            actions.iter().map(ToString::to_string).collect()
        }

        fn end(&mut self, outcome: Outcome) {
            let action = Action::Collect {
                pod: name("default", "a"),
                uid: "u".into(),
                ended: false,
                cause: Cause::NodeGone("gone".into()),
            };
            self.orphans.ended(&action, &outcome, self.now);
        }
    }

    const REMOVAL: &str = "remove pod default/a: its node gone no longer exists";

    #[test]
    fn a_pod_of_a_missing_node_is_removed_once_after_the_quarantine() {
        let mut story = Story::new(Some("gone"));
        assert_eq!(story.wake_at(), Some(story.now + QUARANTINE));
        assert!(
            story
                .after(QUARANTINE - Duration::from_millis(1))
                .is_empty()
        );
        assert_eq!(story.after(Duration::from_millis(1)), [REMOVAL]);
        assert!(story.after(QUARANTINE).is_empty(), "on its way");
        assert_eq!(story.wake_at(), None);
    }

    #[test]
    fn pods_of_existing_nodes_and_of_none_stay() {
        for node in [Some("node-1"), None] {
            let mut story = Story::new(node);
            assert!(story.after(10 * QUARANTINE).is_empty());
            assert_eq!(story.wake_at(), None);
        }
    }

    #[test]
    fn a_node_that_comes_back_in_time_keeps_its_pods() {
        let mut story = Story::new(Some("gone"));
        story.after(QUARANTINE / 2);
        story.node(Change::Applied(name("", "gone"), node("n2")));
        assert!(story.after(QUARANTINE).is_empty());
        story.node(Change::Deleted(name("", "gone"), node("n2")));
        assert!(
            story.after(QUARANTINE / 2).is_empty(),
            "the clock starts anew"
        );
        assert_eq!(story.after(QUARANTINE / 2), [REMOVAL]);
    }

    #[test]
    fn a_removal_that_failed_waits_for_another_quarantine() {
        let mut story = Story::new(Some("gone"));
        story.after(QUARANTINE);
        story.end(Outcome::Refused("no".into()));
        assert!(story.after(QUARANTINE / 2).is_empty());
        assert_eq!(story.after(QUARANTINE / 2), [REMOVAL]);
    }

    #[test]
    fn a_removed_pod_leaves_nothing_behind() {
        let mut story = Story::new(Some("gone"));
        story.after(QUARANTINE);
        story.end(Outcome::Done);
        story.see(Change::Deleted(name("default", "a"), Arc::new(pod("u"))));
        assert_eq!(story.wake_at(), None);
        assert!(story.orphans.missing.is_empty() && story.orphans.removing.is_empty());
    }
}
