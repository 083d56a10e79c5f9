//! `/dev` of a container.
//!
//! It is a `nodev` tmpfs, and the standard nodes are bind mounts of this
//! machine's. So the container may well make device nodes (it has `CAP_MKNOD`,
//! like everywhere), but none of them opens a device: every other mount of it
//! is `nodev` too. That holds on both versions of cgroups and needs neither a
//! device list nor a BPF program.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fstat, mknod};

use super::make_dirs;
use crate::failure::{Context, Failure};
use crate::sys;

const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

/// This machine's nodes, taken while they are in sight.
pub(super) struct Nodes(Vec<(&'static str, OwnedFd)>);

/// Takes the standard nodes.
pub(super) fn gather() -> Result<Nodes, Failure> {
    let mut nodes = Vec::with_capacity(NODES.len());
    for name in NODES {
        let path = Path::new("/dev").join(name);
        let node = sys::clone_mount(&path, false).context(|| format!("take {}", path.display()))?;
        nodes.push((name, node));
    }
    Ok(Nodes(nodes))
}

impl Nodes {
    /// Makes `/dev`, with the pod's shared memory in it.
    pub(super) fn place(&self, shm: &OwnedFd, privileged: bool) -> Result<(), Failure> {
        let dev = Path::new("/dev");
        let mut flags = MsFlags::MS_NOSUID;
        if !privileged {
            flags |= MsFlags::MS_NODEV;
        }
        mount_on(dev, "tmpfs", flags, "mode=755,size=64m")?;
        for (name, node) in &self.0 {
            let target = dev.join(name);
            make_placeholder(node, &target)
                .and_then(|()| sys::attach(node, &target))
                .context(|| format!("make {}", target.display()))?;
        }
        for (name, target) in LINKS {
            symlink(target, dev.join(name)).context(|| format!("make /dev/{name}"))?;
        }
        place_file_systems(dev, shm)
    }
}

/// The place to mount a node on is a node itself, one that opens nothing:
/// programs that walk the tree believe the kind that a directory states, and
/// would take a file for something to be read to its end.
fn make_placeholder(node: &OwnedFd, target: &Path) -> io::Result<()> {
    let device = fstat(node)?.st_rdev;
    Ok(mknod(target, SFlag::S_IFCHR, Mode::empty(), device)?)
}

fn place_file_systems(dev: &Path, shm: &OwnedFd) -> Result<(), Failure> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_on(
        &dev.join("pts"),
        "devpts",
        quiet,
        "newinstance,ptmxmode=0666,mode=0620,gid=5",
    )?;
    mount_on(&dev.join("mqueue"), "mqueue", quiet | MsFlags::MS_NODEV, "")?;
    let target = dev.join("shm");
    make_dirs(&target)?;
    sys::attach(shm, &target).context(|| "mount the pod's /dev/shm".into())
}

/// Mounts a file system of this kind, making its mount point.
pub(super) fn mount_on(
    target: &Path,
    kind: &str,
    flags: MsFlags,
    options: &str,
) -> Result<(), Failure> {
    make_dirs(target)?;
    mount(Some(kind), target, Some(kind), flags, Some(options))
        .context(|| format!("mount {kind} on {}", target.display()))
}
