//! Decisions: which address a pod gets, which subnet a node gets.
//!
//! * [`Pool`] gives out the addresses of one node's subnet, the agent's part.
//! * [`Resting`] keeps what was given back from being given out at once.
//! * [`free_block`] cuts named pools into blocks that nodes have for themselves;
//!   [`named`] says which pool is a pod's.
//! * [`SubnetAllocator`] cuts a cluster's range into the nodes' subnets, the
//!   controllers' part.
//!
//! Both are plain values without clock, file or lock: the caller makes a
//! decision durable before it acts on it, and rebuilds the value from what it
//! kept. Both reuse what was given back as late as they can, since other
//! machines remember an address for a while (neighbour tables, connection
//! tracking, DNS answers) and would send a new pod what was meant for the old.
#![warn(missing_docs)]

mod blocks;
pub mod named;
mod numbers;
mod pool;
mod resting;
mod subnets;

pub use blocks::{block_count, free_block, overlap};
pub use pool::{ClaimError, Exhausted, Pool, TooSmall};
pub use resting::{Rest, Resting};
pub use subnets::{SubnetAllocator, SubnetError};
