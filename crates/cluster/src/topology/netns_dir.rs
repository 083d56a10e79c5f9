//! The mount at `/run/netns`.
//!
//! The first named namespace turns the folder into a mount of its own, as
//! `ip netns add` does. Where that is our doing, a mark says so, and the last
//! cluster to go takes the mount away again, unless somebody has put a
//! namespace there meanwhile.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use sealane_netlink::netns::NAMED_DIR;

use super::TopologyError;
use crate::layout::Layout;

fn mark(layout: &Layout) -> PathBuf {
    layout.shared.join(".netns-dir-is-ours")
}

/// To be called before the first namespace is made.
pub fn note_whether_ours(layout: &Layout) -> Result<(), TopologyError> {
    if crate::mounts::is_mount_point(Path::new(NAMED_DIR)) {
        return Ok(());
    }
    let write = || {
        fs::create_dir_all(&layout.shared)?;
        fs::write(mark(layout), "")
    };
    write().map_err(|source| TopologyError::File {
        verb: "write",
        path: mark(layout),
        source,
    })
}

/// Removes the mount if it is ours and nothing is in it.
pub fn remove_if_ours(layout: &Layout) -> Result<(), TopologyError> {
    if !mark(layout).exists()
        || !layout.others().is_empty()
        || fs::read_dir(NAMED_DIR).is_ok_and(|mut entries| entries.next().is_some())
    {
        return Ok(());
    }
    // Both fail while the folder is in use, which is what is wanted.
    _ = umount2(NAMED_DIR, MntFlags::empty());
    _ = fs::remove_dir(NAMED_DIR);
    match fs::remove_file(mark(layout)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(TopologyError::File {
            verb: "remove",
            path: mark(layout),
            source,
        }),
        _ => Ok(()),
    }
}
