//! Edge: network namespaces, links, addresses, routes, sysctls and nftables over netlink.
//!
//! ```text
//!   netns::open_named("sealane-node-1") ──► OwnedFd
//!                                             │
//!   Netlink::in_netns(&fd) ── short-lived thread: setns, open sockets ──► Netlink
//!                                                                           │
//!        links, addresses, routes, neighbours   rtnetlink, async            │
//!        nftables, connections                  own encoder, one sendmsg    │
//!        sysctls                                files, on a thread in there ┘
//! ```
//!
//! The kernel does its work inside the call that sends a request, so a request
//! costs the runtime's thread what it costs the kernel: 20 to 200 µs for most,
//! 0.4 ms for a veth pair. What a pod needs is a [`Batch`] on a thread that may
//! wait ([`Direct`]), without a runtime. Only the removal of links, which waits for readers of
//! the old state, runs on threads of its own.
//!
//! A netlink socket stays in the namespace in which it was opened, so one
//! [`Netlink`] per namespace is opened once, cloned and reused; no thread of
//! the runtime ever changes its namespace. What must run inside one
//! (opening sockets, starting programs) gets a thread of its own, see
//! [`netns::run_in`].
//!
//! This layer decides nothing. Each call is one change that the kernel accepts
//! or refuses, its documentation says whether repeating it is harmless, and
//! deleting what is absent is success everywhere. An [`Error`] names the verb,
//! the object, the value and the namespace, and ends with the kernel's own
//! words.

mod address;
mod alarm;
mod conntrack;
mod direct;
mod error;
mod events;
mod filter;
mod forwarding;
mod link;
mod multicast;
mod neighbour;
mod netlink;
pub mod netns;
mod nft;
mod packet;
mod removal;
mod route;
mod rule;
mod shaping;
pub mod sysctl;
mod tap;

pub use address::Address;
pub use alarm::Alarm;
pub use conntrack::{Conntrack, Flow};
pub use direct::{Batch, Direct};
pub use error::{Error, Result};
pub use events::{Edit, Event};
pub use forwarding::Forwarding;
pub use link::{Bridge, Link, LinkChange, LinkRef, Tunnel, Veth, VethPeer, Vxlan};
pub use neighbour::Neighbour;
pub use netlink::Netlink;
pub use nft::{MetRule, Nft, RuleTrace, Sign, sync_tables};
pub use packet::{Ears, Heard, Told};
pub use rule::Rule;
pub use shaping::Rate;
pub use tap::{Frame, Tap};
