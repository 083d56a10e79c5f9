//! What the agent may do: less than root.

use caps::Capability;
use sealane_role::{RightsError, keep};

/// Links, addresses, routes, nft tables and their settings; entering the namespaces of pods.
const NEEDED: &[Capability] = &[Capability::CAP_NET_ADMIN, Capability::CAP_SYS_ADMIN];

/// Files below folders of whatever owner: the state folder, the runtime's CNI folders, the kubeconfig.
const FILES: Capability = Capability::CAP_DAC_OVERRIDE;

/// What `iptables-legacy` asks for, which we execute: its sockets are raw ones.
pub const OF_IPTABLES: &[Capability] = &[Capability::CAP_NET_RAW];

/// Gives up everything but that and `also`, for this process and for what it might execute.
///
/// # Errors
/// When one that is needed is not there.
pub fn drop_unneeded(also: &[Capability]) -> Result<(), RightsError> {
    let also: Vec<Capability> = also.iter().copied().chain([FILES]).collect();
    keep("run a node's network", NEEDED, &also)
}
