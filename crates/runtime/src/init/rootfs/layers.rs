//! An image of unpacked layers: one overlay, its read-only part shared by all
//! containers of the image, its upper part the container's own.
//!
//! The upper part is in the pod's directory, on disk, so that what a container
//! writes does not count as its memory; where that file system cannot be the
//! upper part of an overlay (it may be an overlay itself) a tmpfs takes its
//! place. It does not outlive the attempt, so nothing of it is synced.
//!
//! The layers are named to the kernel one by one where it can be done
//! (`lowerdir+`, Linux 6.5); before, all names have to fit one page, which
//! names relative to the store's directory do for 100 layers and more.
//!
//! Nothing is looked up by a path of the image before the image's root is the
//! root: its links lead nowhere else.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::OVERMOUNTED;
use crate::failure::{Context, Failure};
use crate::image::Layers;
use crate::init::make_dirs;
use crate::spec::ContainerSpec;
use crate::sys;

/// Directory of the writable parts in the pod's directory.
const WRITABLE: &str = "writable";

/// Directories without which nothing can be mounted.
const NEEDED: [(&str, u32); 5] = [
    ("/dev", 0o755),
    ("/proc", 0o555),
    ("/sys", 0o555),
    ("/etc", 0o755),
    ("/tmp", 0o1777),
];

/// Mounts the image on `rootfs` below `stage`, a tmpfs, and returns that place.
pub(super) fn mount_all(
    stage: &Path,
    pod: &Path,
    spec: &ContainerSpec,
    image: &Layers,
) -> Result<PathBuf, Failure> {
    let root = stage.join("rootfs");
    make_dirs(&root)?;
    let top = image.dirs.last();
    let top = top.ok_or_else(|| Failure::new("the image has no layers"))?;
    let own = own_dir(pod, spec)?;
    let on_disk = overlay(&root, image, top, &own);
    if let Err(failure) = on_disk {
        overlay(&root, image, top, stage).map_err(|second| {
            Failure::new(format!(
                "mount the image: {} (and on disk: {})",
                second.reason, failure.reason
            ))
        })?;
    }
    Ok(root)
}

/// An empty directory for what this attempt writes; those of earlier attempts go.
fn own_dir(pod: &Path, spec: &ContainerSpec) -> Result<PathBuf, Failure> {
    let all = pod.join(WRITABLE).join(&spec.name);
    match fs::remove_dir_all(&all) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).context(|| format!("remove {}", all.display()))?;
        }
        _ => {}
    }
    let own = all.join(spec.attempt.to_string());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&own)
        .context(|| format!("make directory {}", own.display()))?;
    Ok(own)
}

/// The overlay with its upper part in `place`.
fn overlay(root: &Path, image: &Layers, top: &Path, place: &Path) -> Result<(), Failure> {
    let (upper, work) = (place.join("upper"), place.join("work"));
    make_dirs(&upper)?;
    make_dirs(&work)?;
    // The root of the upper part is the root that is seen.
    let like = fs::metadata(top).context(|| format!("look at layer {}", top.display()))?;
    chown(&upper, Some(like.uid()), Some(like.gid()))
        .and_then(|()| {
            let mode = fs::Permissions::from_mode(like.mode() & 0o7777);
            fs::set_permissions(&upper, mode)
        })
        .context(|| "give the root its owner and mode".into())?;
    match one_by_one(root, image, &upper, &work) {
        Ok(()) => Ok(()),
        Err(_) => all_at_once(root, image, &upper, &work),
    }
}

/// By fsopen(2): each layer is a parameter of its own.
fn one_by_one(root: &Path, image: &Layers, upper: &Path, work: &Path) -> io::Result<()> {
    let context = sys::open_file_system(c"overlay")?;
    for layer in image.dirs.iter().rev() {
        sys::set_path(context.as_fd(), c"lowerdir+", layer)?;
    }
    sys::set_path(context.as_fd(), c"upperdir", upper)?;
    sys::set_path(context.as_fd(), c"workdir", work)?;
    sys::set_flag(context.as_fd(), c"volatile")?;
    let made = sys::make_mount(context.as_fd(), libc::MOUNT_ATTR_NODEV)?;
    sys::attach(&made, root)
}

