//! Starting a process of the cluster.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use sealane_netlink::netns;

use super::role::{Place, Role};
use crate::layout::Layout;

/// What roles run, whatever has become of the file since: this very program.
const PROGRAM: &str = "/proc/self/exe";

/// Starts a role, with its log on standard output and error.
///
/// # Errors
/// When the log, the namespace or the program is not there.
pub fn spawn(layout: &Layout, role: &Role, sockets: &[RawFd]) -> io::Result<Child> {
    let log = open_log(&layout.log(&role.name))?;
    let mut command = Command::new(PROGRAM);
    command
        .arg0("sealane")
        .args(&role.args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    for socket in sockets {
        command.arg("--listen").arg(format!("fd:{socket}"));
    }
    match &role.place {
        Place::Machine(owner) => {
            command.current_dir(&layout.state);
            let (uid, sockets) = (owner.uid(), sockets.to_vec());
            // SAFETY: between fork and exec only system calls on values that
            // are there already, no allocation and no lock.
            unsafe {
                command.pre_exec(move || hand_over(&sockets).and_then(|()| drop_privileges(uid)))
            };
            command.spawn()
        }
        Place::Node { netns, hostname } => {
            command.current_dir("/");
            let netns = netns::open_named(netns).map_err(io::Error::other)?;
            netns::spawn_in(&netns, Some(hostname), &mut command).map_err(io::Error::other)
        }
    }
}

/// Lets descriptors live on in the program that is about to start.
fn hand_over(descriptors: &[RawFd]) -> io::Result<()> {
    for &fd in descriptors {
        // SAFETY: sets a flag of a descriptor; no memory is involved.
        Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })?;
    }
    Ok(())
}

/// Becomes an unprivileged user for good: no groups, no capabilities, and no
/// way to gain any through a file.
fn drop_privileges(uid: Option<u32>) -> io::Result<()> {
    // SAFETY: these change the credentials of this process and read no memory
    // of ours; the null pointer goes with a length of 0.
    unsafe {
        Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        if let Some(uid) = uid {
            Errno::result(libc::setgroups(0, std::ptr::null()))?;
            Errno::result(libc::setresgid(uid, uid, uid))?;
            Errno::result(libc::setresuid(uid, uid, uid))?;
        }
    }
    Ok(())
}

/// Opens a log to append to, so that it can be cut while it is written.
///
/// # Errors
/// When the file cannot be made.
pub fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}
