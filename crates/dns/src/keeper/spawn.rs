//! Starting a worker.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use nix::unistd::pipe2;

use super::crew::Pid;
use super::sockets::{Inherited, Purpose, Sockets};

/// What workers run, whatever has become of the file since: this very program.
const PROGRAM: &str = "/proc/self/exe";

/// A worker that was started.
#[derive(Debug)]
pub struct Started {
    /// Its process id.
    pub pid: Pid,
    /// Becomes readable when it answers, and ends with it.
    pub ready: OwnedFd,
}

/// What every worker is given besides the sockets.
#[derive(Debug)]
pub struct Outfit {
    /// The reading end of a pipe that ends with this process.
    pub life: OwnedFd,
    /// The folder to keep in what is known.
    pub state: Option<OwnedFd>,
}

/// Starts a worker with the keeper's own command line, so that it reads the settings anew.
///
/// `panics` is what its metrics tell of those before it.
///
/// # Errors
/// When the system has no room for it.
pub fn start(
    args: &[OsString],
    sockets: &Sockets,
    outfit: &Outfit,
    panics: u64,
) -> io::Result<Started> {
    let (ready, told) = pipe2(OFlag::O_CLOEXEC)?;
    let own = [
        (Purpose::Ready, told.as_fd()),
        (Purpose::Life, outfit.life.as_fd()),
    ];
    let state = outfit.state.iter().map(|fd| (Purpose::State, fd.as_fd()));
    let all: Vec<Inherited> = sockets
        .iter()
        .chain(own)
        .chain(state)
        .map(|(purpose, fd)| Inherited {
            purpose,
            fd: fd.as_raw_fd(),
        })
        .collect();
    let mut command = Command::new(PROGRAM);
    command.arg0("sealane").args(args).stdin(Stdio::null());
    command.args(["--panics", &panics.to_string()]);
    for inherited in &all {
        command.arg("--inherit").arg(inherited.to_string());
    }
    let fds: Vec<RawFd> = all.iter().map(|inherited| inherited.fd).collect();
    // SAFETY: between fork and exec only system calls on numbers that are there already.
    unsafe { command.pre_exec(move || prepare(&fds)) };
    let child = command.spawn()?;
    let pid = Pid::try_from(child.id()).map_err(io::Error::other)?;
    // Waited for with all others, when the signal comes.
    drop(child);
    Ok(Started { pid, ready })
}

/// Lets descriptors live on in the program that is about to start, and signals come again that the keeper holds back.
fn prepare(fds: &[RawFd]) -> io::Result<()> {
    for fd in fds {
        // SAFETY: sets a flag of a descriptor; no memory is involved.
        Errno::result(unsafe { nix::libc::fcntl(*fd, nix::libc::F_SETFD, 0) })?;
    }
    SigSet::empty().thread_set_mask()?;
    Ok(())
}
