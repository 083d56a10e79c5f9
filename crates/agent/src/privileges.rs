//! What the agent may do: less than root.

use anyhow::{Context, bail};
use caps::{CapSet, Capability, CapsHashSet};

/// Links, addresses, routes, nft tables and their settings; entering the
/// namespaces of pods; and files below folders of whatever owner: the state
/// folder, the runtime's CNI folders, the kubeconfig.
const KEPT: [Capability; 3] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_DAC_OVERRIDE,
];

/// What `iptables-legacy` asks for, which we execute: its sockets are raw ones.
pub const OF_IPTABLES: &[Capability] = &[Capability::CAP_NET_RAW];

/// Gives up everything but that and `also`, for this process and for what it might execute.
///
/// Capabilities belong to a thread, so this comes before any other is started.
///
/// # Errors
/// When one that is needed is not there.
pub fn drop_unneeded(also: &[Capability]) -> anyhow::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted).context("read capabilities")?;
    let needed = [Capability::CAP_NET_ADMIN, Capability::CAP_SYS_ADMIN];
    if let Some(missing) = needed.iter().find(|cap| !permitted.contains(cap)) {
        bail!(
            "run a node's network: {missing} is missing; run it as root, \
             or give its container NET_ADMIN and SYS_ADMIN"
        );
    }
    let kept: CapsHashSet = KEPT
        .into_iter()
        .chain(also.iter().copied())
        .filter(|cap| permitted.contains(cap))
        .collect();
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for cap in caps::all().difference(&kept) {
            // A kernel older than our list does not know the newest.
            let _ = caps::drop(None, CapSet::Bounding, *cap);
        }
    }
    caps::clear(None, CapSet::Inheritable).context("drop inheritable capabilities")?;
    caps::set(None, CapSet::Effective, &kept).context("drop effective capabilities")?;
    caps::set(None, CapSet::Permitted, &kept).context("drop permitted capabilities")?;
    nix::sys::prctl::set_no_new_privs().context("forbid new privileges")
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_is_not_needed_is_gone_for_good() {
        let left = thread::spawn(|| {
            drop_unneeded(&[]).unwrap();
            let left = caps::read(None, CapSet::Permitted).unwrap();
            assert!(caps::raise(None, CapSet::Effective, Capability::CAP_SYS_PTRACE).is_err());
            drop_unneeded(&[]).unwrap();
            left
        });
        let left = left.join().unwrap();
        assert_eq!(left, KEPT.into_iter().collect());
    }
}
