//! Elements as numbers of 64 bits: whether two sets of a million elements are one is asked every minute, and seldom not.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::element::Element;

/// The elements that a kernel should hold and has not shown yet.
#[derive(Default)]
pub struct Fingerprints {
    /// Of a seed of its own, so that nobody can make elements that look alike.
    seed: RandomState,
    expected: HashSet<u64>,
    strange: bool,
}

impl Fingerprints {
    pub(super) fn expect(&mut self, element: &Element) {
        self.expected.insert(self.seed.hash_one(element));
    }

    /// Takes in what the kernel holds. What packets have put there is no matter.
    pub fn see(&mut self, element: &Element) {
        if !element.map.spec().dynamic && !self.expected.remove(&self.seed.hash_one(element)) {
            self.strange = true;
        }
    }

    /// Whether all was there that should be, and nothing else.
    pub fn agree(&self) -> bool {
        !self.strange && self.expected.is_empty()
    }
}
