use std::os::fd::OwnedFd;

use sealane_cni::{protocol::Request, types::CniError};

use tokio::time::Instant;

use super::Reply;
use crate::wire::Wired;

/// An ADD on its way.
pub struct Add {
    pub request: Box<Request>,
    pub netns: OwnedFd,
    pub reply: Reply,
}

/// An ADD that waits for the node, for a DEL before it, or for an address.
pub struct Parked {
    /// When it is refused.
    pub deadline: Instant,
    pub add: Add,
}

/// What is in flight for one attachment. Without an entry, a lease means that it is attached.
pub enum Work {
    /// ADD: its link is being made while its lease is being written.
    Adding(Adding),
    /// DEL: its link is being taken away.
    Unwiring { replies: Vec<Reply> },
    /// DEL: its release waits to be in the file.
    Freeing { number: u64, replies: Vec<Reply> },
}

/// Where an ADD stands; it is answered when both link and file are done.
pub struct Adding {
    pub netns: String,
    /// The lease was there before this ADD.
    pub found: bool,
    pub reply: Reply,
    /// The version of the leases that has to be in the file first.
    pub unsaved: Option<u64>,
    /// That version could not be written.
    pub refused: Option<CniError>,
    pub wired: Option<Wired>,
    /// The DELs that came meanwhile.
    pub then: Vec<Reply>,
}

impl Work {
    /// The version of the leases that this waits for.
    pub fn waits_for(&self) -> Option<u64> {
        match self {
            Work::Adding(adding) => adding.unsaved,
            Work::Freeing { number, .. } => Some(*number),
            Work::Unwiring { .. } => None,
        }
    }

    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Work::Adding(Adding { wired: None, .. }) => "wiring",
            Work::Adding(_) => "saving",
            Work::Unwiring { .. } => "unwiring",
            Work::Freeing { .. } => "freeing",
        }
    }
}
