//! Numbers that are handed out, each to one holder: node ports.

use std::collections::HashSet;

/// A pool of the numbers from zero up to a size.
///
/// Numbers that are asked for by name can be any; those that are handed out come from above the
/// static band first, so that a person can choose a low one and find it free (KEP-3668), and in
/// turn, so that one that was given back is used again as late as possible.
#[derive(Debug)]
pub struct Numbers {
    size: u32,
    /// The first number of the dynamic band.
    dynamic: u32,
    /// Where the search begins.
    next: u32,
    taken: HashSet<u32>,
}

/// Why something could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is none of those that there are.
    Outside,
    /// It is somebody else's.
    Taken,
}

const BAND_PART: u32 = 32;
const BAND_MIN: u32 = 16;
const BAND_MAX: u32 = 128;

impl Numbers {
    /// A pool of `size` numbers, none of them taken.
    pub fn new(size: u32) -> Self {
        let dynamic = if size <= BAND_MIN {
            0
        } else {
            (size / BAND_PART).clamp(BAND_MIN, BAND_MAX)
        };
        Self {
            size,
            dynamic,
            next: dynamic,
            taken: HashSet::new(),
        }
    }

    /// Takes this number.
    pub fn take(&mut self, number: u32) -> Result<(), Refused> {
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
    pub fn hand_out(&mut self) -> Option<u32> {
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
    pub fn give_back(&mut self, number: u32) {
        self.taken.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn low_numbers_are_left_to_people() {
        // As many as 30000-32767 has: the band is 30000-30085.
        let mut numbers = Numbers::new(2768);
        assert_eq!(numbers.hand_out(), Some(86));
        assert_eq!(numbers.take(10), Ok(()));
        assert_eq!(numbers.take(10), Err(Refused::Taken));
        assert_eq!(numbers.take(2768), Err(Refused::Outside));
    }

    #[test]
    fn what_was_given_back_is_used_last() {
        let mut numbers = Numbers::new(20);
        let first = numbers.hand_out().unwrap();
        numbers.give_back(first);
        let rest: Vec<u32> = std::iter::from_fn(|| numbers.hand_out()).collect();
        assert_eq!(rest.len(), 20);
        assert_eq!(rest[..4], [17, 18, 19, 16]);
    }

    proptest! {
        #[test]
        fn no_number_has_two_holders(size in 1u32..64, steps in prop::collection::vec(0u32..70, 0..300)) {
            let mut numbers = Numbers::new(size);
            let mut held = HashSet::new();
            for step in steps {
                match step % 3 {
                    0 => if let Some(number) = numbers.hand_out() {
                        prop_assert!(number < size && held.insert(number));
                    } else {
                        prop_assert_eq!(held.len(), size as usize);
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
