//! Pods of a node that fell silent count as not ready, so that no traffic goes to them.
//!
//! Their condition Ready turns to False and keeps its reason, as in
//! Kubernetes; a node that comes back says itself how they are. A pod is told
//! once for each time that its node falls silent: a node that is just coming
//! back may have spoken for the pod before it speaks for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealane_kube::Change;
use sealane_kube::events::Severity;
use sealane_objects::ObjectName;

use super::pods::PodsByNode;
use crate::action::{About, Action, Outcome};
use crate::view::{NodeView, PodView, Truth};

/// Until a pod that could not be told is told again.
const FAILED_PAUSE: Duration = Duration::from_millis(500);

#[derive(Default)]
pub struct Unready {
    /// Nodes that are Unknown, with the uids of pods that have been told.
    silent: BTreeMap<String, BTreeSet<String>>,
    /// Pods that could not be told.
    again: BTreeMap<ObjectName, Instant>,
}

impl Unready {
    pub fn nodes_changed(
        &mut self,
        change: &Change<NodeView>,
        pods: &PodsByNode,
        actions: &mut Vec<Action>,
    ) {
        match change {
            Change::Reset(all) => {
                let silent = |(_, node): &&(ObjectName, NodeView)| is_silent(node);
                let names: BTreeSet<&str> =
                    all.iter().filter(silent).map(|(n, _)| &*n.name).collect();
                self.silent.retain(|node, _| names.contains(node.as_str()));
                for node in names {
                    self.fell_silent(node, pods, actions);
                }
            }
            Change::Applied(name, node) if is_silent(node) => {
                self.fell_silent(&name.name, pods, actions);
            }
            Change::Applied(name, _) | Change::Deleted(name, _) => {
                self.silent.remove(&*name.name);
            }
        }
    }

    fn fell_silent(&mut self, node: &str, pods: &PodsByNode, actions: &mut Vec<Action>) {
        if self.silent.contains_key(node) {
            return;
        }
        self.silent.insert(node.to_owned(), BTreeSet::new());
        for (name, pod) in pods.of(node) {
            self.tell(name, pod, actions);
        }
    }

    pub fn pods_changed(&mut self, change: &Change<Arc<PodView>>, actions: &mut Vec<Action>) {
        match change {
            Change::Reset(all) => {
                for (name, pod) in all {
                    self.tell(name, pod, actions);
                }
            }
            Change::Applied(name, pod) => self.tell(name, pod, actions),
            Change::Deleted(name, pod) => {
                self.again.remove(name);
                let told = pod.node.as_ref().and_then(|node| self.silent.get_mut(node));
                told.map(|told| told.remove(&pod.uid));
            }
        }
    }

    /// Turns a pod's Ready to False, unless that was done already.
    fn tell(&mut self, name: &ObjectName, pod: &PodView, actions: &mut Vec<Action>) {
        if !pod.facts.is_ready() || self.again.contains_key(name) {
            return;
        }
        let told = pod.node.as_ref().and_then(|node| self.silent.get_mut(node));
        if told.is_some_and(|told| told.insert(pod.uid.clone())) {
            actions.push(Action::Unready {
                pod: name.clone(),
                uid: pod.uid.clone(),
                version: pod.version.clone(),
            });
        }
    }

    pub fn ended(
        &mut self,
        action: &Action,
        outcome: &Outcome,
        pods: &PodsByNode,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Action::Unready { pod: name, uid, .. } = action else {
            return;
        };
        match outcome {
            Outcome::Done | Outcome::Keeps(_) => actions.push(Action::Tell {
                about: About::Pod {
                    name: name.clone(),
                    uid: uid.clone(),
                },
                severity: Severity::Warning,
                reason: "NodeNotReady",
                message: "Node is not ready".to_owned(),
            }),
            Outcome::Gone => {}
            Outcome::Outdated | Outcome::Refused(_) => {
                let node = pods.get(name).and_then(|pod| pod.node.as_ref());
                if let Some(told) = node.and_then(|node| self.silent.get_mut(node)) {
                    told.remove(uid);
                    self.again.insert(name.clone(), now + FAILED_PAUSE);
                }
            }
        }
    }

