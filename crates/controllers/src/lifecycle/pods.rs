//! Pods by the node that they are bound to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sealane_kube::Change;
use sealane_objects::ObjectName;

use crate::view::PodView;

/// All pods that have a node.
#[derive(Default)]
pub struct PodsByNode {
    bound: BTreeMap<ObjectName, Arc<PodView>>,
    of: BTreeMap<String, BTreeSet<ObjectName>>,
}

impl PodsByNode {
    /// Takes a change in, and says which nodes have other pods than before.
    pub fn apply(&mut self, change: &Change<Arc<PodView>>) -> BTreeSet<String> {
        let mut moved = BTreeSet::new();
        match change {
            Change::Reset(all) => {
                moved.extend(std::mem::take(&mut self.of).into_keys());
                self.bound.clear();
                for (name, pod) in all {
                    moved.extend(self.insert(name, pod));
                }
            }
            Change::Applied(name, pod) => {
                let before = self.bound.get(name).and_then(|pod| pod.node.as_ref());
                if before == pod.node.as_ref() {
                    if before.is_some() {
                        self.bound.insert(name.clone(), Arc::clone(pod));
                    }
                } else {
                    moved.extend(self.remove(name));
                    moved.extend(self.insert(name, pod));
                }
            }
            Change::Deleted(name, _) => moved.extend(self.remove(name)),
        }
        moved
    }

    fn insert(&mut self, name: &ObjectName, pod: &Arc<PodView>) -> Option<String> {
        let node = pod.node.clone()?;
        self.bound.insert(name.clone(), Arc::clone(pod));
        self.of
            .entry(node.clone())
            .or_default()
            .insert(name.clone());
        Some(node)
    }

    fn remove(&mut self, name: &ObjectName) -> Option<String> {
        let node = self.bound.remove(name)?.node.clone()?;
        if let Some(there) = self.of.get_mut(&node) {
            there.remove(name);
            if there.is_empty() {
                self.of.remove(&node);
            }
        }
        Some(node)
    }

    pub fn get(&self, name: &ObjectName) -> Option<&Arc<PodView>> {
        self.bound.get(name)
    }

    /// The pods of a node.
    pub fn of(&self, node: &str) -> impl Iterator<Item = (&ObjectName, &Arc<PodView>)> {
        let names = self.of.get(node).into_iter().flatten();
        names.filter_map(|name| self.bound.get_key_value(name))
    }

    pub fn has(&self, node: &str) -> bool {
        self.of.contains_key(node)
    }

    /// Nodes that pods name, whether they exist or not.
    pub fn nodes(&self) -> impl Iterator<Item = &String> {
        self.of.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{name, pod};

    fn on(node: Option<&str>) -> Arc<PodView> {
        Arc::new(PodView {
            node: node.map(str::to_owned),
            ..pod("u")
        })
    }

    #[test]
    fn pods_are_found_where_they_are_bound() {
        let mut pods = PodsByNode::default();
        let a = || name("default", "a");
        let moves = |pods: &mut PodsByNode, change| {
            let moved: Vec<_> = pods.apply(&change).into_iter().collect();
            moved.join(",")
        };
        assert_eq!(moves(&mut pods, Change::Applied(a(), on(None))), "");
        assert_eq!(moves(&mut pods, Change::Applied(a(), on(Some("n1")))), "n1");
        assert_eq!(moves(&mut pods, Change::Applied(a(), on(Some("n1")))), "");
        assert!(pods.has("n1") && pods.get(&a()).is_some());
        // Made anew under its name, elsewhere.
        assert_eq!(
            moves(&mut pods, Change::Applied(a(), on(Some("n2")))),
            "n1,n2"
        );
        assert_eq!((pods.of("n1").count(), pods.of("n2").count()), (0, 1));
        let all = Change::Reset(vec![(name("default", "b"), on(Some("n3")))]);
        assert_eq!(moves(&mut pods, all), "n2,n3");
        assert_eq!(
            moves(&mut pods, Change::Deleted(name("default", "b"), on(None))),
            "n3"
        );
        assert_eq!(pods.nodes().count(), 0);
    }
}
