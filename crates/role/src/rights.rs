//! Less than root.
//!
//! Capabilities belong to a thread and are passed on to those that it starts, so what is here comes before any
//! other thread.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

/// Why a process has not the rights that it should have.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// One that is needed is not there.
    #[error(
        "{purpose}: {missing} is missing; run it as root, or give its container {}",
        list(needed)
    )]
    Missing {
        /// What is to be done.
        purpose: &'static str,
        /// The first that is not there.
        missing: Capability,
        /// All that are needed.
        needed: &'static [Capability],
    },
    /// One is left that should not be.
    #[error("give up all rights: {0} is left")]
    Left(Capability),
    /// The kernel does not tell or change capabilities.
    #[error("{verb} capabilities")]
    Capabilities {
        /// What was tried.
        verb: &'static str,
        /// Why not.
        source: caps::errors::CapsError,
    },
    /// The kernel refuses to change the user.
    #[error("become user {user}")]
    User {
        /// Which.
        user: u32,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not know how.
    #[error("forbid new privileges")]
    Forbid(#[source] nix::Error),
}

/// As container runtimes call them: `NET_ADMIN and KILL`.
fn list(needed: &[Capability]) -> String {
    let names: Vec<String> = needed
        .iter()
        .map(|cap| cap.to_string().trim_start_matches("CAP_").to_owned())
        .collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Gives up every capability but those that are needed for `purpose`, and those of `also` that are there; for this
/// process and for what it might execute.
///
/// # Errors
/// When one that is needed is not there, or the kernel refuses.
pub fn keep(
    purpose: &'static str,
    needed: &'static [Capability],
    also: &[Capability],
) -> Result<(), RightsError> {
    let permitted = permitted()?;
    if let Some(missing) = needed.iter().find(|cap| !permitted.contains(cap)) {
        return Err(RightsError::Missing {
            purpose,
            missing: *missing,
            needed,
        });
    }
    let all = needed.iter().chain(also).copied();
    let kept: CapsHashSet = all.filter(|cap| permitted.contains(cap)).collect();
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for cap in caps::all().difference(&kept) {
            // A kernel older than our list does not know the newest.
            let _ = caps::drop(None, CapSet::Bounding, *cap);
        }
    }
    let failed = |verb| move |source| RightsError::Capabilities { verb, source };
    caps::clear(None, CapSet::Inheritable).map_err(failed("drop inheritable"))?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed("drop effective"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed("drop permitted"))?;
    never_more()
}

/// Forbids what would give rights back, such as programs with the set-user-id bit.
///
/// # Errors
/// When the kernel does not know it.
pub fn never_more() -> Result<(), RightsError> {
    nix::sys::prctl::set_no_new_privs().map_err(RightsError::Forbid)
}

/// Becomes a user and the group of the same number, with all threads, and so loses all capabilities.
///
/// # Errors
/// When the kernel refuses, or something is left.
pub fn become_user(user: u32) -> Result<(), RightsError> {
    let change = || -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        setgroups(&[])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        Ok(())
    };
    change().map_err(|source| RightsError::User { user, source })?;
    match permitted()?.iter().next() {
        Some(left) => Err(RightsError::Left(*left)),
        None => Ok(()),
    }
}

fn permitted() -> Result<CapsHashSet, RightsError> {
    caps::read(None, CapSet::Permitted).map_err(|source| RightsError::Capabilities {
        verb: "read",
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const NEEDED: &[Capability] = &[Capability::CAP_NET_ADMIN, Capability::CAP_KILL];

    #[test]
    fn what_is_not_needed_is_gone_for_good() {
        let (left, again) = thread::spawn(|| {
            keep("do a test", NEEDED, &[Capability::CAP_DAC_OVERRIDE]).unwrap();
            let left = permitted().unwrap();
            assert!(caps::raise(None, CapSet::Effective, Capability::CAP_SYS_PTRACE).is_err());
            let again = keep(
                "do more",
                &[Capability::CAP_SETUID, Capability::CAP_KILL],
                &[],
            );
            (left, again)
        })
        .join()
        .unwrap();
        let also = [Capability::CAP_DAC_OVERRIDE];
        assert_eq!(left, NEEDED.iter().chain(&also).copied().collect());
        assert_eq!(
            again.unwrap_err().to_string(),
            "do more: CAP_SETUID is missing; run it as root, or give its container SETUID and KILL"
        );
    }
}
