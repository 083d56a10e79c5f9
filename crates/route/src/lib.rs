//! Decisions: the routes from one node to the pods of the others.
//!
//! ```text
//! nodes of the cluster ── compile ──► RouteTable ── diff ──► changes
//!                                                    ▲
//!                    routes with our number, as the kernel lists them
//! ```
//!
//! A node whose address is on a link of this one is reached directly: each of
//! its pod subnets through its internal address of the same family, and the
//! link is left to the kernel, which finds it from the gateway. Routers do not
//! know pods, so what is for a node behind one is put into datagrams to that
//! node ([`Routing`], [`Tunnel`]):
//!
//! ```text
//! 10.244.3.0/24 via 10.244.3.1 dev sl.vxlan     route
//! 10.244.3.1 has 06:5b:…                        neighbour entry   } no question is ever
//! 06:5b:… is at 172.30.0.4                      forwarding entry  } sent, nothing is learnt
//! ```
//!
//! A route carries our protocol number, and nothing else is ever changed or
//! removed.
//!
//! The functions are total: a node that cannot be reached is left out and
//! named in [`RouteTable::problems`], and all others are served.
#![warn(missing_docs)]

mod compile;
mod diff;
mod underlay;

pub use compile::{Problem, RouteTable, Tunnel, compile, tunnel_mac};
pub use diff::{Change, diff};
pub use underlay::{Routing, Underlay};
