//! Values by their content, so that a thousand pods of one template hold one of each.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use sealane_objects::Demand;

use crate::facts::{Controller, NamedPort};

/// What pods share.
#[derive(Default)]
pub struct Pools {
    pub demands: Pool<Demand>,
    pub labels: Pool<BTreeMap<String, String>>,
    pub controllers: Pool<Controller>,
    pub ports: Pool<Vec<NamedPort>>,
}

/// Values that are held somewhere.
pub struct Pool<T> {
    known: HashSet<Arc<T>>,
    /// How many there were when those that nobody holds were last dropped.
    swept: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            swept: 0,
        }
    }
}

impl<T: Hash + Eq> Pool<T> {
    /// The one value that is equal to this.
    pub fn share(&mut self, value: T) -> Arc<T> {
        if let Some(known) = self.known.get(&value) {
            return Arc::clone(known);
        }
        if self.known.len() > 2 * self.swept + 64 {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.swept = self.known.len();
        }
        let value = Arc::new(value);
        self.known.insert(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_those_that_nobody_holds_are_dropped() {
        let mut pool = Pool::default();
        let held = pool.share("a".to_owned());
        assert!(Arc::ptr_eq(&held, &pool.share("a".to_owned())));
        for number in 0..1000 {
            pool.share(number.to_string());
        }
        assert!(pool.known.len() < 100, "{}", pool.known.len());
        assert!(Arc::ptr_eq(&held, &pool.share("a".to_owned())));
    }
}
