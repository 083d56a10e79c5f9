//! Pods whose node no longer exists: nobody is left who could end them, so they are removed.
//!
//! A node is given a while to register (again) first, as Kubernetes' pod
//! garbage collector does, since a pod may name a node that is yet to come.
//! Whoever carries the removal out asks once more whether the node exists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealane_kube::Change;
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use crate::action::{Action, Controller, Input, Outcome};
use crate::view::PodView;

/// Kubernetes' `quarantineTime` of `podgc`.
pub const QUARANTINE: Duration = Duration::from_secs(40);

#[derive(Default)]
pub struct Orphans {
    nodes: Option<BTreeSet<String>>,
    /// The node of each pod that has one.
    node_of: BTreeMap<ObjectName, String>,
    /// Each node's pods, with their uids.
    pods_of: BTreeMap<String, BTreeMap<ObjectName, String>>,
    /// Nodes that pods name and that do not exist, since when.
    missing: BTreeMap<String, Instant>,
    /// Pods (by uid) whose removal is on its way.
    removing: BTreeSet<String>,
}

impl Orphans {
    fn pods_changed(&mut self, change: &Change<Arc<PodView>>, now: Instant) {
        match change {
            Change::Reset(all) => {
                self.node_of.clear();
                self.pods_of.clear();
                for (name, pod) in all {
                    self.pod_seen(name, pod, now);
                }
                self.check_all(now);
            }
            Change::Applied(name, pod) => self.pod_seen(name, pod, now),
            Change::Deleted(name, _) => self.pod_gone(name, now),
        }
    }

    fn pod_seen(&mut self, name: &ObjectName, pod: &PodView, now: Instant) {
        if self.node_of.get(name) != pod.node.as_ref() {
            self.pod_gone(name, now);
        }
        let Some(node) = &pod.node else { return };
        self.node_of.insert(name.clone(), node.clone());
        let there = self.pods_of.entry(node.clone()).or_default();
        there.insert(name.clone(), pod.uid.clone());
        self.check(node, now);
    }

    fn pod_gone(&mut self, name: &ObjectName, now: Instant) {
        let Some(node) = self.node_of.remove(name) else {
            return;
        };
        if let Some(there) = self.pods_of.get_mut(&node) {
            there.remove(name);
            if there.is_empty() {
                self.pods_of.remove(&node);
            }
        }
        self.check(&node, now);
    }

    fn nodes_changed<T>(&mut self, change: &Change<T>, now: Instant) {
        match change {
            Change::Reset(all) => {
                self.nodes = Some(all.iter().map(|(name, _)| name.name.clone()).collect());
                self.check_all(now);
            }
            Change::Applied(name, _) => {
                self.nodes
                    .as_mut()
                    .map(|nodes| nodes.insert(name.name.clone()));
                self.check(&name.name, now);
            }
            Change::Deleted(name, _) => {
                self.nodes.as_mut().map(|nodes| nodes.remove(&name.name));
                self.check(&name.name, now);
            }
        }
    }

    /// Starts or stops the clock of one node.
    fn check(&mut self, node: &str, now: Instant) {
        let Some(nodes) = &self.nodes else { return };
        if nodes.contains(node) || !self.pods_of.contains_key(node) {
            self.missing.remove(node);
        } else {
            self.missing.entry(node.to_owned()).or_insert(now);
        }
    }

    fn check_all(&mut self, now: Instant) {
        let named: BTreeSet<_> = self
            .pods_of
            .keys()
            .chain(self.missing.keys())
            .cloned()
            .collect();
        for node in named {
            self.check(&node, now);
        }
    }

    fn remove_overdue(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let overdue = self
            .missing
            .iter()
            .filter(|(_, since)| **since + QUARANTINE <= now);
        for (node, _) in overdue {
            for (name, uid) in self.pods_of.get(node).into_iter().flatten() {
                if self.removing.insert(uid.clone()) {
                    actions.push(Action::RemoveOrphan {
                        pod: name.clone(),
                        uid: uid.clone(),
                        node: node.clone(),
                    });
                }
            }
        }
    }

    /// Whether there is a pod left to be removed from a missing node.
    fn has_work(&self, node: &str) -> bool {
        let mut pods = self
            .pods_of
            .get(node)
            .into_iter()
            .flat_map(BTreeMap::values);
        pods.any(|uid| !self.removing.contains(uid))
    }
}

