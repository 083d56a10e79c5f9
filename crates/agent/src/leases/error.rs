use std::{net::IpAddr, time::Duration};

use sealane_ipam::Exhausted;
use sealane_net::{Family, IpNet};

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// Nothing is free but what was given back a moment ago.
    #[error(
        "subnet {subnet} is used up: of its {size} pod addresses {resting} were given back a moment ago \
         and rest before they are used again, the others are leased"
    )]
    Resting {
        subnet: IpNet,
        resting: usize,
        size: u128,
        /// When the first of them can be had.
        until: Duration,
    },
    /// The node's blocks of a named pool do not serve; another one might.
    #[error("pool {pool} has no free {family} address on this node")]
    NoBlock {
        pool: String,
        family: Family,
        /// The address that was asked for.
        address: Option<IpAddr>,
        /// When the first one that rests can be had.
        until: Option<Duration>,
    },
    /// The node has no subnet, so nothing can be leased.
    #[error("this node has no pod subnet")]
    NoSubnet,
    /// An address was asked for that the pod may not have.
    #[error("lease address {address}: not one that the pod may have, they are in {ranges}")]
    NotOurs { address: IpAddr, ranges: String },
    /// Two addresses were asked for where one is given.
    #[error("lease address {address}: another {family} address was asked for as well")]
    OneTooMany { address: IpAddr, family: Family },
    /// An address was asked for that is in use.
    #[error("lease address {address}: {holder} has it")]
    Taken { address: IpAddr, holder: String },
}
