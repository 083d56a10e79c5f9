//! Who leads: one process, by a Lease (KEP-589's object, client-go's algorithm).
//!
//! ```text
//!                 absent, released, ours, or not renewed for its duration (by our clock)
//!   read Lease ──────────────────────────────────────────────> write ourselves in ──> lead
//!       ^  │ held by another                                        │ conflict
//!       └──┴── wait, read again <────────────────────────────────────┘
//!
//!   leading: renew every third of the duration; not renewed for two thirds, or
//!   another's name in it: stop at once
//! ```
//!
//! "Ours" is decided by the identity alone, so that a process which was killed
//! and restarted on the same machine goes on without waiting. Identities must
//! therefore differ between processes that live at the same time: in a pod the
//! host name does, on one machine the supervisor runs one.
//!
//! Times in the Lease are written for people and never compared with our
//! clock, since clocks of machines differ: what counts is how long we have
//! seen the same renewal.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;

/// The holder writes itself in again this often.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Others look this often, so that a Lease that was given back does not lie idle.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A holder that could not renew for so long stops.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// Others take over when they have seen no renewal for so long.
pub const DURATION: Duration = Duration::from_secs(15);

/// What is to be done about the Lease.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// There is none: create this one.
    Create(Box<LeaseSpec>),
    /// Put this in its place, if it is still the one that was read.
    Replace(Box<LeaseSpec>),
    /// Another leads; look again after this.
    Wait(Duration),
}

/// What a candidate remembers between two looks.
pub struct Candidate {
    identity: String,
    seen: Option<Seen>,
}

/// The holder's latest renewal, and when we first saw it.
struct Seen {
    holder: Option<String>,
    renewed: Option<MicroTime>,
    since: Instant,
}

impl Candidate {
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            seen: None,
        }
    }

    /// What to do, given the Lease as it was just read.
    pub fn step(&mut self, lease: Option<&Lease>, now: Instant, wall: Timestamp) -> Step {
        let Some(lease) = lease else {
            return Step::Create(Box::new(self.claim(None, wall)));
        };
        let empty = LeaseSpec::default();
        let spec = lease.spec.as_ref().unwrap_or(&empty);
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return Step::Replace(Box::new(self.claim(Some(spec), wall)));
        }
        match self.left(spec, now) {
            Some(left) => Step::Wait(left.min(LOOK_EVERY)),
            None => Step::Replace(Box::new(self.claim(Some(spec), wall))),
        }
    }

    /// How long the holder may yet be silent; none when it has been for too long.
    fn left(&mut self, spec: &LeaseSpec, now: Instant) -> Option<Duration> {
        let known = self
            .seen
            .as_ref()
            .filter(|seen| seen.holder == spec.holder_identity && seen.renewed == spec.renew_time);
        let since = known.map_or(now, |seen| seen.since);
        self.seen = Some(Seen {
            holder: spec.holder_identity.clone(),
            renewed: spec.renew_time.clone(),
            since,
        });
        let seconds = spec
            .lease_duration_seconds
            .and_then(|s| u64::try_from(s).ok());
        let duration = seconds.map_or(DURATION, Duration::from_secs);
        let left = duration.checked_sub(now.saturating_duration_since(since))?;
        (!left.is_zero()).then_some(left)
    }

    /// The Lease with us as its holder.
    fn claim(&self, before: Option<&LeaseSpec>, wall: Timestamp) -> LeaseSpec {
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        let ours = before.filter(|spec| spec.holder_identity.as_ref() == Some(&self.identity));
        let acquired = ours.and_then(|spec| spec.acquire_time.clone());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(acquired.unwrap_or(MicroTime(wall))),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(if before.is_some() && ours.is_none() {
                transitions.saturating_add(1)
            } else {
                transitions
            }),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: &str = "2026-11-21T00:00:00Z";

    fn wall() -> Timestamp {
        WALL.parse().unwrap()
    }

    fn held_by(holder: &str, renewed: &str) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(15),
                renew_time: Some(MicroTime(renewed.parse().unwrap())),
                lease_transitions: Some(3),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    fn takes(step: &Step) -> Option<(&str, i32)> {
        let (Step::Create(spec) | Step::Replace(spec)) = step else {
            return None;
        };
        Some((spec.holder_identity.as_deref()?, spec.lease_transitions?))
    }

    #[test]
    fn an_absent_a_released_and_our_own_lease_are_taken_at_once() {
        let now = Instant::now();
        let cases = [
            (None, 0),
            (Some(Lease::default()), 1),
            (Some(held_by("", WALL)), 4),
            // Ours from before a kill: not a change of holder.
            (Some(held_by("me", WALL)), 3),
        ];
        for (lease, transitions) in cases {
            let step = Candidate::new("me").step(lease.as_ref(), now, wall());
            assert_eq!(takes(&step), Some(("me", transitions)), "{lease:?}");
        }
    }

    #[test]
    fn anothers_lease_is_taken_when_it_was_not_renewed_for_its_duration() {
        let mut candidate = Candidate::new("me");
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        // Its clock is a year behind: no matter.
        let lease = held_by("other", "2025-11-21T00:00:00Z");
        let wait = |seconds| Step::Wait(Duration::from_secs(seconds));
        assert_eq!(candidate.step(Some(&lease), at(0), wall()), wait(2));
        assert_eq!(candidate.step(Some(&lease), at(12), wall()), wait(2));
        let renewed = held_by("other", "2025-11-21T00:00:05Z");
        assert_eq!(candidate.step(Some(&renewed), at(14), wall()), wait(2));
        assert_eq!(candidate.step(Some(&renewed), at(28), wall()), wait(1));
        let step = candidate.step(Some(&renewed), at(29), wall());
        assert_eq!(takes(&step), Some(("me", 4)));
    }

    #[test]
    fn a_renewal_keeps_the_time_of_acquisition() {
        let mut candidate = Candidate::new("me");
        let Step::Create(first) = candidate.step(None, Instant::now(), wall()) else {
            panic!("not created");
        };
        let lease = Lease {
            spec: Some((*first).clone()),
            ..Lease::default()
        };
        let later = "2026-11-21T00:00:05Z".parse().unwrap();
        let Step::Replace(second) = candidate.step(Some(&lease), Instant::now(), later) else {
            panic!("not renewed");
        };
        assert_eq!(second.acquire_time, first.acquire_time);
        assert_eq!(second.renew_time, Some(MicroTime(later)));
    }
}
