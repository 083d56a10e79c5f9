//! Volumes whose mounts go on to follow those of this machine (`mountPropagation`).
//!
//! A copy of a shared mount is its peer: what is mounted below one appears below
//! the other. The pod's own mounts are no peers of this machine's any more, so
//! the copy is taken in this machine's mount namespace, where the shim has kept
//! a way to.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

use crate::failure::{Context, Failure};
use crate::spec::{Mount, Propagation};
use crate::sys;

/// Takes a volume in the namespace `machine`.
pub(super) fn take(
    machine: &File,
    mount: &Mount,
    copy: impl FnOnce() -> io::Result<OwnedFd>,
) -> Result<OwnedFd, Failure> {
    let own = File::open("/proc/self/ns/mnt").context(|| "open own mount namespace".into())?;
    let go = |namespace: &File| setns(namespace.as_fd(), CloneFlags::CLONE_NEWNS);
    go(machine).context(|| "enter this machine's mount namespace".into())?;
    let taken = check(mount).and_then(|()| copy().map_err(|e| Failure::new(e.to_string())));
    go(&own).context(|| "return to own mount namespace".into())?;
    let taken = taken?;
    if mount.propagation == Propagation::FromHost {
        sys::set_propagation(taken.as_fd(), libc::MS_SLAVE)
            .context(|| "follow this machine's mounts".into())?;
    }
    Ok(taken)
}

/// A mount that is not shared has nothing to pass on: the pod would not be what it says.
fn check(mount: &Mount) -> Result<(), Failure> {
    let path = fs::canonicalize(&mount.source).context(|| "find its source".into())?;
    let text = fs::read_to_string("/proc/self/mountinfo").context(|| "list mounts".into())?;
    let (point, sharing) = mount_of(&text, &path);
    let wanted = match mount.propagation {
        Propagation::None => return Ok(()),
        Propagation::FromHost if sharing != Sharing::Private => return Ok(()),
        Propagation::FromHost => "shared or slave",
        Propagation::Both if sharing == Sharing::Shared => return Ok(()),
        Propagation::Both => "shared",
    };
    let (path, point) = (path.display(), point.display());
    Err(Failure::new(format!(
        "path {path} is mounted on {point} but it is not a {wanted} mount (mount --make-rshared {point} makes it one)"
    )))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Private,
    Slave,
    Shared,
}

/// The mount that a path is on: proc_pid_mountinfo(5). The last one on a mount point covers the others.
fn mount_of(mountinfo: &str, path: &Path) -> (PathBuf, Sharing) {
    let mut found = (PathBuf::from("/"), Sharing::Private);
    for line in mountinfo.lines() {
        let mut fields = line.split(' ').skip(4);
        let Some(point) = fields.next().map(PathBuf::from) else {
            continue;
        };
        if !path.starts_with(&point) || point.as_os_str().len() < found.0.as_os_str().len() {
            continue;
        }
        let optional = fields.skip(1).take_while(|field| *field != "-");
        let sharing = optional.fold(Sharing::Private, |sharing, field| match sharing {
            Sharing::Shared => sharing,
            _ if field.starts_with("shared:") => Sharing::Shared,
            _ if field.starts_with("master:") => Sharing::Slave,
            other => other,
        });
        found = (point, sharing);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let text = "\
22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:22 / /a rw,relatime - tmpfs tmpfs rw
24 22 0:23 / /a/b rw,relatime master:7 - tmpfs tmpfs rw
25 24 0:24 / /a/b rw,relatime shared:9 master:7 - tmpfs tmpfs rw
";
        for (path, point, sharing) in [
            ("/x", "/", Sharing::Shared),
            ("/ab", "/", Sharing::Shared),
            ("/a/x", "/a", Sharing::Private),
            ("/a/b/c", "/a/b", Sharing::Shared),
        ] {
            let found = mount_of(text, Path::new(path));
            assert_eq!(found, (PathBuf::from(point), sharing), "{path}");
        }
    }
}
