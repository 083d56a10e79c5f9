//! The root file system of a container: a tmpfs of its own, filled by image, or
//! the image itself under a private layer.

mod host;
mod layers;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::make_dirs;
use crate::failure::{Context, Failure};
use crate::image::Image;
use crate::shim::Sandbox;
use crate::spec::ContainerSpec;
use crate::sys;

/// Directories that every image has, with their modes.
const SKELETON: [(&str, u32); 16] = [
    ("dev", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
];

/// Directories that only a whole system has.
const SYSTEM_SKELETON: [(&str, u32); 4] = [
    ("media", 0o755),
    ("boot", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

/// Files that the node process mounts over: they exist, empty, so that what
/// this machine has in their place (perhaps a link into `/run`) does not matter.
const OVERMOUNTED: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    nobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// Makes the root file system in the pod's place for it, in the caller's mount
/// namespace. Returns its path: a mount point.
pub(super) fn build(sandbox: &Sandbox, spec: &ContainerSpec) -> Result<PathBuf, Failure> {
    let stage = &sandbox.places.root;
    mount(
        Some("tmpfs"),
        stage,
        Some("tmpfs"),
        MsFlags::MS_NODEV,
        Some("mode=755"),
    )
    .context(|| format!("mount tmpfs on {}", stage.display()))?;
    if let Image::Layers(image) = &spec.image {
        return layers::mount_all(stage, &sandbox.spec.dir, spec, image);
    }
    let root = stage.join("rootfs");
    make_dirs(&root)?;
    bind_to_itself(&root)?;
    make_skeleton(&root, &SKELETON)?;
    match &spec.image {
        Image::Echo => fill_echo(sandbox, &root)?,
        Image::Host { hide } => host::fill(stage, &root, hide)?,
        Image::Layers(_) => {}
    }
    Ok(root)
}

/// What is left to do when the root file system is the root.
pub(super) fn prepare(spec: &ContainerSpec) -> Result<(), Failure> {
    match &spec.image {
        Image::Layers(image) => layers::prepare(image, spec.read_only_root),
        _ => Ok(()),
    }
}

/// `pivot_root` wants a mount point; the rest of the tmpfs stays out of sight.
fn bind_to_itself(root: &Path) -> Result<(), Failure> {
    mount(
        Some(root),
        root,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .context(|| "make a mount point of the container's root".into())
}

fn make_skeleton(root: &Path, dirs: &[(&str, u32)]) -> Result<(), Failure> {
    for (name, mode) in dirs {
        let dir = root.join(name);
        make_dirs(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(*mode))
            .context(|| format!("set mode of /{name}"))?;
    }
    Ok(())
}

fn fill_echo(sandbox: &Sandbox, root: &Path) -> Result<(), Failure> {
    let bin = root.join("bin");
    make_dirs(&bin)?;
    // With the mounts below it: one of them is the program.
    let applets =
        sys::clone_mount(&sandbox.places.applets, true).context(|| "take the programs".into())?;
    sys::attach(&applets, &bin).context(|| "mount /bin".into())?;
    for name in sealane_echo::AT_ROOT {
        let link = root.join(name);
        symlink(Path::new("bin").join(name), &link).context(|| format!("make /{name}"))?;
    }
    let etc = root.join("etc");
    for (name, text) in [
        ("passwd", PASSWD),
        ("group", GROUP),
        ("nsswitch.conf", NSSWITCH),
    ] {
        fs::write(etc.join(name), text).context(|| format!("write /etc/{name}"))?;
    }
    make_overmounted(&etc)
}

fn make_overmounted(etc: &Path) -> Result<(), Failure> {
    for name in OVERMOUNTED {
        File::create(etc.join(name)).context(|| format!("make /etc/{name}"))?;
    }
    Ok(())
}

/// Makes the root read-only, with the layers of the image in it; not `/dev`,
/// `/dev/shm` and volumes.
pub(super) fn make_read_only() -> Result<(), Failure> {
    let dirs = host::KEPT.iter().map(|name| Path::new("/").join(name));
    for dir in dirs.chain([PathBuf::from("/")]) {
        if fs::symlink_metadata(&dir).is_ok_and(|file| file.is_dir()) {
            restrict(&dir)?;
        }
    }
    Ok(())
}

/// A directory that is no mount point needs nothing: it is part of the root.
fn restrict(dir: &Path) -> Result<(), Failure> {
    match sys::restrict_mount_at(dir, libc::MOUNT_ATTR_RDONLY) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other.context(|| format!("make {} read-only", dir.display())),
    }
}
