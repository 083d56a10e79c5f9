//! Chance that can be repeated: the same seed gives the same choices.

/// A generator of numbers: SplitMix64, of which any seed is as good as another.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From the variable `SEALANE_SEED`, else always the same; printed, so that a run can be repeated.
    ///
    /// # Panics
    /// When the variable is no number.
    #[track_caller]
    pub fn of_this_run() -> Self {
        let seed = number("SEALANE_SEED").unwrap_or(1);
        eprintln!("the same choices again with SEALANE_SEED={seed}");
        Self::new(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit.
    ///
    /// # Panics
    /// When the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "there is no number below 0");
        self.draw() % limit
    }

    /// One of several; None of none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(all.len()).ok()?;
        if count == 0 {
            return None;
        }
        usize::try_from(self.below(count))
            .ok()
            .and_then(|n| all.get(n))
    }
}

/// A number from a variable of the environment.
///
/// # Panics
/// When it is set and no number.
#[track_caller]
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_choices_and_another_does_not() {
        let choices = |seed| {
            let mut chance = Chance::new(seed);
            (0..20).map(|_| chance.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }

    #[test]
    fn every_one_of_several_is_picked_and_none_of_none() {
        let mut chance = Chance::new(1);
        let all = ["a", "b", "c"];
        let picked: std::collections::BTreeSet<_> =
            (0..100).filter_map(|_| chance.pick(&all)).collect();
        assert_eq!(picked.len(), 3);
        assert_eq!(chance.pick::<u8>(&[]), None);
    }
}
