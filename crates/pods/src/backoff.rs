//! How long a failed thing waits before it is tried again.
//!
//! The rules are the kubelet's (`client-go/util/flowcontrol/backoff.go` as used
//! by `kuberuntime_manager.go`): the first retry is immediate, after it the delay
//! is 10 s and doubles with each further failure up to 5 min, and is forgotten when
//! ten minutes have passed between the last retry and the next failure. Delays count from
//! the failure, not from the moment it was noticed, so a restarted node neither
//! shortens nor extends them.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Delay after the first failure that follows a retry.
pub const FIRST: Duration = Duration::from_secs(10);
/// Longest delay.
pub const LONGEST: Duration = Duration::from_secs(300);
/// Silence after which earlier failures are forgotten.
const FORGET: Duration = Duration::from_secs(2 * LONGEST.as_secs());

/// The delay in force and when it was last raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    current: Option<(u32, Timestamp)>,
}

impl Backoff {
    /// No failure yet.
    pub const NEW: Self = Self { current: None };

    /// The moment before which a failure that happened at `failed` must not be
    /// retried; `None` when it may be retried at once.
    pub fn until(&self, failed: Timestamp) -> Option<Timestamp> {
        let (seconds, updated) = self.current?;
        if expired(failed, updated) {
            return None;
        }
        Some(failed + Duration::from_secs(u64::from(seconds)))
    }

    /// Raises the delay because a failure of time `failed` is being retried `now`.
    pub fn raise(&mut self, failed: Timestamp, now: Timestamp) {
        let seconds = match self.current {
            Some((seconds, updated)) if !expired(failed, updated) => {
                (seconds * 2).min(LONGEST.as_secs() as u32)
            }
            _ => FIRST.as_secs() as u32,
        };
        self.current = Some((seconds, now));
    }

    /// The delay in force.
    pub fn delay(&self) -> Duration {
        self.current.map_or(Duration::ZERO, |(seconds, _)| {
            Duration::from_secs(u64::from(seconds))
        })
    }
}

fn expired(failed: Timestamp, updated: Timestamp) -> bool {
    failed.duration_since(updated).as_secs() > FORGET.as_secs() as i64
}

/// A duration as Go prints it (`1m20s`), which is what Kubernetes' messages show.
pub fn in_words(delay: Duration) -> String {
    let seconds = delay.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn first_retry_is_immediate_then_delays_double_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut seen = Vec::new();
        let mut now = 0;
        for _ in 0..8 {
            let wait = backoff
                .until(at(now))
                .map_or(0, |until| until.duration_since(at(now)).as_secs());
            seen.push(wait);
            backoff.raise(at(now), at(now + wait));
            now += wait;
        }
        assert_eq!(seen, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_quiet_minutes_forget_the_past() {
        let mut backoff = Backoff::default();
        backoff.raise(at(0), at(0));
        backoff.raise(at(10), at(20));
        assert_eq!(backoff.until(at(620)), Some(at(640)));
        assert_eq!(backoff.until(at(621)), None);
        backoff.raise(at(621), at(621));
        assert_eq!(backoff.delay(), FIRST);
    }

    #[test]
    fn delays_read_as_go_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (10, "10s"),
            (80, "1m20s"),
            (300, "5m0s"),
            (3600, "1h0m0s"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), text);
        }
    }
}
