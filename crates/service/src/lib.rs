//! Decisions: which frontends of Services this node serves, and with which endpoints.
//!
//! ```text
//! Services ───────┐                          ┌─► nftables program, iptables program
//! EndpointSlices ─┼─► ServiceTable ─ changes ┼─► conntrack entries that would mislead
//! this node, its ─┘   one entry a port       └─► health checks, `sealane trace`
//! pods' host ports
//!                     and family
//! ```
//!
//! The table is the same for every backend: it has already decided what the
//! traffic policies, hints, terminating endpoints and fallbacks come to on this
//! node, so that a backend only writes down frontends and lists of endpoints.
//!
//! A change of one object costs what depends on that object: its own Service,
//! and those that want the same frontend. Everything that can be shared is
//! ([`ServicePort`] and lists of endpoints in `Arc`s), since there may be
//! 50,000 Services and half a million endpoints.
//!
//! What one bad object asks for harms no other: a frontend that an older
//! Service has stays with that one, and the other is told of in
//! [`ServiceTable::problems`].
#![warn(missing_docs)]

mod choose;
mod claims;
mod host_ports;
mod node;
mod port;
mod table;

pub use host_ports::{PodPorts, pod_with_ports};
pub use node::{NodeFacts, NodePortAddresses, NotAddresses};
pub use port::{Endpoint, Frontend, Kind, PortKey, ServicePort, Way};
pub use table::{PortChange, Problem, ServiceTable};

#[cfg(test)]
mod tests;
