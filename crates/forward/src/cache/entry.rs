//! One answer that is kept: how fresh it is, and how popular.
//!
//! ```text
//!  stored ──────────────────────────┬─ prefetch, if popular ─┬──────────────── stale ───┬─ gone
//!         0                         │ 90 % of its TTL        │ its TTL                  │ + serve_stale
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use sealane_message::{Age, Answer};

use crate::{query::Reply, settings::Prefetch};

/// The TTL of an answer that has expired (RFC 8767 §4).
const STALE_TTL: u32 = 30;

/// An answer that is kept. Small: there are many of them. Times are in milliseconds, of which 32 bits are
/// seven weeks.
#[derive(Clone, Debug)]
pub struct Entry {
    answer: Arc<Answer>,
    stored: Instant,
    ttl_ms: u32,
    /// From when it was stored.
    last_asked_ms: u32,
    asked: u32,
    /// Somebody was told to fetch it again.
    refreshed: bool,
}

/// How fresh an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It may be given.
    Fresh,
    /// It may be given if nothing better can be had.
    Stale,
    /// It may not be given.
    Gone,
}

impl Entry {
    /// An answer that may be kept for a while from now on.
    pub fn new(answer: Arc<Answer>, ttl: Duration, now: Instant) -> Self {
        Self {
            answer,
            stored: now,
            ttl_ms: ms(ttl),
            last_asked_ms: 0,
            asked: 0,
            refreshed: false,
        }
    }

    /// Carries on how popular the name was when the answer was fetched again.
    pub fn succeed(&mut self, before: &Self) {
        self.asked = before.asked;
    }

    /// How fresh it is, if it may be given for so long after it expired.
    pub fn freshness(&self, now: Instant, stale_within: Duration) -> Freshness {
        let age = self.age(now);
        if age < self.ttl() {
            Freshness::Fresh
        } else if age < self.ttl() + stale_within {
            Freshness::Stale
        } else {
            Freshness::Gone
        }
    }

    /// The answer as it is now.
    pub fn reply(&self, now: Instant) -> Reply {
        let age = self.age(now);
        Reply {
            answer: Arc::clone(&self.answer),
            age: match age < self.ttl() {
                true => Age::Seconds(u32::try_from(age.as_secs()).unwrap_or(u32::MAX)),
                false => Age::Stale(STALE_TTL),
            },
        }
    }

    /// Somebody asked for it. Says whether it is to be fetched again: once, when it is popular and little
    /// of its time is left.
    pub fn asked(&mut self, now: Instant, prefetch: Option<&Prefetch>) -> bool {
        let Some(prefetch) = prefetch else {
            return false;
        };
        let age_ms = ms(self.age(now));
        if age_ms.saturating_sub(self.last_asked_ms) >= ms(prefetch.gap) {
            self.asked = 0;
        }
        self.last_asked_ms = age_ms;
        self.asked = self.asked.saturating_add(1);
        let left = self.ttl().saturating_sub(self.age(now));
        let share = self.ttl() * u32::from(prefetch.percentage) / 100;
        let due = left <= share.max(Duration::from_secs(1));
        due && self.asked >= prefetch.amount && self.refresh()
    }

    /// Says yes once: it is to be fetched again.
    pub fn refresh(&mut self) -> bool {
        !std::mem::replace(&mut self.refreshed, true)
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored)
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms.into())
    }
}

fn ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
