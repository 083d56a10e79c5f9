use std::os::fd::OwnedFd;

use sealane_cni::protocol::Request;

use super::Reply;

/// An ADD on its way.
pub struct Add {
    pub request: Box<Request>,
    pub netns: OwnedFd,
    pub reply: Reply,
}

/// What is in flight for one attachment. Without an entry, a lease means that it is attached.
pub enum Work {
    /// ADD: its lease waits to be in the file.
    Saving { number: u64, add: Add },
    /// ADD: its link is being made; the DELs that came meanwhile wait.
    Wiring {
        netns: String,
        /// The lease was there before this ADD.
        found: bool,
        reply: Reply,
        then: Vec<Reply>,
    },
    /// DEL: its link is being taken away.
    Unwiring { replies: Vec<Reply> },
    /// DEL: its release waits to be in the file.
    Freeing { number: u64, replies: Vec<Reply> },
}

impl Work {
    /// The version of the leases that this waits for.
    pub fn waits_for(&self) -> Option<u64> {
        match self {
            Work::Saving { number, .. } | Work::Freeing { number, .. } => Some(*number),
            Work::Wiring { .. } | Work::Unwiring { .. } => None,
        }
    }

    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Work::Saving { .. } => "saving",
            Work::Wiring { .. } => "wiring",
            Work::Unwiring { .. } => "unwiring",
            Work::Freeing { .. } => "freeing",
        }
    }
}
