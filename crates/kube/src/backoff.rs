//! When to try again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Growing pauses between attempts: each twice the one before, up to a cap, with up to half as much again at random.
///
/// Never gives up. The jitter keeps a thousand nodes whose server came back
/// from asking in the same instant.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses from `first` to `cap`.
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            failures: 0,
        }
    }

    /// For watches and other calls to the API server: 50 ms to 5 s. A server
    /// that restarts is back within 100 ms, and so must we be.
    pub const fn reconnect() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(5))
    }

    /// The pause before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let delay = delay(self.first, self.cap, self.failures, random_unit());
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// After a success: the next pause is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Attempts that failed since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// `unit` in 0..1 is the jitter's luck.
fn delay(first: Duration, cap: Duration, failures: u32, unit: f64) -> Duration {
    let doubled = first.saturating_mul(1 << failures.min(20));
    doubled.min(cap).mul_f64(1.0 + unit / 2.0)
}

/// A number in 0..1. Every `RandomState` has fresh keys, which is random
/// enough to spread retries and costs no dependency.
fn random_unit() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_stays_there() {
        let ms = |failures| {
            delay(
                Duration::from_millis(50),
                Duration::from_secs(5),
                failures,
                0.0,
            )
            .as_millis()
        };
        assert_eq!(
            [0, 1, 2, 6, 7, 1000].map(ms),
            [50, 100, 200, 3200, 5000, 5000]
        );
    }

    #[test]
    fn jitter_adds_up_to_a_half_and_a_success_starts_over() {
        let mut backoff = Backoff::reconnect();
        for _ in 0..200 {
            let first = backoff.next_delay();
            assert!((50..=75).contains(&first.as_millis()), "{first:?}");
            backoff.next_delay();
            assert_eq!(backoff.failures(), 2);
            backoff.reset();
        }
    }

    #[test]
    fn luck_is_spread_over_the_unit() {
        let mean = (0..1000).map(|_| random_unit()).sum::<f64>() / 1000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }
}
