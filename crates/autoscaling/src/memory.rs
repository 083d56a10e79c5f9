//! What an autoscaler wanted and did lately.

use serde::Serialize;

/// What was wanted and done; each list in no order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// What was wanted before it was steadied.
    recommendations: Vec<Recommendation>,
    /// Pods that were added.
    ups: Vec<Change>,
    /// Pods that were taken away.
    downs: Vec<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Recommendation {
    replicas: i32,
    at_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Change {
    replicas: i32,
    at_ms: i64,
}

impl Memory {
    /// The first look: what there is was wanted.
    pub fn begin(&mut self, replicas: i32, now_ms: i64) {
        if self.recommendations.is_empty() {
            self.recommend(replicas, now_ms, 0);
        }
    }

    /// Remembers what is wanted now; what was wanted before `kept_ms` ago is forgotten.
    pub fn recommend(&mut self, replicas: i32, now_ms: i64, kept_ms: i64) {
        self.recommendations
            .retain(|one| one.at_ms > now_ms - kept_ms);
        self.recommendations.push(Recommendation {
            replicas,
            at_ms: now_ms,
        });
    }

    /// The least that was wanted since `since_ms`, not included.
    pub fn least_since(&self, since_ms: i64) -> Option<i32> {
        self.since(since_ms).min()
    }

    /// The most that was wanted since `since_ms`, not included.
    pub fn most_since(&self, since_ms: i64) -> Option<i32> {
        self.since(since_ms).max()
    }

    fn since(&self, since_ms: i64) -> impl Iterator<Item = i32> {
        let recent = self.recommendations.iter();
        recent
            .filter(move |one| one.at_ms > since_ms)
            .map(|one| one.replicas)
    }

    /// Remembers a change for as long as a policy may ask for it.
    pub fn changed(&mut self, from: i32, to: i32, now_ms: i64, kept_ms: i64) {
        let changes = if to > from {
            &mut self.ups
        } else {
            &mut self.downs
        };
        changes.retain(|one| one.at_ms > now_ms - kept_ms);
        changes.push(Change {
            replicas: from.abs_diff(to).try_into().unwrap_or(i32::MAX),
            at_ms: now_ms,
        });
    }

    /// How many pods there were `period_ms` ago, but for what others did.
    pub fn replicas_before(&self, current: i32, period_ms: i64, now_ms: i64) -> i32 {
        let sum = |changes: &[Change]| -> i32 {
            let recent = changes.iter().filter(|one| one.at_ms > now_ms - period_ms);
            recent.map(|one| one.replicas).sum()
        };
        current - sum(&self.ups) + sum(&self.downs)
    }
}
