//! A path within a volume, made when absent, that cannot lead out of it.
//!
//! What is in a volume was put there by containers, symbolic links included; each
//! step is resolved by the kernel beneath the volume's root (`openat2`,
//! `RESOLVE_BENEATH`), so there is no moment between looking and using.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, fstat, mkdirat, umask};

/// Opens `path` below `root`, as a place and not for reading.
pub(super) fn open_within(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY;
    let root = open(root, flags, Mode::empty())?;
    match open_beneath(&root, path) {
        Err(Errno::ENOENT) => {}
        found => return Ok(found?),
    }
    let mode = Mode::from_bits_truncate(fstat(&root)?.st_mode & 0o7777);
    let mut done = PathBuf::new();
    let mut parent = open_beneath(&root, Path::new("."))?;
    for part in path.components() {
        done.push(part);
        let found = match open_beneath(&root, &done) {
            Err(Errno::ENOENT) => {
                make_dir(&parent, Path::new(&part), mode)?;
                open_beneath(&root, &done)
            }
            found => found,
        };
        parent = found?;
    }
    Ok(parent)
}

fn open_beneath(root: impl AsFd, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

/// A directory like the volume's root, whatever this process masks.
fn make_dir(parent: &OwnedFd, name: &Path, mode: Mode) -> nix::Result<()> {
    let masked = umask(Mode::empty());
    let made = mkdirat(parent, name, mode);
    umask(masked);
    match made {
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn path_of(fd: &OwnedFd) -> PathBuf {
        use std::os::fd::AsRawFd;
        fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
    }

    #[test]
    fn a_part_of_a_volume_is_found_or_made() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(
            path_of(&open_within(&root, Path::new("a/b")).unwrap()),
            root.join("a/b")
        );
        let mode = fs::metadata(root.join("a/b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o777);
        fs::write(root.join("file"), "x").unwrap();
        symlink("file", root.join("link")).unwrap();
        assert_eq!(
            path_of(&open_within(&root, Path::new("link")).unwrap()),
            root.join("file")
        );
    }

    #[test]
    fn nothing_leads_out_of_a_volume() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        symlink("/etc", root.join("absolute")).unwrap();
        symlink("..", root.join("up")).unwrap();
        for path in ["absolute", "absolute/passwd", "up", "up/x", "../x"] {
            let error = open_within(root, Path::new(path)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EXDEV), "{path}");
        }
    }
}
