//! Mounts below the cluster's folders.
//!
//! A state directory is removed with all that is in it, so nothing may be
//! mounted below it then: the removal would go on into what is mounted there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

/// Whether something is mounted at exactly this path.
pub fn is_mount_point(path: &Path) -> bool {
    mount_points().iter().any(|mount| mount == path)
}

/// Everything mounted below `root`, innermost last. Not what is mounted at
/// `root` itself: that is where somebody wants the state to be.
pub fn below(root: &Path) -> Vec<PathBuf> {
    let mut mounts = mount_points();
    mounts.retain(|mount| mount.starts_with(root) && mount != root);
    mounts
}

/// Unmounts everything below `root`, the innermost first.
///
/// # Errors
/// The mounts that stayed, by name.
pub fn detach_below(root: &Path) -> io::Result<()> {
    for mount in below(root).iter().rev() {
        if let Err(errno) = umount2(mount, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            tracing::debug!("unmount {}: {errno}", mount.display());
        }
    }
    match below(root).as_slice() {
        [] => Ok(()),
        left => Err(io::Error::other(format!(
            "unmount {}: still mounted",
            left.iter()
                .map(|mount| mount.display().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

fn mount_points() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .collect()
}

/// Spaces and their like are written as three octal digits (proc_pid_mountinfo(5)).
fn unescape(text: &str) -> PathBuf {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        result.push_str(before);
        let digits = after
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        rest = match digits {
            Some(byte) => {
                result.push(char::from(byte));
                &after[3..]
            }
            None => {
                result.push('\\');
                after
            }
        };
    }
    result.push_str(rest);
    PathBuf::from(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_spaces_are_read_as_they_are() {
        for (escaped, path) in [
            ("/a\\040b", "/a b"),
            ("/plain", "/plain"),
            ("/a\\134", "/a\\"),
            ("\\", "\\"),
        ] {
            assert_eq!(unescape(escaped), Path::new(path));
        }
        assert!(is_mount_point(Path::new("/proc")));
        assert!(!is_mount_point(Path::new("/proc/self")));
        assert!(!below(Path::new("/proc")).contains(&PathBuf::from("/proc")));
        assert!(below(Path::new("/")).contains(&PathBuf::from("/proc")));
    }
}
