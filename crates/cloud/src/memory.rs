use std::collections::BTreeMap;
use std::time::Duration;

use sealane_net::Ipv4Net;
use sealane_net::ec2::Observed;
use serde::Serialize;

use crate::{Barriers, Usage};

/// What delays decisions; lost in a restart, after which everything waits anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Ranges without a pod, and since when.
    idle: BTreeMap<Ipv4Net, Duration>,
    /// What EC2 has refused.
    pub barriers: Barriers,
}

impl Memory {
    /// Takes note of which ranges are idle.
    pub fn look(&mut self, observed: &Observed, usage: &Usage, now: Duration) {
        let serving = observed.serving();
        let ranges = serving.iter().flat_map(|interface| &interface.ranges);
        let idle: Vec<Ipv4Net> = ranges.filter(|r| is_idle(r, usage)).copied().collect();
        self.idle.retain(|range, _| idle.contains(range));
        for range in idle {
            self.idle.entry(range).or_insert(now);
        }
    }

    /// For how long a range has been idle.
    pub(crate) fn idle_for(&self, range: &Ipv4Net, now: Duration) -> Option<Duration> {
        let since = self.idle.get(range)?;
        Some(now.saturating_sub(*since))
    }

    /// Since when each range is idle.
    pub(crate) fn idle(&self) -> impl Iterator<Item = Duration> {
        self.idle.values().copied()
    }
}

pub(crate) fn is_idle(range: &Ipv4Net, usage: &Usage) -> bool {
    let inside = range.network()..=range.broadcast();
    usage.leased.range(inside).next().is_none()
}