    pub fn tick(&mut self, pods: &PodsByNode, now: Instant, actions: &mut Vec<Action>) {
        let due = self.again.iter().filter(|(_, at)| **at <= now);
        let due: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            self.again.remove(&name);
            if let Some(pod) = pods.get(&name) {
                self.tell(&name, pod, actions);
            }
        }
    }

    pub fn wake_at(&self) -> Option<Instant> {
        self.again.values().min().copied()
    }
}

fn is_silent(node: &NodeView) -> bool {
    node.ready == Some(Truth::Unknown)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::facts::PodFacts;
    use crate::testing::{name, node};

    struct Story {
        unready: Unready,
        pods: PodsByNode,
        now: Instant,
    }

    impl Story {
        fn new() -> Self {
            Self {
                unready: Unready::default(),
                pods: PodsByNode::default(),
                now: Instant::now(),
            }
        }

        fn pod(&mut self, pod: &str, ready: bool) -> Vec<String> {
            let facts = PodFacts {
                ready: ready.then_some(Timestamp::UNIX_EPOCH),
                ..PodFacts::default()
            };
            let view = PodView {
                node: Some("node-1".into()),
                facts: Arc::new(facts),
                ..crate::testing::pod(pod)
            };
            let change = Change::Applied(name("default", pod), Arc::new(view));
            self.pods.apply(&change);
            let mut actions = Vec::new();
            self.unready.pods_changed(&change, &mut actions);
            texts(&actions)
        }

        fn node(&mut self, ready: Truth) -> Vec<String> {
            let view = NodeView {
                ready: Some(ready),
                ..node("n")
            };
            let change = Change::Applied(name("", "node-1"), view);
            let mut actions = Vec::new();
            self.unready
                .nodes_changed(&change, &self.pods, &mut actions);
            texts(&actions)
        }

        fn end(&mut self, pod: &str, outcome: Outcome) -> Vec<String> {
            let action = Action::Unready {
                pod: name("default", pod),
                uid: pod.into(),
                version: "1".into(),
            };
            let mut actions = Vec::new();
            let (pods, now) = (&self.pods, self.now);
            self.unready
                .ended(&action, &outcome, pods, now, &mut actions);
            texts(&actions)
        }

        fn after(&mut self, time: Duration) -> Vec<String> {
            self.now += time;
            let mut actions = Vec::new();
            self.unready.tick(&self.pods, self.now, &mut actions);
            texts(&actions)
        }
    }

    fn texts(actions: &[Action]) -> Vec<String> {
        actions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ready_pods_of_a_silent_node_are_told_once() {
        let mut story = Story::new();
        story.pod("a", true);
        story.pod("b", false);
        assert_eq!(story.node(Truth::False), [""; 0], "it speaks for itself");
        assert_eq!(
            story.node(Truth::Unknown),
            ["mark pod default/a not ready: its node is silent"]
        );
        assert_eq!(
            story.end("a", Outcome::Done),
            ["record event NodeNotReady: Node is not ready"]
        );
        assert_eq!(story.node(Truth::Unknown), [""; 0]);
        assert_eq!(story.pod("a", false), [""; 0]);
        // The node is about to come back, and has told of the pod first.
        assert_eq!(story.pod("a", true), [""; 0]);
        assert_eq!(story.node(Truth::True), [""; 0]);
        assert_eq!(story.node(Truth::Unknown).len(), 1, "another silence");
        assert_eq!(story.pod("c", true).len(), 1, "a pod that came to it");
    }

    #[test]
    fn a_pod_that_could_not_be_told_is_told_again_while_the_node_is_silent() {
        let mut story = Story::new();
        story.pod("a", true);
        story.node(Truth::Unknown);
        assert!(story.end("a", Outcome::Outdated).is_empty());
        assert!(story.pod("a", true).is_empty());
        assert_eq!(story.after(FAILED_PAUSE).len(), 1);
        story.end("a", Outcome::Outdated);
        story.node(Truth::True);
        assert!(story.after(FAILED_PAUSE).is_empty());
        assert_eq!(story.unready.wake_at(), None);
    }
}
