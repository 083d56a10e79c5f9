//! How often in a row something is done at once.
//!
//! Somebody who edits again whenever we mend would keep both busy for ever:
//! after a few times in a row it is once a second.

use std::time::{Duration, Instant};

/// How many times in a row.
const MOST: u32 = 5;
/// After which there is one more.
const PAUSE: Duration = Duration::from_secs(1);

/// How many times are left.
pub struct Patience {
    left: u32,
    regained_at: Option<Instant>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            left: MOST,
            regained_at: None,
        }
    }
}

impl Patience {
    /// Uses one up, if there is any left.
    pub fn take(&mut self, now: Instant) -> bool {
        self.regain(now);
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.regained_at.get_or_insert(now + PAUSE);
        true
    }

    /// When there is one more.
    pub fn regained_at(&self) -> Option<Instant> {
        self.regained_at
    }

    fn regain(&mut self, now: Instant) {
        while let Some(at) = self.regained_at.filter(|at| *at <= now) {
            self.left += 1;
            self.regained_at = (self.left < MOST).then(|| at + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_times_at_once_and_then_one_a_second() {
        let mut patience = Patience::default();
        let start = Instant::now();
        let mut done = 0;
        for tenth in 0..100 {
            let now = start + Duration::from_millis(100) * tenth;
            done += u32::from(patience.take(now));
        }
        assert_eq!(done, MOST + 9);
        let rest = start + Duration::from_secs(60);
        for _ in 0..MOST {
            assert!(patience.take(rest));
        }
        assert!(!patience.take(rest));
        assert_eq!(patience.regained_at(), Some(rest + PAUSE));
    }
}
