//! A part of the cache, as a value: what is kept under a key, and which of it is given.
//!
//! Answers, denials and failures are in three pools, so that none drives out another: a flood of made-up
//! names fills the denials alone, and a failure does not replace the answer that may have to stand in for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sealane_message::Answer;

use super::{
    entry::{Entry, Freshness},
    sieve::{Place, Sieve},
};
use crate::{
    query::Reply,
    response::Outcome,
    settings::{CacheSettings, ServeStale, StaleMode},
};

/// What failures may take: a fraction of a small cache.
const FAILURE_SHARE: usize = 16;

/// A part of the cache.
#[derive(Debug)]
pub struct Shard {
    success: Sieve<Entry>,
    denial: Sieve<Entry>,
    failures: Sieve<Entry>,
}

/// What is given at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The answer.
    pub reply: Reply,
    /// What kind it is; a failure counts as a denial.
    pub outcome: Outcome,
    /// It has expired.
    pub stale: bool,
    /// It should be fetched again.
    pub refresh: bool,
}

impl Shard {
    /// Empty; it takes one of so many parts of what is allowed.
    pub fn new(settings: &CacheSettings, parts: usize) -> Self {
        Self {
            success: Sieve::new(settings.success.bytes / parts),
            denial: Sieve::new(settings.denial.bytes / parts),
            failures: Sieve::new(settings.denial.bytes / parts / FAILURE_SHARE),
        }
    }

    /// What is given at once to who asks now.
    pub fn get(&mut self, key: Place<'_>, now: Instant, settings: &CacheSettings) -> Option<Hit> {
        let stale = settings.serve_stale;
        let within = stale.map_or(Duration::ZERO, |stale| stale.within);
        let failure = |failures: &Sieve<Entry>| fresh(failures, key, now);
        for (pool, outcome) in [
            (&mut self.success, Outcome::Success),
            (&mut self.denial, Outcome::Denial),
        ] {
            let Some(entry) = pool.get(key) else {
                continue;
            };
            let (given, refresh) = match entry.freshness(now, within) {
                Freshness::Fresh => (true, entry.asked(now, settings.prefetch.as_ref())),
                // It was tried a moment ago, in vain: no need to wait for that again (RFC 8767 §5).
                Freshness::Stale if failure(&self.failures).is_some() => (true, false),
                Freshness::Stale => (at_once(stale), at_once(stale) && entry.refresh()),
                Freshness::Gone => {
                    pool.remove(key);
                    continue;
                }
            };
            return given.then(|| Hit {
                stale: entry.freshness(now, Duration::ZERO) == Freshness::Gone,
                reply: entry.reply(now),
                outcome,
                refresh,
            });
        }
        failure(&self.failures).map(|reply| Hit {
            reply,
            outcome: Outcome::Denial,
            stale: false,
            refresh: false,
        })
    }

    /// What can be given for want of a better answer.
    pub fn stale(&self, key: Place<'_>, now: Instant, settings: &CacheSettings) -> Option<Reply> {
        let within = settings.serve_stale?.within;
        let entries = [&self.success, &self.denial].map(|pool| pool.peek(key));
        let mut usable = entries
            .into_iter()
            .flatten()
            .filter(|entry| entry.freshness(now, within) != Freshness::Gone);
        usable.next().map(|entry| entry.reply(now))
    }

    /// Keeps an answer; says how many others of its kind went for it.
    pub fn put(
        &mut self,
        key: Place<'_>,
        (answer, outcome): (Arc<Answer>, Outcome),
        ttl: Duration,
        now: Instant,
    ) -> usize {
        self.failures.remove(key);
        let (pool, other) = match outcome {
            Outcome::Success => (&mut self.success, &mut self.denial),
            Outcome::Denial => (&mut self.denial, &mut self.success),
        };
        other.remove(key);
        let bytes = answer.memory_bytes();
        let mut entry = Entry::new(answer, ttl, now);
        if let Some(before) = pool.peek(key) {
            entry.succeed(before);
        }
        pool.insert(key, entry, bytes)
    }

    /// Keeps that there was no answer.
    pub fn put_failure(
        &mut self,
        key: Place<'_>,
        answer: Arc<Answer>,
        ttl: Duration,
        now: Instant,
    ) {
        let bytes = answer.memory_bytes();
        self.failures
            .insert(key, Entry::new(answer, ttl, now), bytes);
    }

    /// How many entries of a kind there are.
    pub fn len(&self, outcome: Outcome) -> usize {
        match outcome {
            Outcome::Success => self.success.len(),
            Outcome::Denial => self.denial.len() + self.failures.len(),
        }
    }

    /// What all entries take, in bytes.
    pub fn weight(&self) -> usize {
        let pools = [&self.success, &self.denial, &self.failures];
        pools.map(Sieve::weight).iter().sum()
    }
}

fn at_once(stale: Option<ServeStale>) -> bool {
    stale.is_some_and(|stale| stale.mode == StaleMode::Immediate)
}

fn fresh(pool: &Sieve<Entry>, key: Place<'_>, now: Instant) -> Option<Reply> {
    let entry = pool.peek(key)?;
    let is_fresh = entry.freshness(now, Duration::ZERO) == Freshness::Fresh;
    is_fresh.then(|| entry.reply(now))
}
