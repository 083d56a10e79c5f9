//! `sealane.io/host`: this machine's programs and settings, and nothing else.
//!
//! The root is an empty tmpfs; each kept top-level directory is an overlay of
//! its own on it, with an upper layer on the same tmpfs. So what is shown is a
//! list of what is allowed, not of what is forbidden: a directory that appears
//! at the top of this machine tomorrow is not in it. (One overlay over `/`
//! would have to hide every other name one by one.) It also works alike whether
//! a kept directory is part of the root file system, a mount point, or, as
//! `/bin` nowadays, a link.
//!
//! Inside the kept directories, what must not be seen is hidden in the upper
//! layer before it is mounted, by whiteouts: there is no mount that could be
//! removed to reveal it. An overlay shows one file system, so what is mounted
//! further below a kept directory is not shown either.
//!
//! The list of what to hide comes with the image, see `crate::secrets`. What
//! appears in `/etc` after a container has started is seen by it.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, mknod};

use super::{SYSTEM_SKELETON, make_overmounted, make_skeleton};
use crate::failure::{Context, Failure};
use crate::init::make_dirs;

/// What a container sees of this machine.
pub(super) const KEPT: [&str; 8] = [
    "usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32",
];

/// Fills `root`, a directory of the tmpfs on `stage`.
pub(super) fn fill(stage: &Path, root: &Path, hide: &[PathBuf]) -> Result<(), Failure> {
    make_skeleton(root, &SYSTEM_SKELETON)?;
    let hidden = resolve(hide);
    // Overlay options are separated by commas and colons, which the stage's
    // path may contain; relative to it there are none.
    std::env::set_current_dir(stage).context(|| format!("change to {}", stage.display()))?;
    for name in KEPT {
        let lower = Path::new("/").join(name);
        match fs::symlink_metadata(&lower) {
            Ok(file) if file.is_symlink() => copy_link(&lower, &root.join(name))?,
            Ok(file) if file.is_dir() && !hidden.contains(&lower) => {
                Layer {
                    name,
                    lower: &lower,
                }
                .mount(&hidden)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The same paths without links in their directories, since whiteouts go where
/// the hidden thing is; of a link, also what it leads to. What does not exist
/// is kept: it may come into being.
fn resolve(hide: &[PathBuf]) -> Vec<PathBuf> {
    hide.iter()
        .flat_map(|path| [real(path), fs::canonicalize(path).ok()])
        .flatten()
        .collect()
}

fn real(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?;
    let parent = path.parent()?;
    let parent = fs::canonicalize(parent).ok().or_else(|| real(parent))?;
    Some(parent.join(name))
}

fn copy_link(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::read_link(from)
        .and_then(|target| symlink(target, to))
        .context(|| format!("copy link {}", from.display()))
}

struct Layer<'a> {
    name: &'static str,
    lower: &'a Path,
}

impl Layer<'_> {
    fn mount(&self, hidden: &[PathBuf]) -> Result<(), Failure> {
        let (upper, work) = (self.dir("upper"), self.dir("work"));
        make_dirs(&work)?;
        let metadata = fs::symlink_metadata(self.lower);
        make_dirs(Path::new("layers"))?;
        mirror(
            &metadata.context(|| format!("look at {}", self.lower.display()))?,
            &upper,
        )
        .context(|| format!("make upper layer of {}", self.lower.display()))?;
        for path in hidden {
            if let Ok(relative) = path.strip_prefix(self.lower) {
                self.white_out(&upper, relative)
                    .context(|| format!("hide {}", path.display()))?;
            }
        }
        if self.name == "etc" {
            make_overmounted(&upper)?;
        }
        self.overlay(&upper, &work)
    }

    fn dir(&self, kind: &str) -> PathBuf {
        Path::new("layers").join(format!("{}.{kind}", self.name))
    }

    /// Puts a whiteout in the upper layer. Its directories become copies of
    /// the lower ones, since in a merged directory the upper one's mode counts.
    fn white_out(&self, upper: &Path, relative: &Path) -> io::Result<()> {
        let mut lower = self.lower.to_owned();
        let mut target = upper.to_owned();
        let mut components = relative.components().peekable();
        while let Some(Component::Normal(name)) = components.next() {
            lower.push(name);
            target.push(name);
            if components.peek().is_none() {
                return make_whiteout(&target);
            }
            match fs::symlink_metadata(&lower) {
                Ok(metadata) if metadata.is_dir() => mirror(&metadata, &target)?,
                // Its directory does not exist, so nothing can be in it; a
                // whiteout of the directory itself covers the future.
                _ => return make_whiteout(&target),
            }
            if !target.is_dir() {
                // One of its directories is hidden already.
                return Ok(());
            }
        }
        Ok(())
    }

    fn overlay(&self, upper: &Path, work: &Path) -> Result<(), Failure> {
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.lower.display(),
            upper.display(),
            work.display()
        );
        let target = Path::new("rootfs").join(self.name);
        make_dirs(&target)?;
        mount(
            Some("overlay"),
            &target,
            Some("overlay"),
            MsFlags::MS_NODEV,
            Some(options.as_str()),
        )
        .context(|| format!("mount overlay on {}", self.lower.display()))
    }
}

/// Character device 0:0 (kernel `filesystems/overlayfs.rst`, "whiteouts").
fn make_whiteout(path: &Path) -> io::Result<()> {
    match mknod(path, SFlag::S_IFCHR, Mode::empty(), 0) {
        Err(nix::errno::Errno::EEXIST) => replace_by_whiteout(path),
        other => Ok(other?),
    }
}

/// A directory may be there already, holding whiteouts of a longer path.
fn replace_by_whiteout(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)?;
        mknod(path, SFlag::S_IFCHR, Mode::empty(), 0)?;
    }
    Ok(())
}

/// A directory with the mode and owner of another; what is there is right.
fn mirror(of: &Metadata, dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    }
    chown(dir, Some(of.uid()), Some(of.gid()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(of.mode() & 0o7777))
}
