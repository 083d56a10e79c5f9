use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use sealane_net::ec2::{PREFIX_SIZE, Unit};
use serde::Serialize;

/// How many addresses to have before they are needed. The names are those of the AWS VPC CNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Targets {
    /// What to ask EC2 for.
    pub unit: Unit,
    /// Addresses that are free at any time; `None` with prefixes leaves it to `warm_prefixes`.
    pub warm: Option<usize>,
    /// Addresses in all, free or not.
    pub minimum: usize,
    /// Prefixes without any pod, unless `warm` is given.
    pub warm_prefixes: usize,
    /// Interfaces of one machine, where that is fewer than its type allows.
    pub interfaces: Option<usize>,
    /// How long a range is idle before it is given back.
    pub idle: Duration,
}

impl Default for Targets {
    fn default() -> Self {
        Self {
            unit: Unit::Address,
            warm: None,
            minimum: 0,
            warm_prefixes: 1,
            interfaces: None,
            idle: Duration::from_secs(300),
        }
    }
}

impl Targets {
    /// Free addresses to have of single ones, where nothing was chosen.
    pub const WARM: usize = 5;

    /// Addresses that there should be at least.
    pub(crate) fn wanted(&self, usage: &Usage) -> usize {
        let warm = match (self.warm, self.unit) {
            (Some(warm), _) => warm,
            (None, Unit::Address) => Self::WARM,
            (None, Unit::Prefix) => 0,
        };
        self.minimum.max(usage.leased.len() + usage.waiting + warm)
    }

    /// Prefixes without any pod that there should be at least.
    pub(crate) fn free_prefixes(&self) -> usize {
        match (self.warm, self.unit) {
            (None, Unit::Prefix) => self.warm_prefixes,
            _ => 0,
        }
    }

    /// How many of the unit make `addresses`.
    pub(crate) fn units(&self, addresses: usize) -> usize {
        match self.unit {
            Unit::Address => addresses,
            Unit::Prefix => addresses.div_ceil(PREFIX_SIZE),
        }
    }
}

/// What pods have and want.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Addresses that no other pod can have now, those that rest after a pod included.
    pub leased: BTreeSet<Ipv4Addr>,
    /// Pods that wait for an address.
    pub waiting: usize,
}
