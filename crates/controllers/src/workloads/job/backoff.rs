//! How long to wait after a failure: 10 s, twice as long each time, ten minutes at most.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);

/// How long after the last of so many failures in a row nothing is begun.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST.saturating_mul(1 << doublings.min(10)).min(LONGEST),
    }
}

/// How long it is from `now` until the pause after that failure is over.
pub fn remaining(failures: u32, last: Timestamp, now: Timestamp) -> Duration {
    let passed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    pause(failures).saturating_sub(passed)
}

/// The same for ends of pods, as the time and whether it was a success: failures since the last success count.
pub fn after(ends: &[(Timestamp, bool)], now: Timestamp) -> Duration {
    let success = ends
        .iter()
        .filter(|(_, good)| *good)
        .map(|(at, _)| *at)
        .max();
    let since: Vec<Timestamp> = ends
        .iter()
        .filter(|(at, good)| !good && success.is_none_or(|success| *at > success))
        .map(|(at, _)| *at)
        .collect();
    let failures = u32::try_from(since.len()).unwrap_or(u32::MAX);
    let last = since.into_iter().max();
    last.map_or(Duration::ZERO, |last| remaining(failures, last, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_something_succeeds() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let wait = |ends: &[(i64, bool)], now| {
            let ends: Vec<_> = ends.iter().map(|(t, good)| (at(*t), *good)).collect();
            after(&ends, at(now)).as_secs()
        };
        assert_eq!(wait(&[], 0), 0);
        assert_eq!(wait(&[(100, false)], 103), 7);
        assert_eq!(wait(&[(100, false), (120, false)], 120), 20);
        assert_eq!(wait(&[(100, false), (120, false)], 150), 0);
        assert_eq!(wait(&[(100, false), (110, true), (120, false)], 120), 10);
        assert_eq!(wait(&[(100, false), (110, true)], 110), 0);
        let many: Vec<_> = (0..50).map(|t| (t, false)).collect();
        assert_eq!(wait(&many, 49), 600);
    }
}