/// By mount(2): paths relative to the layers' common directory, and those of
/// the upper part by descriptors, since a comma or a colon would end a path.
fn all_at_once(root: &Path, image: &Layers, upper: &Path, work: &Path) -> Result<(), Failure> {
    let common = common_dir(&image.dirs);
    std::env::set_current_dir(&common).context(|| format!("change to {}", common.display()))?;
    let lower: Vec<String> = image
        .dirs
        .iter()
        .rev()
        .map(|dir| dir.strip_prefix(&common).unwrap_or(dir))
        .map(|dir| dir.display().to_string())
        .collect();
    let open = |path: &Path| {
        File::open(path)
            .map(OwnedFd::from)
            .context(|| format!("open {}", path.display()))
    };
    let (upper, work) = (open(upper)?, open(work)?);
    let options = format!(
        "lowerdir={},upperdir=/proc/self/fd/{},workdir=/proc/self/fd/{},volatile",
        lower.join(":"),
        upper.as_raw_fd(),
        work.as_raw_fd()
    );
    mount(
        Some("overlay"),
        root,
        Some("overlay"),
        MsFlags::MS_NODEV,
        Some(options.as_str()),
    )
    .context(|| format!("mount an overlay of {} layers", image.dirs.len()))
}

fn common_dir(dirs: &[PathBuf]) -> PathBuf {
    let Some(first) = dirs.first() else {
        return PathBuf::from("/");
    };
    let holds_all = |dir: &&Path| dirs.iter().all(|other| other.starts_with(dir));
    let common = first.ancestors().skip(1).find(holds_all);
    common.unwrap_or(Path::new("/")).to_owned()
}

/// Makes what mounts need, in the image's root, which is now `/`.
pub(super) fn prepare(image: &Layers, read_only: bool) -> Result<(), Failure> {
    for (dir, mode) in NEEDED {
        let dir = Path::new(dir);
        match fs::symlink_metadata(dir) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                return Err(Failure::new(format!(
                    "the image's {} is no directory",
                    dir.display()
                )));
            }
            Err(_) => {
                make_dirs(dir)?;
                fs::set_permissions(dir, fs::Permissions::from_mode(mode))
                    .context(|| format!("set mode of {}", dir.display()))?;
            }
        }
    }
    for name in OVERMOUNTED {
        over_file(&Path::new("/etc").join(name))?;
    }
    for volume in &image.volumes {
        make_volume(volume, read_only)?;
    }
    Ok(())
}

/// A plain file to mount over, also where the image has a link that leads nowhere.
fn over_file(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
    .and_then(|()| File::create_new(path).map(drop))
    .context(|| format!("make {}", path.display()))
}

/// A directory that stays writable when the root does not: a mount of its own.
/// A pod's volume on the same path covers it.
fn make_volume(path: &Path, read_only: bool) -> Result<(), Failure> {
    if !path.is_absolute() || path == Path::new("/") {
        return Ok(());
    }
    make_dirs(path)?;
    if !read_only {
        return Ok(());
    }
    let flags = MsFlags::MS_BIND;
    mount(Some(path), path, None::<&str>, flags, None::<&str>)
        .context(|| format!("make volume {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_from_the_directory_that_holds_all() {
        let dirs = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        for (paths, expected) in [
            (&["/s/layers/a/fs", "/s/layers/b/fs"][..], "/s/layers"),
            (&["/s/layers/a/fs"], "/s/layers/a"),
            (&["/a/fs", "/b/fs"], "/"),
        ] {
            assert_eq!(common_dir(&dirs(paths)), Path::new(expected));
        }
    }
}
