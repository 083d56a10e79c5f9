//! System calls that neither `std` nor `nix` offers.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as the kernel takes it.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "path contains a zero byte"))
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// A detached copy of the mount at `path`, with the mounts below it if
/// `recursive`. It vanishes with the descriptor unless [`attach`] places it.
pub(crate) fn clone_mount(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    open_tree(libc::AT_FDCWD, &c_path(path)?, flags)
}

/// A detached copy of the mount at an open place, with the mounts below it.
pub(crate) fn clone_mount_of(place: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::AT_RECURSIVE | libc::AT_EMPTY_PATH;
    open_tree(place.as_raw_fd(), c"", flags)
}

fn open_tree(dir: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    let flags = flags as libc::c_uint | libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is a valid C string for the length of the call.
    let fd = check(unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) })?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Places a detached mount on `target`.
pub(crate) fn attach(mount: &OwnedFd, target: &Path) -> io::Result<()> {
    let target = c_path(target)?;
    // SAFETY: both paths are valid C strings for the length of the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// A file system to be, which takes its parameters one by one (fsopen(2)).
pub(crate) fn open_file_system(kind: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the name is a valid C string for the length of the call.
    let fd = check(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Gives it a parameter that is a path.
pub(crate) fn set_path(context: BorrowedFd<'_>, key: &CStr, path: &Path) -> io::Result<()> {
    configure(
        context,
        FSCONFIG_SET_STRING,
        Some(key),
        Some(&c_path(path)?),
    )
}

/// Gives it a parameter without a value.
pub(crate) fn set_flag(context: BorrowedFd<'_>, key: &CStr) -> io::Result<()> {
    configure(context, FSCONFIG_SET_FLAG, Some(key), None)
}

/// Makes it, as a detached mount with these attributes (`MOUNT_ATTR_*`).
pub(crate) fn make_mount(context: BorrowedFd<'_>, attributes: u64) -> io::Result<OwnedFd> {
    configure(context, FSCONFIG_CMD_CREATE, None, None)?;
    let fd = context.as_raw_fd();
    // SAFETY: no memory is involved.
    let mount =
        check(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes) })?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(mount as RawFd) })
}

fn configure(
    context: BorrowedFd<'_>,
    command: libc::c_uint,
    key: Option<&CStr>,
    value: Option<&CStr>,
) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: key and value are null or valid C strings for the length of the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            command,
            pointer(key),
            pointer(value),
            0,
        )
    })?;
    Ok(())
}

/// fsopen(2), `linux/mount.h`.
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

/// Adds attributes (`MOUNT_ATTR_*`) to a mount, leaving the others as they are.
pub(crate) fn restrict_mount(
    mount: BorrowedFd<'_>,
    attributes: u64,
    recursive: bool,
) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    mount_setattr(mount.as_raw_fd(), c"", flags, attributes, 0)
}

/// Sets how a mount and those below it pass on what is mounted later (`MS_*`).
pub(crate) fn set_propagation(mount: BorrowedFd<'_>, kind: libc::c_ulong) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    mount_setattr(mount.as_raw_fd(), c"", flags, 0, kind)
}

/// As [`restrict_mount`], for the one mount at `path`.
pub(crate) fn restrict_mount_at(path: &Path, attributes: u64) -> io::Result<()> {
    mount_setattr(libc::AT_FDCWD, &c_path(path)?, 0, attributes, 0)
}

fn mount_setattr(
    dir: RawFd,
    path: &CStr,
    flags: i32,
    attributes: u64,
    propagation: u64,
) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation,
        userns_fd: 0,
    };
    // SAFETY: `path` and `attr` live through the call, and the size is that of `attr`.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir,
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    close_range(first, 0)
}

/// Marks every descriptor from `first` on to be closed by the next exec.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: no memory is involved; the callers own no descriptor from `first` on.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) })?;
    Ok(())
}

/// A descriptor of a process, which becomes readable when it ends.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Leaves the session keyring of the caller for a new, empty one.
pub(crate) fn join_new_keyring() -> io::Result<()> {
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: KEYCTL_JOIN_SESSION_KEYRING takes a name or null.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous) })?;
    Ok(())
}

/// keyctl(2), `linux/keyctl.h`.
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;

/// `prctl` with up to one argument.
pub(crate) fn prctl(option: libc::c_int, argument: libc::c_ulong) -> io::Result<()> {
    // SAFETY: used only with options whose argument is a number.
    check(libc::c_long::from(unsafe {
        libc::prctl(option, argument, 0, 0, 0)
    }))?;
    Ok(())
}

/// Names this process, as `ps` and `/proc/PID/comm` show it.
pub(crate) fn set_name(name: &CStr) -> io::Result<()> {
    // SAFETY: the kernel reads at most 16 bytes of a valid C string.
    check(libc::c_long::from(unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0)
    }))?;
    Ok(())
}

/// Sets permitted and effective capabilities to `mask`, inheritable to none.
pub(crate) fn capset(mask: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let half = |bits: u32| Data {
        effective: bits,
        permitted: bits,
        inheritable: 0,
    };
    let data = [half(mask as u32), half((mask >> 32) as u32)];
    // SAFETY: header and data have the layout of capget(2), version 3, which
    // takes two elements, and live through the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
    Ok(())
}
