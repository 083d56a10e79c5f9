//! What the keeper may do, and that a worker may do nothing.

use std::io;

use anyhow::{Context, bail};
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

/// The user that workers run as. Not in any user database: nothing else should run as it.
pub const WORKER: u32 = 60_445;

/// Addresses and rules, port 53, another user for workers and signals to it, and files of whatever owner: those that
/// a worker reads before it becomes that user.
const KEPT: [Capability; 6] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_KILL,
    Capability::CAP_DAC_OVERRIDE,
];

/// Gives up everything else. Capabilities belong to a thread, so this comes before any other is started.
///
/// # Errors
/// When one that is needed is not there.
pub fn keep_few() -> anyhow::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted).context("read capabilities")?;
    let needed = &KEPT[..5];
    if let Some(missing) = needed.iter().find(|cap| !permitted.contains(cap)) {
        bail!(
            "answer names on this node: {missing} is missing; run it as root, or give its container \
             NET_ADMIN, NET_BIND_SERVICE, SETUID, SETGID and KILL"
        );
    }
    let kept: CapsHashSet = KEPT
        .into_iter()
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
    never_more()
}

/// Forbids what would give privileges back. Belongs to a thread, and to those that it starts.
///
/// # Errors
/// When the kernel does not know it.
pub fn never_more() -> anyhow::Result<()> {
    nix::sys::prctl::set_no_new_privs().context("forbid new privileges")
}

/// Becomes [`WORKER`], with all threads, and so loses all capabilities.
///
/// # Errors
/// When the kernel refuses, or something is left.
pub fn drop_all() -> anyhow::Result<()> {
    let become_worker = || -> io::Result<()> {
        let (user, group) = (Uid::from_raw(WORKER), Gid::from_raw(WORKER));
        setgroups(&[])?;
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
        Ok(())
    };
    become_worker().with_context(|| format!("become user {WORKER}"))?;
    let left = caps::read(None, CapSet::Permitted).context("read capabilities")?;
    if let Some(cap) = left.iter().next() {
        bail!("give up all rights: {cap} is left");
    }
    Ok(())
}
