//! What a watch has told so far.

use std::collections::BTreeMap;
use std::collections::btree_map;

use sealane_objects::ObjectName;

use crate::Change;

/// The objects that a watch has given, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror<T> {
    objects: BTreeMap<ObjectName, T>,
    synced: bool,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            synced: false,
        }
    }
}

impl<T> Mirror<T> {
    /// Takes one change in.
    pub fn apply(&mut self, change: Change<T>) {
        match change {
            Change::Reset(all) => {
                self.objects = all.into_iter().collect();
                self.synced = true;
            }
            Change::Applied(name, object) => {
                self.objects.insert(name, object);
            }
            Change::Deleted(name, _) => {
                self.objects.remove(&name);
            }
        }
    }

    /// Whether a full set has been seen: before that, absence means nothing.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The object of this name.
    pub fn get(&self, name: &ObjectName) -> Option<&T> {
        self.objects.get(name)
    }

    /// The cluster-wide object of this name.
    pub fn get_cluster_wide(&self, name: &str) -> Option<&T> {
        self.get(&ObjectName::new("", name))
    }

    /// All objects, in the order of their names.
    pub fn iter(&self) -> btree_map::Iter<'_, ObjectName, T> {
        self.objects.iter()
    }

    /// All objects, in the order of their names.
    pub fn values(&self) -> btree_map::Values<'_, ObjectName, T> {
        self.objects.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

impl<'a, T> IntoIterator for &'a Mirror<T> {
    type Item = (&'a ObjectName, &'a T);
    type IntoIter = btree_map::Iter<'a, ObjectName, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_changes_and_forgets_what_a_reset_does_not_name() {
        let name = |name: &str| ObjectName::new("", name);
        let mut mirror = Mirror::default();
        assert!(!mirror.is_synced());
        mirror.apply(Change::Reset(vec![(name("a"), 1), (name("b"), 2)]));
        assert!(mirror.is_synced());
        mirror.apply(Change::Applied(name("c"), 3));
        mirror.apply(Change::Applied(name("a"), 9));
        mirror.apply(Change::Deleted(name("b"), 2));
        assert_eq!(mirror.values().collect::<Vec<_>>(), [&9, &3]);
        mirror.apply(Change::Reset(vec![(name("c"), 3)]));
        assert_eq!(mirror.len(), 1);
        assert_eq!(mirror.get_cluster_wide("c"), Some(&3));
        assert_eq!(mirror.get_cluster_wide("a"), None);
    }
}
