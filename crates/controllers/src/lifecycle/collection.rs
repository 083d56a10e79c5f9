//! Pods that are removed by force because nobody else will: pod garbage collection.
//!
//! - Pods that are to go, of a node that is not ready and has the taint
//!   `node.kubernetes.io/out-of-service`: whoever set it says that the node is
//!   off, so that nothing of the pod runs any longer. Only then may a
//!   StatefulSet's pod be made anew elsewhere.
//! - Pods that are to go and have no node.
//! - Of pods that have ended, the oldest, when there are too many.
//!
//! Those whose node does not exist are in [`super::orphans`].

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use sealane_kube::Change;
use sealane_objects::ObjectName;

use super::pods::PodsByNode;
use crate::action::{Action, Cause, Outcome};
use crate::view::{NodeView, PodView, Truth};

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

pub struct Collection {
    /// As many pods that have ended are kept; 0: all.
    most: usize,
    /// Nodes that were declared out of service, and are not ready.
    off: BTreeSet<String>,
    /// Pods that have ended, in the order in which they are to go.
    ended: BTreeSet<(Option<Timestamp>, ObjectName)>,
    places: HashMap<ObjectName, Ended>,
    /// Pods (by uid) whose removal was asked for.
    asked: BTreeSet<String>,
}

struct Ended {
    uid: String,
    created: Option<Timestamp>,
}

