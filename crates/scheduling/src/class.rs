//! Pods that are alike, counted by node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sealane_objects::Demand;

/// Labels of a pod, a node or a namespace.
pub type Labels = BTreeMap<String, String>;

/// Place of a node on the board.
pub type SlotId = usize;

/// Names a class while somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(usize);

/// What pods of one class have in common: all that the choice knows of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Traits {
    /// `.metadata.namespace`
    pub namespace: String,
    /// `.metadata.labels`
    pub labels: Labels,
    /// What such a pod asks of its place.
    pub demand: Arc<Demand>,
}

/// Pods of a class on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All of them.
    pub all: u32,
    /// Those that are being deleted.
    pub leaving: u32,
}

#[derive(Debug)]
pub struct Class {
    pub traits: Arc<Traits>,
    /// Where its pods stand.
    pub on: BTreeMap<SlotId, Count>,
    /// Pods that are of this class, wherever they are.
    members: usize,
}

/// All classes that have members.
#[derive(Debug, Default)]
pub struct Classes {
    all: Vec<Option<Class>>,
    free: Vec<usize>,
    known: HashMap<Arc<Traits>, usize>,
}

impl Classes {
    /// The class of these traits, with one member more.
    pub fn join(&mut self, traits: Traits) -> ClassId {
        if let Some(known) = self.known.get(&traits) {
            let id = ClassId(*known);
            self.get_mut(id).members += 1;
            return id;
        }
        let traits = Arc::new(traits);
        let class = Class {
            traits: Arc::clone(&traits),
            on: BTreeMap::new(),
            members: 1,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        });
        self.all[place] = Some(class);
        self.known.insert(traits, place);
        ClassId(place)
    }

    /// One member less; a class without members is forgotten.
    pub fn part(&mut self, id: ClassId) {
        let class = self.get_mut(id);
        class.members -= 1;
        if class.members == 0 {
            let traits = Arc::clone(&class.traits);
            self.known.remove(&traits);
            self.all[id.0] = None;
            self.free.push(id.0);
        }
    }

    pub fn get(&self, id: ClassId) -> &Class {
        self.all[id.0]
            .as_ref()
            .expect("a class lives as long as its members")
    }

    pub fn get_mut(&mut self, id: ClassId) -> &mut Class {
        self.all[id.0]
            .as_mut()
            .expect("a class lives as long as its members")
    }

    /// Classes with pods on nodes.
    pub fn standing(&self) -> impl Iterator<Item = &Class> {
        let all = self.all.iter().flatten();
        all.filter(|class| !class.on.is_empty())
    }
}

impl Class {
    /// Counts a pod in, or out.
    pub fn count(&mut self, slot: SlotId, leaving: bool, up: bool) {
        let count = self.on.entry(slot).or_default();
        let step = |number: &mut u32| {
            *number = if up {
                *number + 1
            } else {
                number.saturating_sub(1)
            };
        };
        step(&mut count.all);
        if leaving {
            step(&mut count.leaving);
        }
        if count.all == 0 {
            self.on.remove(&slot);
        }
    }
}
