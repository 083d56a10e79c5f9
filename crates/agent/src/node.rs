//! The node's own network: what all its pods share.
//!
//! ```text
//! Nodes of the API ──┐
//! Site (observed) ────┴─ compile ─► Program ─┐
//! kernel ── observe ────────────► Observed ─┴─ diff ─► [Step] ── apply ─► kernel
//! ```
//!
//! A pod subnet's first address is on bridge `cbr0`, or on `lo` where pods are
//! routed; routes lead to the pods of the other nodes, directly or through the
//! overlay `sl.vxlan`; a table of ours gives pods that leave the cluster the
//! node's address. What is right already yields no step, so a restart of the
//! agent changes nothing. Nothing is ever flushed, and what carries neither
//! our name nor our number is not looked at.
//!
//! Where addresses come from the machine's network interfaces, [`cloud`] has more.
//!
//! A pod keeps the attachment that it was made with. So what each kind needs is
//! there while such pods are, which their links tell, whatever new ones get.

mod apply;
mod bridge;
mod choices;
mod cloud;
mod observe;
mod overlay;
mod program;
mod routed;
mod steps;

pub use apply::{Programmed, Stamps, SyncError, synchronize};
pub use bridge::BridgeProgram;
pub use choices::Choices;
pub use cloud::{CloudInterface, CloudNet, CloudProgram};
pub use observe::{Observed, ObservedBridge, Site, Snapshot, Uplink};
pub use overlay::{ObservedOverlay, OverlayProgram};
pub use program::{Program, Sysctl, compile, mac_of};
pub use routed::{ObservedRouted, RoutedProgram};
pub use steps::{Step, diff};

/// Why the node's network is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The Node says an address that no link here has.
    #[error(
        "find the uplink of node {node}: no link of this network namespace has its InternalIP {address}; \
         is the agent started in the node's network namespace (hostNetwork)?"
    )]
    NoUplink {
        node: String,
        address: std::net::IpAddr,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] sealane_netlink::Error),
}
