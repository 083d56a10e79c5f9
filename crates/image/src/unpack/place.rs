//! Names within a layer, and the system calls that keep to it.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fstatat};
use nix::sys::time::TimeSpec;

use crate::tarball::Entry;

/// What overlayfs calls a directory that hides the ones below.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

pub(super) fn refused(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// A path from the root of the layer, without its empty parts.
pub(super) fn clean(path: &[u8]) -> io::Result<Vec<u8>> {
    let mut clean = Vec::with_capacity(path.len());
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(refused("a path with `..` may lead out of the layer")),
            part => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part);
            }
        }
    }
    Ok(clean)
}

/// Directory and last name of a clean path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        return name.to_vec();
    }
    [dir, b"/", name].concat()
}

/// A directory below `root`, which no link leads out of.
pub(super) fn open_in(root: BorrowedFd<'_>, dir: &[u8]) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, dir, how)
}

/// A directory by its own name, for more than to resolve from it.
pub(super) fn open_dir(parent: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// The same directory, for more than to resolve from it.
pub(super) fn reopen(dir: &OwnedFd) -> io::Result<OwnedFd> {
    open_dir(dir, b".")
}

pub(super) fn is_dir(parent: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    let file = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(file.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// Removes a directory with all that is in it; the standard library follows no link there.
pub(super) fn remove_tree(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let parent = format!("/proc/self/fd/{}", parent.as_raw_fd());
    fs::remove_dir_all(std::path::Path::new(&parent).join(std::ffi::OsStr::from_bytes(name)))
}

pub(super) fn time_spec((seconds, nanos): (i64, u32)) -> TimeSpec {
    TimeSpec::new(seconds, nanos.into())
}

pub(super) fn set_opaque(dir: &OwnedFd) -> io::Result<()> {
    set_xattr(dir.as_fd(), OPAQUE, b"y")
}

/// Those attributes that mean the same in every container: capabilities, access lists and the
/// user's own. Others would be this machine's business (labels), or overlayfs' (which could be
/// made to show any directory).
pub(super) fn set_xattrs(file: &impl AsFd, entry: &Entry) -> io::Result<()> {
    for (name, value) in &entry.xattrs {
        let kept = match name.as_slice() {
            b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => {
                true
            }
            name => name.starts_with(b"user.") && !name.starts_with(b"user.overlay."),
        };
        if !kept {
            continue;
        }
        match set_xattr(file.as_fd(), name, value) {
            // A file system without them; a container does without as well.
            Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) => {}
            result => result?,
        }
    }
    Ok(())
}

fn set_xattr(file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    let name =
        CString::new(name).map_err(|_| refused("the name of an attribute contains a zero byte"))?;
    // SAFETY: the descriptor is open for as long as it is borrowed, the name ends with a zero
    // byte, and `value` is as long as is said.
    let result = unsafe {
        libc::fsetxattr(
            file.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_root_of_the_layer_and_stay_there() {
        for (path, cleaned) in [
            ("./a//b/", "a/b"),
            ("/etc/passwd", "etc/passwd"),
            ("./", ""),
            ("", ""),
        ] {
            assert_eq!(
                clean(path.as_bytes()).unwrap(),
                cleaned.as_bytes(),
                "{path}"
            );
        }
        for path in ["..", "a/../b", "/../etc", "a/.."] {
            assert!(clean(path.as_bytes()).is_err(), "{path}");
        }
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
        assert_eq!(
            (join(b"", b"c"), join(b"a", b"c")),
            (b"c".to_vec(), b"a/c".to_vec())
        );
    }
}