impl Controller for Orphans {
    fn handle(&mut self, input: &Input, now: Instant, actions: &mut Vec<Action>) {
        match input {
            Input::Nodes(change) => self.nodes_changed(change, now),
            Input::Pods(change) => self.pods_changed(change, now),
            Input::Ended(Action::RemoveOrphan { uid, node, .. }, outcome) => {
                self.removing.remove(uid);
                // The node is back, or the server said no: another quarantine before another try.
                let failed = !matches!(outcome, Outcome::Done | Outcome::Gone);
                if let Some(since) = self.missing.get_mut(node).filter(|_| failed) {
                    *since = now;
                }
            }
            Input::Tick => self.remove_overdue(now, actions),
            Input::Ended(..) | Input::Leases(_) | Input::Workloads(_) => {}
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let waiting = self.missing.iter().filter(|(node, _)| self.has_work(node));
        waiting.map(|(_, since)| *since + QUARANTINE).min()
    }

    fn state(&self, now: Instant) -> Value {
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
    use super::*;
    use crate::testing::{name, node, pod};

    struct Story {
        orphans: Orphans,
        now: Instant,
    }

    impl Story {
        /// Node `node-1`, and pod `a` on a node of that name, if any.
        fn new(node_of_pod: Option<&str>) -> Self {
            let mut story = Self {
                orphans: Orphans::default(),
                now: Instant::now(),
            };
            let view = PodView {
                node: node_of_pod.map(str::to_owned),
                ..pod("u")
            };
            story.tell(&Input::Pods(Change::Reset(vec![(
                name("default", "a"),
                Arc::new(view),
            )])));
            assert_eq!(story.orphans.wake_at(), None, "nodes are not known yet");
            story.tell(&Input::Nodes(Change::Reset(vec![(
                name("", "node-1"),
                node("n"),
            )])));
            story
        }

        fn tell(&mut self, input: &Input) -> Vec<String> {
            let mut actions = Vec::new();
            self.orphans.handle(input, self.now, &mut actions);
            actions.iter().map(ToString::to_string).collect()
        }

        fn after(&mut self, time: Duration) -> Vec<String> {
            self.now += time;
            self.tell(&Input::Tick)
        }

        fn end(&mut self, outcome: Outcome) {
            let action = Action::RemoveOrphan {
                pod: name("default", "a"),
                uid: "u".into(),
                node: "gone".into(),
            };
            assert!(self.tell(&Input::Ended(action, outcome)).is_empty());
        }
    }

    const REMOVAL: &str = "remove pod default/a of node gone, which no longer exists";

    #[test]
    fn a_pod_of_a_missing_node_is_removed_once_after_the_quarantine() {
        let mut story = Story::new(Some("gone"));
        assert_eq!(story.orphans.wake_at(), Some(story.now + QUARANTINE));
        assert!(
            story
                .after(QUARANTINE - Duration::from_millis(1))
                .is_empty()
        );
        assert_eq!(story.after(Duration::from_millis(1)), [REMOVAL]);
        assert!(story.after(QUARANTINE).is_empty(), "on its way");
        assert_eq!(story.orphans.wake_at(), None);
    }

    #[test]
    fn pods_of_existing_nodes_and_of_none_stay() {
        for node in [Some("node-1"), None] {
            let mut story = Story::new(node);
            assert!(story.after(10 * QUARANTINE).is_empty());
            assert_eq!(story.orphans.wake_at(), None);
        }
    }

    #[test]
    fn a_node_that_comes_back_in_time_keeps_its_pods() {
        let mut story = Story::new(Some("gone"));
        story.after(QUARANTINE / 2);
        story.tell(&Input::Nodes(Change::Applied(name("", "gone"), node("n2"))));
        assert!(story.after(QUARANTINE).is_empty());
        story.tell(&Input::Nodes(Change::Deleted(name("", "gone"), node("n2"))));
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
        story.tell(&Input::Pods(Change::Deleted(
            name("default", "a"),
            Arc::new(pod("u")),
        )));
        assert_eq!(story.orphans.wake_at(), None);
        assert!(story.orphans.missing.is_empty() && story.orphans.removing.is_empty());
    }
}
