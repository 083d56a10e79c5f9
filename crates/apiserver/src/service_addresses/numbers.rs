//! Numbers that are handed out, each to one holder: offsets of addresses, ports.

use std::collections::HashSet;

/// A pool of the numbers from zero up to a size.
///
/// Numbers that are asked for by name can be any; those that are handed out come from above the
/// static band first, so that a person can choose a low one and find it free (as kube-apiserver
/// does), and in turn, so that one that was given back is used again as late as possible.
#[derive(Debug)]
pub struct Numbers {
    size: u128,
    /// The first number of the dynamic band.
    dynamic: u128,
    /// Where the search begins.
    next: u128,
    taken: HashSet<u128>,
}

/// Why a number could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is none of the pool.
    Outside,
    /// It is somebody else's.
    Taken,
}

const BAND_STEP: u128 = 16;
const BAND_MIN: u128 = 16;
const BAND_MAX: u128 = 256;

impl Numbers {
    /// A pool of `size` numbers, none of them taken.
    pub fn new(size: u128) -> Self {
        let band = (size / BAND_STEP).clamp(BAND_MIN, BAND_MAX);
        let dynamic = if band < size { band } else { 0 };
        Self {
            size,
            dynamic,
            next: dynamic,
            taken: HashSet::new(),
        }
    }

    /// Takes this number.
    pub fn take(&mut self, number: u128) -> Result<(), Refused> {
        if number >= self.size {
            return Err(Refused::Outside);
        }
        if self.taken.insert(number) {
            Ok(())
        } else {
            Err(Refused::Taken)
        }
    }

    /// Takes a free number; `None` if there is none.
    pub fn hand_out(&mut self) -> Option<u128> {
        let from_next = self.next..self.size;
        let before = self.dynamic..self.next;
        let band = 0..self.dynamic;
        let free = from_next
            .chain(before)
            .chain(band)
            .find(|n| !self.taken.contains(n))?;
        self.taken.insert(free);
        self.next = if free + 1 < self.size {
            free + 1
        } else {
            self.dynamic
        };
        self.next = self.next.max(self.dynamic);
        Some(free)
    }

    /// Gives a number back.
    pub fn give_back(&mut self, number: u128) {
        self.taken.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn low_numbers_are_left_to_people() {
        let mut numbers = Numbers::new(1 << 20);
        assert_eq!(numbers.hand_out(), Some(256));
        assert_eq!(numbers.take(10), Ok(()));
        assert_eq!(numbers.take(10), Err(Refused::Taken));
        assert_eq!(numbers.take(1 << 20), Err(Refused::Outside));
    }

    #[test]
    fn what_was_given_back_is_used_last() {
        let mut numbers = Numbers::new(20);
        let first = numbers.hand_out().unwrap();
        numbers.give_back(first);
        let rest: Vec<u128> = std::iter::from_fn(|| numbers.hand_out()).collect();
        assert_eq!(rest.len(), 20);
        assert_eq!(rest[..4], [17, 18, 19, 16]);
    }

    proptest! {
        #[test]
        fn no_number_has_two_holders(size in 1u128..64, steps in prop::collection::vec(0u128..70, 0..300)) {
            let mut numbers = Numbers::new(size);
            let mut held = HashSet::new();
            for step in steps {
                match step % 3 {
                    0 => if let Some(number) = numbers.hand_out() {
                        prop_assert!(number < size && held.insert(number));
                    } else {
                        prop_assert_eq!(held.len() as u128, size);
                    },
                    1 => if numbers.take(step).is_ok() {
                        prop_assert!(step < size && held.insert(step));
                    },
                    _ => if held.remove(&step) {
                        numbers.give_back(step);
                    },
                }
            }
        }
    }
}
