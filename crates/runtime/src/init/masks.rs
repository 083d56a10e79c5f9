//! Paths of `/proc` and `/sys` that tell about, or act on, the whole machine.
//! The lists are those of the OCI runtimes' default specification (containerd
//! `oci/spec.go`, Docker `oci/defaults.go`).

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::failure::{Context, Failure};
use crate::sys;

/// Shown empty.
pub(super) const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Shown, but not to be written.
pub(super) const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Masks and protects what exists of both lists.
pub(super) fn apply() -> Result<(), Failure> {
    for path in MASKED.map(Path::new) {
        match fs::metadata(path) {
            Ok(file) if file.is_dir() => mask_dir(path)?,
            Ok(_) => mask_file(path)?,
            Err(_) => {}
        }
    }
    for path in READ_ONLY.map(Path::new).into_iter().filter(|p| p.exists()) {
        protect(path)?;
    }
    Ok(())
}

fn mask_dir(path: &Path) -> Result<(), Failure> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some("size=4k"))
        .context(|| format!("mask {}", path.display()))
}

fn mask_file(path: &Path) -> Result<(), Failure> {
    sys::clone_mount(Path::new("/dev/null"), false)
        .and_then(|null| sys::attach(&null, path))
        .context(|| format!("mask {}", path.display()))
}

fn protect(path: &Path) -> Result<(), Failure> {
    use std::os::fd::AsFd;
    sys::clone_mount(path, true)
        .and_then(|copy| {
            sys::restrict_mount(copy.as_fd(), libc::MOUNT_ATTR_RDONLY, true)?;
            sys::attach(&copy, path)
        })
        .context(|| format!("make {} read-only", path.display()))
}