impl Collection {
    /// Keeps `most` pods that have ended, or all when that is 0.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            off: BTreeSet::new(),
            ended: BTreeSet::new(),
            places: HashMap::new(),
            asked: BTreeSet::new(),
        }
    }

    pub fn ended_pods(&self) -> usize {
        self.ended.len()
    }

    pub fn nodes_changed(
        &mut self,
        change: &Change<NodeView>,
        pods: &PodsByNode,
        actions: &mut Vec<Action>,
    ) {
        let is_off = |node: &NodeView| {
            let mut taints = node.taints.iter();
            node.ready != Some(Truth::True) && taints.any(|taint| taint.key == OUT_OF_SERVICE)
        };
        let mut fresh = Vec::new();
        match change {
            Change::Reset(all) => {
                self.off.clear();
                fresh.extend(all.iter().filter(|(_, node)| is_off(node)));
            }
            Change::Applied(name, node) if !is_off(node) => drop(self.off.remove(&*name.name)),
            Change::Deleted(name, _) => drop(self.off.remove(&*name.name)),
            Change::Applied(name, _) => {
                if self.off.insert(name.name.to_string()) {
                    for (pod_name, pod) in pods.of(&name.name) {
                        self.look_at(pod_name, pod, actions);
                    }
                }
            }
        }
        for (name, _) in fresh {
            self.off.insert(name.name.to_string());
            for (pod_name, pod) in pods.of(&name.name) {
                self.look_at(pod_name, pod, actions);
            }
        }
    }

    pub fn pods_changed(&mut self, change: &Change<Arc<PodView>>, actions: &mut Vec<Action>) {
        match change {
            Change::Reset(all) => {
                self.ended.clear();
                self.places.clear();
                let there: BTreeSet<&str> = all.iter().map(|(_, pod)| &*pod.uid).collect();
                self.asked.retain(|uid| there.contains(uid.as_str()));
                for (name, pod) in all {
                    self.pod_seen(name, pod, actions);
                }
            }
            Change::Applied(name, pod) => self.pod_seen(name, pod, actions),
            Change::Deleted(name, pod) => {
                self.forget(name);
                self.asked.remove(&pod.uid);
            }
        }
        self.remove_surplus(actions);
    }

    fn pod_seen(&mut self, name: &ObjectName, pod: &PodView, actions: &mut Vec<Action>) {
        self.forget(name);
        // What was asked for already no longer counts.
        if pod.finished && !self.asked.contains(&pod.uid) {
            let created = pod.facts.created;
            let uid = pod.uid.clone();
            self.places.insert(name.clone(), Ended { uid, created });
            self.ended.insert((created, name.clone()));
        }
        self.look_at(name, pod, actions);
    }

    fn forget(&mut self, name: &ObjectName) {
        if let Some(place) = self.places.remove(name) {
            self.ended.remove(&(place.created, name.clone()));
        }
    }

    /// A pod that is to go, and that nobody will end.
    fn look_at(&mut self, name: &ObjectName, pod: &PodView, actions: &mut Vec<Action>) {
        let cause = match &pod.node {
            _ if !pod.deleting => return,
            None => Cause::Unscheduled,
            Some(node) if self.off.contains(node) => Cause::OutOfService(node.clone()),
            Some(_) => return,
        };
        if self.asked.insert(pod.uid.clone()) {
            actions.push(Action::Collect {
                pod: name.clone(),
                uid: pod.uid.clone(),
                ended: pod.finished,
                cause,
            });
        }
    }

    fn remove_surplus(&mut self, actions: &mut Vec<Action>) {
        while self.most > 0
            && self.ended.len() > self.most
            && let Some((_, name)) = self.ended.pop_first()
        {
            let Some(place) = self.places.remove(&name) else {
                continue;
            };
            self.asked.insert(place.uid.clone());
            actions.push(Action::Collect {
                pod: name,
                uid: place.uid,
                ended: true,
                cause: Cause::TooMany,
            });
        }
    }

    /// A removal that was refused is asked for again when its pod or its node changes.
    pub fn ended(&mut self, action: &Action, outcome: &Outcome) {
        if let Action::Collect { uid, cause, .. } = action
            && !matches!(cause, Cause::NodeGone(_))
            && *outcome != Outcome::Done
        {
            self.asked.remove(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::PodFacts;
    use crate::testing::{name, node, pod};
    use sealane_objects::{Effect, Taint};

    struct Story {
        collection: Collection,
        pods: PodsByNode,
    }

    impl Story {
        fn new(most: usize) -> Self {
            Self {
                collection: Collection::new(most),
                pods: PodsByNode::default(),
            }
        }

        fn pod(&mut self, pod: &str, view: PodView) -> Vec<String> {
            let change = Change::Applied(name("default", pod), Arc::new(view));
            self.pods.apply(&change);
            let mut actions = Vec::new();
            self.collection.pods_changed(&change, &mut actions);
            actions.iter().map(ToString::to_string).collect()
        }

        fn node(&mut self, ready: Truth, key: &str) -> Vec<String> {
            let view = NodeView {
                ready: Some(ready),
                taints: vec![Taint {
                    key: key.into(),
                    value: "nodeshutdown".into(),
                    effect: Effect::NoExecute,
                }],
                ..node("n")
            };
            let change = Change::Applied(name("", "node-1"), view);
            let mut actions = Vec::new();
            self.collection
                .nodes_changed(&change, &self.pods, &mut actions);
            actions.iter().map(ToString::to_string).collect()
        }
    }

    fn on(uid: &str, deleting: bool) -> PodView {
        PodView {
            node: Some("node-1".into()),
            deleting,
            ..pod(uid)
        }
    }

    #[test]
    fn pods_that_are_to_go_go_when_their_node_is_out_of_service() {
        let mut story = Story::new(0);
        story.pod("a", on("u", true));
        story.pod("b", on("v", false));
        assert_eq!(story.node(Truth::Unknown, "other"), [""; 0]);
        assert_eq!(story.node(Truth::True, OUT_OF_SERVICE), [""; 0]);
        assert_eq!(
            story.node(Truth::Unknown, OUT_OF_SERVICE),
            ["remove pod default/a: its node node-1 is out of service"]
        );
        assert_eq!(story.pod("a", on("u", true)), [""; 0], "on its way");
        assert_eq!(story.pod("b", on("v", true)).len(), 1, "it is to go now");
    }

    #[test]
    fn a_pod_that_is_to_go_and_has_no_node_goes() {
        let mut story = Story::new(0);
        let unbound = PodView {
            deleting: true,
            ..pod("u")
        };
        assert_eq!(
            story.pod("a", unbound),
            ["remove pod default/a: it has no node"]
        );
    }

    #[test]
    fn of_too_many_pods_that_have_ended_the_oldest_go() {
        let mut story = Story::new(2);
        let ended = |uid: &str, second| PodView {
            finished: true,
            facts: Arc::new(PodFacts {
                created: Timestamp::from_second(second).ok(),
                ..PodFacts::default()
            }),
            ..on(uid, false)
        };
        assert!(story.pod("c", ended("3", 3)).is_empty());
        assert!(story.pod("b", ended("2", 2)).is_empty());
        assert!(story.pod("c", ended("3", 3)).is_empty());
        assert_eq!(
            story.pod("a", ended("1", 1)),
            ["remove pod default/a: too many pods that have ended are kept"]
        );
        assert!(story.pod("a", ended("1", 1)).is_empty(), "on its way");
        assert_eq!(story.collection.ended_pods(), 2);
        assert!(story.pod("d", on("4", false)).is_empty());
        assert_eq!(story.pod("d", ended("4", 4)).len(), 1);
    }
}
