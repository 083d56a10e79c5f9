//! Task: the Services of one node, in the kernel.
//!
//! ```text
//! watch of Services ────────┐ Input, one after the other      ┌─► nft tables sealane-services, or KUBE-… chains of iptables
//! watch of EndpointSlices ──┼──────────────► thread ──────────┼─► conntrack: flows that would mislead
//! node: addresses, zone ────┘  ServiceTable, ServiceProgram   └─► Shown, metrics, readiness
//! ```
//!
//! The queue has no bound: what is in it are objects that the API server has
//! sent and that will be in the table next, and the thread is faster than any
//! API server. It takes what has come while it worked as one change, so a burst
//! costs few transactions, and a single change waits for nothing.
//!
//! The thread is its own since the kernel does its work inside the call that
//! asks for it, up to 25 ms for a transaction of the first load, and CNI
//! requests must not wait for that.
//!
//! * Nothing is programmed before Services, slices and node are known: what an
//!   earlier agent has loaded serves on until then, and is taken over with its
//!   ids and slots, so that a restart changes nothing that is right.
//! * Nothing is removed when the agent ends.
//! * Every minute, and after a refusal, all is compared with the kernel and repaired.

mod backend;
mod conntrack;
mod facts;
mod iptables;
mod meters;
mod nft;
mod task;

use std::sync::mpsc;

use sealane_kube::Change;
use sealane_netlink::Netlink;
use sealane_objects::{ServiceNet, SliceNet};
use sealane_service::NodeFacts;

pub use backend::Refused;
pub use facts::follow_node;
pub use task::{Parts, start};

/// What the thread is told.
pub enum Input {
    /// Of the API server.
    Services(Change<ServiceNet>),
    /// Of the API server.
    Slices(Change<SliceNet>),
    /// Of the node.
    Node(NodeFacts),
}

/// Where inputs go.
pub type Sender = mpsc::Sender<Input>;
/// Where they come from.
pub type Receiver = mpsc::Receiver<Input>;

/// Both ends of the queue.
pub struct Queue {
    /// For those who know something.
    pub sender: Sender,
    /// For the thread.
    pub receiver: Receiver,
}

impl Queue {
    /// An empty one.
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes away what an earlier agent has made for Services: somebody else serves them now.
///
/// # Errors
/// When the kernel refuses.
pub fn remove(kernel: &Netlink) -> Result<(), Refused> {
    nft::Nft::new(kernel.clone()).remove()?;
    iptables::remove(kernel)
}
