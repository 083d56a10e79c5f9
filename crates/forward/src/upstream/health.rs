//! What is known of one upstream: whether it answers, how fast, and what it does not understand.
//!
//! ```text
//!             max_fails failures in a row
//!        up ───────────────────────────────► down ──┐ probe after interval, 2 × interval, … 8 s
//!         ▲                                   │ ▲   │
//!         └──── any answer, probe or query ───┘ └───┘ no answer
//! ```
//!
//! Real queries tell most: a probe is sent only while an upstream is down. Whatever comes back counts
//! as life, `REFUSED` and `SERVFAIL` too, as in CoreDNS.

use std::time::{Duration, Instant};

use crate::settings::{HealthCheck, Patience};

/// How long an upstream is taken at its word that it does not understand something.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What is known of one upstream.
#[derive(Clone, Debug, Default)]
pub struct Health {
    failures: u32,
    /// Until the next probe and the one after, while it is down.
    probing: Option<Duration>,
    smoothed: Option<Duration>,
    variation: Duration,
    without_edns: Option<Instant>,
    folds_case: Option<Instant>,
    loops: bool,
}

impl Health {
    /// It answered after `took`; a probe that says nothing about its speed has none.
    pub fn answered(&mut self, took: Option<Duration>) {
        self.failures = 0;
        self.probing = None;
        if let Some(took) = took {
            self.measured(took);
        }
    }

    /// Smoothed as TCP does it (RFC 6298 §2).
    fn measured(&mut self, took: Duration) {
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(took);
            self.variation = took / 2;
            return;
        };
        self.variation = (self.variation * 3 + smoothed.abs_diff(took)) / 4;
        self.smoothed = Some((smoothed * 7 + took) / 8);
    }

    /// It did not answer, or not as a resolver would. Says whether it is down since now, and is to be probed.
    pub fn failed(&mut self, max_fails: u32, check: &HealthCheck) -> bool {
        self.failures = self.failures.saturating_add(1);
        let goes_down = max_fails > 0 && self.failures >= max_fails && self.probing.is_none();
        if goes_down {
            self.probing = Some(check.interval);
        }
        goes_down
    }

    /// How long to wait before the next probe; `None` when it is not down. Each time twice as long.
    pub fn next_probe(&mut self, check: &HealthCheck) -> Option<Duration> {
        let wait = self.probing?;
        let longest = check.interval.max(HealthCheck::SLOWEST);
        self.probing = Some((wait * 2).min(longest));
        Some(wait)
    }

    /// Whether others are to be preferred.
    pub fn is_down(&self) -> bool {
        self.probing.is_some()
    }

    /// Whether what it is asked comes back to us.
    pub fn loops(&self) -> bool {
        self.loops
    }

    /// What it is asked comes back to us, or no longer does.
    pub fn set_loops(&mut self, loops: bool) {
        self.loops = loops;
    }

    /// How long to wait for it before another is asked as well: longer than most of its answers take.
    pub fn patience(&self, patience: &Patience) -> Duration {
        let usual = self.smoothed.map(|time| time * 2 + self.variation * 4);
        usual
            .unwrap_or(patience.longest)
            .clamp(patience.shortest, patience.longest)
    }

    /// Whether it may be asked with EDNS.
    pub fn knows_edns(&self, now: Instant) -> bool {
        self.without_edns.is_none_or(|until| until <= now)
    }

    /// It refused a query with EDNS and answered the same without.
    pub fn refused_edns(&mut self, now: Instant) {
        self.without_edns = Some(now + REMEMBERED);
    }

    /// Whether it gives a name back in the case in which it was asked.
    pub fn keeps_case(&self, now: Instant) -> bool {
        self.folds_case.is_none_or(|until| until <= now)
    }

    /// It has changed the case of a name where nobody else could have done so.
    pub fn folded_case(&mut self, now: Instant) {
        self.folds_case = Some(now + REMEMBERED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn goes_down_after_failures_in_a_row_and_up_with_any_answer() {
        let check = HealthCheck::default();
        let mut health = Health::default();
        assert!(!health.failed(2, &check));
        health.answered(Some(MS));
        assert!(!health.failed(2, &check), "the first in a row again");
        assert!(health.failed(2, &check));
        assert!(health.is_down());
        assert!(!health.failed(2, &check), "it is probed already");
        health.answered(None);
        assert!(!health.is_down());
        assert_eq!(health.next_probe(&check), None);
    }

    #[test]
    fn never_goes_down_when_failures_do_not_count() {
        let mut health = Health::default();
        assert!((0..100).all(|_| !health.failed(0, &HealthCheck::default())));
        assert!(!health.is_down());
    }

    #[test]
    fn probes_back_off() {
        let check = HealthCheck::default();
        let mut health = Health::default();
        health.failed(1, &check);
        let waits: Vec<_> = (0..6)
            .filter_map(|_| health.next_probe(&check))
            .map(|wait| wait.as_millis())
            .collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000]);
    }

    #[test]
    fn patience_follows_what_it_usually_takes_within_bounds() {
        let patience = Patience::default();
        let mut health = Health::default();
        assert_eq!(
            health.patience(&patience),
            patience.longest,
            "nothing known"
        );
        (0..50).for_each(|_| health.answered(Some(MS)));
        assert_eq!(health.patience(&patience), patience.shortest);
        (0..50).for_each(|_| health.answered(Some(60 * MS)));
        let usual = health.patience(&patience);
        assert!(usual > 60 * MS && usual < 200 * MS, "{usual:?}");
        (0..50).for_each(|_| health.answered(Some(900 * MS)));
        assert_eq!(health.patience(&patience), patience.longest);
    }

    #[test]
    fn what_it_does_not_understand_is_tried_again_after_an_hour() {
        let now = Instant::now();
        let mut health = Health::default();
        health.refused_edns(now);
        health.folded_case(now);
        assert!(!health.knows_edns(now) && !health.keeps_case(now));
        let later = now + REMEMBERED;
        assert!(health.knows_edns(later) && health.keeps_case(later));
    }
}
