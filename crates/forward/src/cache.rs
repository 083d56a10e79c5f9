//! Answers that were heard before.
//!
//! The cache is asked by the threads that receive queries and filled by the tasks that ask upstreams. It is
//! cut into parts with a lock each, held for as long as a look takes, so that they seldom meet; what is given
//! is shared, not copied. Everything that is decided is in [`shard`] and below, without lock and clock.
//!
//! Memory is bounded in bytes, counting what an entry takes with its key and its place: a thousand large
//! answers of DNSSEC do not take what ten thousand addresses may. What makes room is in [`sieve`].

mod entry;
mod shard;
mod sieve;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sealane_message::Name;

pub use shard::Hit;

use crate::{
    meters::CacheMeters,
    query::{Key, Query, Reply},
    response::{Bounds, Kept, Outcome, TtlBounds},
    settings::{CacheSettings, PoolSettings},
};
use shard::Shard;
use sieve::Place;

/// Parts with a lock of their own.
const SHARDS: usize = 8;

/// How long it is remembered that nobody answered: the least that RFC 9520 §3.2 asks for, since who
/// was unreachable may be back in a moment.
const UNANSWERED: Duration = Duration::from_secs(1);

/// Answers that were heard before.
#[derive(Debug)]
pub struct Cache {
    hasher: RandomState,
    settings: CacheSettings,
    shards: [Mutex<Shard>; SHARDS],
    meters: CacheMeters,
}

impl Cache {
    /// Empty.
    pub fn new(settings: CacheSettings, meters: CacheMeters) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(Shard::new(&settings, SHARDS))),
            settings,
            meters,
        }
    }

    /// Whether answers to this name are kept.
    pub fn takes(&self, name: &Name) -> bool {
        let zones = &self.settings.zones;
        zones.is_empty() || zones.iter().any(|zone| name.is_within(zone))
    }

    /// The bounds of TTLs of what is kept here.
    pub fn bounds(&self) -> TtlBounds {
        let bounds = |pool: &PoolSettings| Bounds {
            min: seconds(pool.min_ttl),
            max: seconds(pool.max_ttl),
        };
        TtlBounds {
            success: bounds(&self.settings.success),
            denial: bounds(&self.settings.denial),
        }
    }

    /// What can be given at once.
    pub fn get(&self, query: &Query, now: Instant) -> Option<Hit> {
        let key = Key::of(query);
        let place = self.place(&key);
        let hit = self.shard(place).get(place, now, &self.settings);
        self.meters.asked(hit.as_ref());
        hit
    }

    /// What can be given when nothing better can be had in time.
    pub fn stale(&self, query: &Query, now: Instant) -> Option<Reply> {
        let key = Key::of(query);
        let place = self.place(&key);
        self.shard(place).stale(place, now, &self.settings)
    }

    /// Counts that a stale answer was given.
    pub fn gave_stale(&self) {
        self.meters.served_stale.inc();
    }

    /// Keeps an answer for as long as it says.
    pub fn put(&self, query: &Query, kept: &Kept, now: Instant) {
        let Some(ttl) = kept.ttl.filter(|ttl| *ttl > 0) else {
            return;
        };
        let ttl = Duration::from_secs(ttl.into());
        let key = Key::of(query);
        let value = (Arc::clone(&kept.answer), kept.outcome);
        let place = self.place(&key);
        let evicted = self.shard(place).put(place, value, ttl, now);
        self.meters.evicted(kept.outcome, evicted);
    }

    /// Keeps that upstreams failed, or that none answered.
    pub fn put_failure(&self, query: &Query, reply: &Reply, answered: bool, now: Instant) {
        let servfail = self.settings.servfail.min(CacheSettings::LONGEST_SERVFAIL);
        let ttl = match answered {
            true => servfail,
            false => servfail.min(UNANSWERED),
        };
        if !ttl.is_zero() {
            let key = Key::of(query);
            let answer = Arc::clone(&reply.answer);
            let place = self.place(&key);
            let mut shard = self.shard(place);
            shard.put_failure(place, answer, ttl, now);
        }
    }

    /// How many entries of a kind there are.
    pub fn len(&self, outcome: Outcome) -> usize {
        self.lock_each().map(|shard| shard.len(outcome)).sum()
    }

    /// What all entries take, in bytes.
    pub fn weight(&self) -> usize {
        self.lock_each().map(|shard| shard.weight()).sum()
    }

    /// Brings gauges up to date.
    pub fn show(&self) {
        for outcome in [Outcome::Success, Outcome::Denial] {
            self.meters.entries(outcome, self.len(outcome));
        }
        self.meters.bytes.set(self.weight() as f64);
    }

    fn lock_each(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }

    fn place<'k>(&self, key: &'k Key) -> Place<'k> {
        let key = key.as_bytes();
        Place {
            hash: self.hasher.hash_one(key),
            key,
        }
    }

    fn shard(&self, place: Place<'_>) -> MutexGuard<'_, Shard> {
        // Of the hash, maps use the lower bits and the uppermost.
        let shard = (place.hash >> 40) as usize % SHARDS;
        lock(&self.shards[shard])
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// A panic elsewhere must not take the cache away: a shard is sound between any two of its steps.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
