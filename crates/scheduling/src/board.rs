//! The cluster as the choice sees it: nodes, what stands on them, and namespaces.

use std::collections::BTreeMap;

use sealane_objects::{Demand, HostPort, Resources, Taint};
use serde::Serialize;

use crate::class::{Class, ClassId, Classes, Labels, SlotId, Traits};

/// What is known of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// `.metadata.labels`
    pub labels: Labels,
    /// `.spec.taints`, and what amounts to a taint.
    pub taints: Vec<Taint>,
    /// `.spec.unschedulable`
    pub cordoned: bool,
    /// `.status.allocatable` without pods.
    pub allocatable: Resources,
    /// How many pods it takes; none: no limit is known.
    pub max_pods: Option<usize>,
    /// What limits that number, in words: `subnet 10.244.1.0/28 has addresses for`.
    pub limited_by: Option<String>,
}

/// A node and what stands on it. Pods may stand on a node that is not, or no longer, there.
#[derive(Debug, Default)]
pub struct Slot {
    pub name: String,
    pub node: Option<NodeFacts>,
    pub used: Resources,
    /// The same as nodes are compared by it.
    pub weight: Resources,
    pub pods: usize,
    pub ports: BTreeMap<HostPort, u32>,
    /// Pods by priority.
    pub priorities: BTreeMap<i32, u32>,
}

/// Nodes, what stands on them, and namespaces.
#[derive(Debug, Default)]
pub struct Board {
    slots: Vec<Slot>,
    names: BTreeMap<String, SlotId>,
    free: Vec<SlotId>,
    classes: Classes,
    namespaces: BTreeMap<String, Labels>,
}

impl Board {
    /// A node is so, or is gone; says whether that is new.
    pub fn set_node(&mut self, name: &str, node: Option<NodeFacts>) -> bool {
        if node.is_none() && !self.names.contains_key(name) {
            return false;
        }
        let id = self.slot(name);
        let slot = &mut self.slots[id];
        let new = slot.node != node;
        slot.node = node;
        self.tidy(id);
        new
    }

    /// Names of the nodes that there are.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &NodeFacts)> {
        self.present()
            .map(|(_, slot, node)| (slot.name.as_str(), node))
    }

    /// How many pods stand on a node.
    pub fn pods_on(&self, name: &str) -> usize {
        self.names.get(name).map_or(0, |id| self.slots[*id].pods)
    }

    /// What the pods on a node ask for together.
    pub fn used_on(&self, name: &str) -> Resources {
        let slot = self.names.get(name).map(|id| &self.slots[*id]);
        slot.map(|slot| slot.used.clone()).unwrap_or_default()
    }

    /// A namespace has these labels, or is gone; says whether that is new.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) -> bool {
        match labels {
            Some(labels) => {
                let before = self.namespaces.insert(name.to_owned(), labels);
                before.as_ref() != self.namespaces.get(name)
            }
            None => self.namespaces.remove(name).is_some(),
        }
    }

    /// Names of the namespaces that are known.
    pub fn namespaces(&self) -> impl Iterator<Item = &String> {
        self.namespaces.keys()
    }

    /// Takes note of a pod; whoever does must [`Self::part`] with it in the end.
    pub fn join(&mut self, traits: Traits) -> ClassId {
        self.classes.join(traits)
    }

    /// Forgets a pod, which stands nowhere any more.
    pub fn part(&mut self, class: ClassId) {
        self.classes.part(class);
    }

    /// What pods of a class have in common.
    pub fn traits(&self, class: ClassId) -> &Traits {
        &self.classes.get(class).traits
    }

    /// A pod takes its place on a node.
    pub fn put(&mut self, class: ClassId, node: &str, leaving: bool) {
        let id = self.slot(node);
        let class = self.classes.get_mut(class);
        class.count(id, leaving, true);
        self.slots[id].put(&class.traits.demand);
    }

    /// A pod gives up its place on a node.
    pub fn take(&mut self, class: ClassId, node: &str, leaving: bool) {
        let id = self.slot(node);
        let class = self.classes.get_mut(class);
        class.count(id, leaving, false);
        self.slots[id].take(&class.traits.demand);
        self.tidy(id);
    }

    /// Nodes that there are, in the order of their names.
    pub(crate) fn present(&self) -> impl Iterator<Item = (SlotId, &Slot, &NodeFacts)> {
        self.names.values().filter_map(|id| {
            let slot = &self.slots[*id];
            Some((*id, slot, slot.node.as_ref()?))
        })
    }

    pub(crate) fn class(&self, id: ClassId) -> &Class {
        self.classes.get(id)
    }

    pub(crate) fn standing(&self) -> impl Iterator<Item = &Class> {
        self.classes.standing()
    }

    /// A node's label.
    pub(crate) fn label(&self, slot: SlotId, key: &str) -> Option<&str> {
        let node = self.slots[slot].node.as_ref()?;
        node.labels.get(key).map(String::as_str)
    }

    pub(crate) fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    /// An array with a place for each slot.
    pub(crate) fn zeros(&self) -> Vec<u32> {
        vec![0; self.slots.len()]
    }

    fn slot(&mut self, name: &str) -> SlotId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let slot = Slot {
            name: name.to_owned(),
            ..Slot::default()
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.names.insert(name.to_owned(), id);
        id
    }

    /// A place with neither a node nor pods is given up.
    fn tidy(&mut self, id: SlotId) {
        let slot = &self.slots[id];
        if slot.node.is_none() && slot.pods == 0 {
            self.names.remove(&slot.name);
            self.free.push(id);
        }
    }
}

impl Slot {
    fn put(&mut self, demand: &Demand) {
        self.pods += 1;
        self.used.add(&demand.requests);
        self.weight.add(&demand.weight);
        *self.priorities.entry(demand.priority).or_default() += 1;
        for port in &demand.ports {
            *self.ports.entry(port.clone()).or_default() += 1;
        }
    }

    fn take(&mut self, demand: &Demand) {
        self.pods = self.pods.saturating_sub(1);
        self.used.subtract(&demand.requests);
        self.weight.subtract(&demand.weight);
        decrement(&mut self.priorities, &demand.priority);
        for port in &demand.ports {
            decrement(&mut self.ports, port);
        }
    }
}

fn decrement<K: Ord + Clone>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
