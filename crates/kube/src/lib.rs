//! Edge: a client of any Kubernetes API server.
//!
//! Every daemon of ours knows the cluster through this crate only, so it is
//! the one place that decides how a connection is made and kept, and it works
//! the same against our embedded API server and against kube-apiserver.
//!
//! - [`Access`] says where the server is and who we are (flags, kubeconfig or
//!   a pod's service account), [`client`] turns that into a connection.
//! - [`watch()`], [`watch_as`] and [`watch_metadata`] give a full set, then changes, and hide every
//!   disconnection; [`Mirror`] keeps what they give. [`watch_services`] and [`watch_slices`] do so for many objects.
//! - [`events::Recorder`] writes the Events that `kubectl describe` shows.
//! - [`node_net`], [`pod_net`], [`service_net`], [`slice_net`] and [`demand()`] cut API objects down to the words that
//!   decisions are made from.
//!
//! The external crate `kube` does the protocol. What it would do differently:
//! its first retry waits 0.8 s and grows to 30 s, which would make every
//! restart of an API server an outage; its connections have Nagle's delay on
//! and no keep-alive, so that a silent peer is noticed after five minutes.

mod access;
mod backoff;
mod connect;
mod convert;
mod demand;
mod dns;
pub mod events;
mod explain;
mod ip_pools;
mod mirror;
mod served;
mod services;
mod terse;
mod watch;

pub use access::{Access, AccessError};
pub use backoff::Backoff;
pub use connect::{Unreachable, client};
pub use convert::{node_net, pod_net};
pub use demand::{allocatable, demand, placement, taints};
pub use dns::{pod_dns, service_dns, slice_dns};
pub use explain::{Explained, explain, is_conflict, is_forbidden, is_not_found, is_unreachable};
pub use ip_pools::{PoolWrite, watch_ip_pools, write_pool};
pub use mirror::Mirror;
pub use served::{watch_served, watch_service_ranges};
pub use services::{service_net, slice_net};
pub use terse::{watch_services, watch_slices};
pub use watch::{Change, Filter, watch, watch_as, watch_metadata, watch_objects};

/// The external crates whose types appear here, so that callers need not depend on them.
pub use k8s_openapi;
pub use kube::{Api, Client};
