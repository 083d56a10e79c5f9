//! User, groups, capabilities, `no_new_privs`.

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::Settings;
use crate::failure::{Context, Failure};
use crate::spec::Capabilities;
use crate::sys;

/// Names by number: capabilities(7).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Docker and containerd give a container.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Every capability, also of newer kernels.
pub(super) const ALL: u64 = u64::MAX;

/// The default set with changes; `add` wins.
pub(super) fn set_of(changes: &Capabilities) -> Result<u64, Failure> {
    let mut set = 0;
    for name in DEFAULT {
        set |= bit(name)?;
    }
    for name in &changes.drop {
        set &= !bit(name)?;
    }
    for name in &changes.add {
        set |= bit(name)?;
    }
    Ok(set)
}

fn bit(name: &str) -> Result<u64, Failure> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if short == "ALL" {
        return Ok(ALL);
    }
    NAMES
        .iter()
        .position(|known| *known == short)
        .map(|number| 1 << number)
        .ok_or_else(|| Failure::new(format!("unknown capability {name:?}")))
}

/// Gives up everything that the settings do not grant.
pub(super) fn drop_to(settings: &Settings) -> Result<(), Failure> {
    let held = held()?;
    let granted = settings.capabilities & held;
    if settings.no_new_privs {
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).context(|| "set no_new_privs".into())?;
    }
    limit_bounding_set(granted)?;
    change_user(settings)?;
    if settings.user == 0 {
        sys::capset(granted).context(|| "drop capabilities".into())?;
    }
    // For another user the change of ids has cleared what would be kept, and
    // exec would clear the rest.
    Ok(())
}

/// The bounding set, as bits: what this process could give at most.
fn held() -> Result<u64, Failure> {
    let mut held = 0;
    for number in 0..64 {
        // SAFETY: the argument is a number. The call fails beyond the last
        // capability that this kernel knows.
        match unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) } {
            1 => held |= 1 << number,
            0 => {}
            _ => break,
        }
    }
    if held == 0 {
        return Err(Failure::new("read capabilities: none are held"));
    }
    Ok(held)
}

/// What is not in the bounding set cannot come back, by no program.
fn limit_bounding_set(granted: u64) -> Result<(), Failure> {
    for number in 0..64 {
        if granted & (1 << number) != 0 {
            continue;
        }
        match sys::prctl(libc::PR_CAPBSET_DROP, number) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other.context(|| format!("drop capability {number}"))?,
        }
    }
    Ok(())
}

fn change_user(settings: &Settings) -> Result<(), Failure> {
    let groups: Vec<Gid> = settings.groups.iter().copied().map(Gid::from_raw).collect();
    let (user, group) = (Uid::from_raw(settings.user), Gid::from_raw(settings.group));
    setgroups(&groups).context(|| "set supplementary groups".into())?;
    setresgid(group, group, group).context(|| format!("change to group {group}"))?;
    setresuid(user, user, user).context(|| format!("change to user {user}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Result<u64, Failure> {
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        set_of(&Capabilities {
            add: strings(add),
            drop: strings(drop),
        })
    }

    #[test]
    fn default_set_is_that_of_docker() {
        // `docker run --rm debian grep CapBnd /proc/self/status`
        assert_eq!(set(&[], &[]), Ok(0x0000_0000_a804_25fb));
    }

    #[test]
    fn changes_apply_in_order_and_by_any_spelling() {
        assert_eq!(set(&["NET_BIND_SERVICE"], &["ALL"]), Ok(1 << 10));
        assert_eq!(set(&["CAP_NET_ADMIN"], &["ALL"]), Ok(1 << 12));
        assert_eq!(set(&["cap_chown"], &["all"]), Ok(1));
        assert_eq!(set(&["ALL"], &[]), Ok(ALL));
        assert_eq!(
            set(&["FLY"], &[]),
            Err(Failure::new("unknown capability \"FLY\""))
        );
    }
}
