//! Decisions: the cluster's names, from objects to answers.
//!
//! ```text
//! Services ───────┐           question, Settings
//! EndpointSlices ─┤                  │
//! Namespaces ─────┼─► Zone ── find ──┴─► Answer ── write ──► message
//! (Pods) ─────────┘                       │
//!                                         └─ a name outside that it stands for: forward
//! this node's Pods ──► Clients ── rest ──► names that the client would ask for next
//! ```
//!
//! The records are those of the Kubernetes DNS specification 1.1.0, with what CoreDNS has beyond it and
//! clients have come to lean on: names of the endpoints of Services with a cluster IP too, SRV records of
//! all ports at a Service's own name, and names made of pods' addresses.
//!
//! The zone holds objects, not records: a Service's name is found by the bytes that ask for it, and what
//! is answered is read off the Service. So there is nothing to be kept in step, a change costs what
//! it changes, and a question costs one look into a table. What is configured ([`Settings`]) is no part of
//! it, so a configuration may change at any time.
//!
//! What one bad object holds harms no other: a hostname, port or object name that cannot be a label has
//! no records, an endpoint with such a hostname goes by its address, and a name that is too
//! long for DNS is not there.
#![warn(missing_docs)]

mod answer;
mod clients;
mod explain;
mod find;
mod label;
mod path;
mod ports;
mod reverse;
mod search;
mod service;
mod settings;
mod zone;

pub use answer::Answer;
pub use clients::{Client, Clients, SearchSettings, Try};
pub use explain::{Because, Cause, Subject};
pub use find::Found;
pub use search::NoSearch;
pub use settings::{Fallthrough, PodRecords, Settings};
pub use zone::{Part, PartKey, Zone};

#[cfg(test)]
mod tests;
