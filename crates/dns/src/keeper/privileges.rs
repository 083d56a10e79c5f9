//! What the keeper may do, and as whom workers run.

use caps::Capability;
use sealane_role::{RightsError, keep};

/// The user that workers run as. Not in any user database: nothing else should run as it.
pub const WORKER: u32 = 60_445;

/// Addresses and rules, port 53, another user for workers and signals to it.
const NEEDED: &[Capability] = &[
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_KILL,
];

/// Files of whatever owner: those that a worker reads before it becomes that user.
const ALSO: &[Capability] = &[Capability::CAP_DAC_OVERRIDE];

/// Gives up everything else.
///
/// # Errors
/// When one that is needed is not there.
pub fn keep_few() -> Result<(), RightsError> {
    keep("answer names on this node", NEEDED, ALSO)
}
