//! Mounts of a container: first taken from this machine, then, when the
//! container's root is the root, placed.
//!
//! Taking and placing are apart (`open_tree`, `move_mount`), so that a target
//! path is resolved inside the container: a symbolic link in an image or a
//! volume cannot lead a mount out of it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::sys::stat::{SFlag, fstat};

use super::dev::{self, mount_on};
use super::{make_dirs, propagation, within};
use crate::cgroup::Version;
use crate::failure::{Context, Failure};
use crate::shim::Sandbox;
use crate::spec::{ContainerSpec, Mount, Propagation};
use crate::sys;

/// Everything taken from this machine.
pub(super) struct Gathered {
    nodes: dev::Nodes,
    shm: OwnedFd,
    cgroups: Vec<CgroupView>,
    volumes: Vec<(PathBuf, OwnedFd)>,
}

/// A container's own cgroup in one hierarchy, and the names to show it under.
struct CgroupView {
    names: Vec<String>,
    dir: OwnedFd,
}

/// Takes all that the container will be shown, while it is in sight.
pub(super) fn gather(sandbox: &Sandbox, spec: &ContainerSpec) -> Result<Gathered, Failure> {
    Ok(Gathered {
        nodes: dev::gather()?,
        shm: sys::clone_mount(sandbox.shm(), false).context(|| "take the pod's /dev/shm".into())?,
        cgroups: gather_cgroups(sandbox, spec)?,
        volumes: gather_volumes(sandbox, spec)?,
    })
}

fn gather_volumes(
    sandbox: &Sandbox,
    spec: &ContainerSpec,
) -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
    let mut volumes = Vec::with_capacity(spec.mounts.len());
    for mount in &spec.mounts {
        let source = match (mount.propagation, &sandbox.machine_mounts) {
            (Propagation::None, _) => copy(mount).context(|| describe(mount))?,
            (_, Some(machine)) => propagation::take(machine, mount, || copy(mount))
                .map_err(|f| Failure::new(format!("{}: {}", describe(mount), f.reason)))?,
            (_, None) => {
                let reason = "the pod was made without a way to this machine's mounts";
                return Err(Failure::new(format!("{}: {reason}", describe(mount))));
            }
        };
        restrict(&source, mount, spec.privileged).context(|| describe(mount))?;
        volumes.push((mount.target.clone(), source));
    }
    // A mount on /a must not hide one on /a/b.
    volumes.sort_by_key(|(target, _)| target.components().count());
    Ok(volumes)
}

fn describe(mount: &Mount) -> String {
    let source = match &mount.sub_path {
        Some(path) => mount.source.join(path),
        None => mount.source.clone(),
    };
    format!("mount {} on {}", source.display(), mount.target.display())
}

fn copy(mount: &Mount) -> io::Result<OwnedFd> {
    match &mount.sub_path {
        None => sys::clone_mount(&mount.source, true),
        Some(path) => {
            let place = within::open_within(&mount.source, path)?;
            sys::clone_mount_of(place.as_fd())
        }
    }
}

fn restrict(source: &OwnedFd, mount: &Mount, privileged: bool) -> io::Result<()> {
    let mut attributes = 0;
    if !privileged {
        attributes |= libc::MOUNT_ATTR_NODEV;
    }
    if mount.read_only {
        attributes |= libc::MOUNT_ATTR_RDONLY;
    }
    sys::restrict_mount(source.as_fd(), attributes, true)
}

fn gather_cgroups(sandbox: &Sandbox, spec: &ContainerSpec) -> Result<Vec<CgroupView>, Failure> {
    let cgroup = sandbox.container_cgroup(&spec.name);
    let only_v2 = sandbox.hierarchies.iter().all(|h| h.version == Version::V2);
    let mut views = Vec::new();
    for (hierarchy, dir) in cgroup.dirs() {
        let names = match hierarchy.version {
            Version::V2 if only_v2 => vec![".".into()],
            Version::V2 => vec!["unified".into()],
            Version::V1 => hierarchy.controllers.clone(),
        };
        let view = sys::clone_mount(&dir, false)
            .and_then(|view| {
                let attributes = libc::MOUNT_ATTR_RDONLY
                    | libc::MOUNT_ATTR_NOSUID
                    | libc::MOUNT_ATTR_NODEV
                    | libc::MOUNT_ATTR_NOEXEC;
                sys::restrict_mount(view.as_fd(), attributes, false)?;
                Ok(view)
            })
            .context(|| format!("take cgroup {}", dir.display()))?;
        views.push(CgroupView { names, dir: view });
    }
    Ok(views)
}

impl Gathered {
    /// Mounts everything below the container's root, which is now `/`.
    pub(super) fn place(&self, spec: &ContainerSpec) -> Result<(), Failure> {
        let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount_on(Path::new("/proc"), "proc", quiet, "")?;
        mount_on(Path::new("/sys"), "sysfs", quiet, "")?;
        self.place_cgroups()?;
        if !spec.privileged {
            sys::restrict_mount_at(Path::new("/sys"), libc::MOUNT_ATTR_RDONLY)
                .context(|| "make /sys read-only".into())?;
        }
        self.nodes.place(&self.shm, spec.privileged)?;
        for (target, volume) in &self.volumes {
            place_volume(target, volume).map_err(|f| {
                Failure::new(format!("mount on {}: {}", target.display(), f.reason))
            })?;
        }
        Ok(())
    }

    /// `/sys/fs/cgroup` with the container's own groups, where programs that
    /// size themselves by their limits look.
    fn place_cgroups(&self) -> Result<(), Failure> {
        let top = Path::new("/sys/fs/cgroup");
        if let [only] = &self.cgroups[..]
            && only.names == ["."]
        {
            return sys::attach(&only.dir, top).context(|| "mount /sys/fs/cgroup".into());
        }
        let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount_on(top, "tmpfs", quiet, "mode=755,size=4k")?;
        for view in &self.cgroups {
            let joined = view.names.join(",");
            let target = top.join(&joined);
            make_dirs(&target)?;
            sys::attach(&view.dir, &target).context(|| format!("mount {}", target.display()))?;
            for name in view.names.iter().filter(|name| **name != joined) {
                symlink(&joined, top.join(name)).context(|| format!("link cgroup {name}"))?;
            }
        }
        sys::restrict_mount_at(top, libc::MOUNT_ATTR_RDONLY)
            .context(|| "make /sys/fs/cgroup read-only".into())
    }
}

fn place_volume(target: &Path, volume: &OwnedFd) -> Result<(), Failure> {
    let kind = fstat(volume).context(|| "look at the source".into())?;
    let is_dir = SFlag::from_bits_truncate(kind.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR;
    if is_dir {
        make_dirs(target)?;
    } else {
        make_file(target)?;
    }
    sys::attach(volume, target).context(|| "attach".into())
}

fn make_file(target: &Path) -> Result<(), Failure> {
    if fs::symlink_metadata(target).is_ok() && target.exists() {
        return Ok(());
    }
    if let Some(parent) = target.parent() {
        make_dirs(parent)?;
    }
    File::create(target).context(|| "make the mount point".into())?;
    Ok(())
}
