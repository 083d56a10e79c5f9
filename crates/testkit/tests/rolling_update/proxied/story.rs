//! What happened around each request that failed, from the API's side and from who kills: with it one sees whether
//! a rule came too late, and what it waited for.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sealane_testkit::history::{Change, Deed};

use super::client::Failure;
use crate::slices::Listing;

/// How long before a failure the story begins, and how long after it ends.
const BEFORE: Duration = Duration::from_secs(4);
const AFTER: Duration = Duration::from_millis(500);

/// What happened when.
#[derive(Debug, Default)]
pub struct Story(Vec<(Instant, String)>);

impl Story {
    /// Adds that somebody did something.
    pub fn add(&mut self, at: Instant, what: String) {
        self.0.push((at, what));
    }

    /// Adds when pods were told to end and were gone.
    pub fn add_pods(&mut self, changes: &[Change]) {
        let mut leaving = BTreeSet::new();
        for change in changes {
            let metadata = &change.object["metadata"];
            let name = metadata["name"].as_str().unwrap();
            if change.deed == Deed::Deleted {
                self.add(change.seen, format!("{name} is gone"));
            } else if metadata["deletionTimestamp"].is_string() && leaving.insert(name) {
                self.add(change.seen, format!("{name} is to end"));
            }
        }
    }

    /// Adds who came and who went by slices.
    pub fn add_slices(&mut self, changes: &[Change], service: &str) {
        let mut listing = Listing::default();
        let mut ready = BTreeSet::new();
        for change in changes {
            if listing.take(change, service) {
                let listed = listing.all().filter(|endpoint| endpoint.ready);
                let now: BTreeSet<_> = listed.map(|endpoint| endpoint.pod.clone()).collect();
                for pod in now.difference(&ready) {
                    self.add(change.seen, format!("{pod} is listed as ready"));
                }
                for pod in ready.difference(&now) {
                    self.add(
                        change.seen,
                        format!("{pod} is not listed as ready any more"),
                    );
                }
                ready = now;
            }
        }
    }

    /// What happened around the failures, and these, each with the time since the beginning.
    pub fn around(mut self, failures: &[Failure], begun: Instant) -> String {
        let is_near = |at: &Instant| {
            let near = |failure: &Failure| *at + BEFORE >= failure.at && *at <= failure.at + AFTER;
            failures.iter().any(near)
        };
        self.0.retain(|(at, _)| is_near(at));
        let failed = failures.iter();
        self.0
            .extend(failed.map(|failure| (failure.at, format!("FAILED {}", failure.what))));
        self.0.sort();
        let lines = self.0.iter().map(|(at, what)| {
            let since = at.saturating_duration_since(begun).as_secs_f64();
            format!("{since:8.3} s  {what}\n")
        });
        lines.collect()
    }
}
