//! Task: the Services of one node, in the kernel.
//!
//! ```text
//! watch of Services ────────┐ Input, one after the other      ┌─► nft tables sealane-services, or KUBE-… chains of iptables
//! watch of EndpointSlices ──┼──────────────► thread ──────────┼─► conntrack: flows that would mislead
//! node, pods' host ports ───┤  ServiceTable, ServiceProgram   ├─► Health: what load balancers are told (tasks beside)
//! edits by others ──────────┘                                 ├─► Localhost: node ports at ::1 (tasks beside)
//!                                                             └─► Shown, metrics, readiness
//! ```
//!
//! The queue has no bound: what is in it are objects that the API server has
//! sent and that will be in the table next, and the thread is faster than any
//! API server. It takes what has come while it worked as one change, so a burst
//! costs few transactions, and a single change waits for nothing.
//!
//! The thread is its own since the kernel does its work inside the call that
//! asks for it, 10 ms for a transaction of the first load, and CNI
//! requests must not wait for that.
//!
//! * Nothing is programmed before Services, slices and node are known: what an
//!   earlier agent has loaded serves on until then, and is taken over with its
//!   ids and slots, so that a restart changes nothing that is right.
//! * Nothing is removed when the agent ends.
//! * Every minute, after a refusal, and when somebody has edited the tables, all is compared with the kernel and
//!   repaired. Of edits the kernel tells; where rules or chains were edited, all is loaded again.

mod backend;
mod conntrack;
mod facts;
mod health;
mod iptables;
mod listen;
mod localhost;
mod meters;
mod nft;
mod task;

use std::sync::{Arc, mpsc};

use sealane_kube::Change;
use sealane_net::names;
use sealane_netlink::{Edit, Netlink};
use sealane_objects::{ObjectName, ServiceNet, SliceNet};
use sealane_service::{NodeFacts, PodPorts};

pub use backend::Refused;
pub use facts::{Asked, follow_node};
pub use health::Health;
pub use listen::{serve_checks, serve_health};
pub use localhost::{Localhost, serve_localhost};
pub use task::{Parts, start};

/// Lets packets from 127.0.0.1 leave by other links, for node ports there; a rule keeps others from coming in by it.
const LOCALNET: (&str, &str) = (names::LOCALNET_SYSCTL, "1");
/// What it is without.
const NO_LOCALNET: (&str, &str) = (names::LOCALNET_SYSCTL, "0");

/// What the thread is told.
pub enum Input {
    /// Of the API server.
    Services(Change<ServiceNet>),
    /// Of the API server.
    Slices(Change<SliceNet>),
    /// Of the node.
    Node(NodeFacts),
    /// All pods of the node that have host ports.
    HostPorts(Vec<PodPorts>),
    /// Somebody has edited what we have programmed.
    Edited(Edit),
}

/// Tells people who look at a Service: the words are an Event's reason, in CamelCase, and its message.
pub type Announce = Arc<dyn Fn(&ObjectName, &str, &str) + Send + Sync>;

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
    /// How people are told.
    pub announce: Announce,
}

impl Queue {
    /// An empty one.
    pub fn new(announce: Announce) -> Self {
        let (sender, receiver) = mpsc::channel();
        Self {
            sender,
            receiver,
            announce,
        }
    }
}

/// Takes away what an earlier agent has made for Services: somebody else serves them now.
///
/// # Errors
/// When the kernel refuses.
pub fn remove(kernel: &Netlink) -> Result<(), Refused> {
    if nft::Nft::guards_loopback(kernel)? {
        kernel.set_sysctls(&[NO_LOCALNET])?;
    }
    nft::Nft::new(kernel.clone()).remove()?;
    if iptables::remove(kernel)? {
        kernel.set_sysctls(&[NO_LOCALNET])?;
    }
    Ok(())
}
