//! Decisions: which address a pod gets, which subnet a node gets.
//!
//! * [`Pool`] gives out the addresses of one node's subnet, the agent's part.
//! * [`SubnetAllocator`] cuts a cluster's range into the nodes' subnets, the
//!   controllers' part.
//!
//! Both are plain values without clock, file or lock: the caller makes a
//! decision durable before it acts on it, and rebuilds the value from what it
//! kept. Both reuse what was given back as late as they can, since other
//! machines remember an address for a while (neighbour tables, connection
//! tracking, DNS answers) and would send a new pod what was meant for the old.
#![warn(missing_docs)]

mod numbers;
mod pool;
mod subnets;

pub use pool::{ClaimError, Exhausted, Pool, TooSmall};
pub use subnets::{SubnetAllocator, SubnetError};
