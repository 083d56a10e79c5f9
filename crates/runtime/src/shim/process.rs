//! Processes and PID namespaces, as the shim handles them.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{ForkResult, Pid, fork};

use crate::failure::{Context, Failure};

/// The next child becomes process 1 of a new PID namespace.
pub(super) fn new_pid_namespace() -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWPID).context(|| "make a PID namespace (are you root?)".into())
}

/// This process's id as this machine sees it. The shim keeps this machine's
/// `/proc`, which speaks of the namespace that it was mounted in.
pub(crate) fn own_pid() -> Result<u32, Failure> {
    let link = fs::read_link("/proc/self").context(|| "read /proc/self".into())?;
    let pid = link.to_str().and_then(|text| text.parse().ok());
    pid.ok_or_else(|| Failure::new("read /proc/self: not a process id"))
}

/// Which PID namespace a child is born into.
pub(super) enum Birth<'a> {
    /// The shim's own.
    Here,
    /// A new one, of which it is process 1.
    New,
    /// That of the process with this id, as this machine sees it.
    Beside(&'a u32),
}

/// Forks; the child runs `child` and never returns. The caller's own PID
/// namespace for children is restored.
pub(super) fn spawn(birth: &Birth<'_>, child: impl FnOnce()) -> Result<Pid, Failure> {
    let own = File::open("/proc/self/ns/pid").context(|| "open own PID namespace".into())?;
    match birth {
        Birth::Here => {}
        Birth::New => new_pid_namespace()?,
        Birth::Beside(pid) => enter(**pid)?,
    }
    // SAFETY: the shim has no other thread.
    let forked = unsafe { fork() };
    if let Ok(ForkResult::Child) = forked {
        child();
        // SAFETY: ends the process; nothing of the parent's state is flushed twice.
        unsafe { libc::_exit(127) };
    }
    setns(own.as_fd(), CloneFlags::CLONE_NEWPID).context(|| "restore own PID namespace".into())?;
    match forked.context(|| "fork".into())? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => unreachable!("the child has ended above"),
    }
}

fn enter(pid: u32) -> Result<(), Failure> {
    let namespace = open_namespace(pid, "pid").context(|| "container is not running".into())?;
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWPID)
        .context(|| "enter the container's PID namespace".into())
}

/// A namespace of a process that is known to be ours and not yet reaped.
pub(super) fn open_namespace(pid: u32, kind: &str) -> io::Result<File> {
    File::open(PathBuf::from(format!("/proc/{pid}/ns/{kind}")))
}

/// How a child ended. (`nix` knows no real-time signals, and loses a child that
/// one of them ended.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    status: libc::c_int,
}

impl End {
    /// Exit code as shells and container runtimes count it.
    pub(super) fn code(self) -> i32 {
        match self.signal() {
            Some(signal) => 128 + signal,
            None => libc::WEXITSTATUS(self.status),
        }
    }

    /// The signal that ended it, if one did.
    pub(super) fn signal(self) -> Option<i32> {
        libc::WIFSIGNALED(self.status).then(|| libc::WTERMSIG(self.status))
    }
}

/// A child that has ended, if there is one.
pub(super) fn reap() -> Option<(Pid, End)> {
    let mut status = 0;
    // SAFETY: `status` is an int that lives through the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then(|| (Pid::from_raw(pid), End { status }))
}

/// Sends a signal of any number, real-time ones included.
pub(super) fn send_signal(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    Errno::result(unsafe { libc::kill(pid.as_raw(), signal) })?;
    Ok(())
}

unsafe extern "C" {
    /// Start of the program text, set by the linker (end(3)).
    static __executable_start: u8;
    /// End of the program text.
    static etext: u8;
}

/// Gives back the pages of program text that were used until now. The kernel
/// maps 64 KiB around every page that is touched, so a loop that visits code all
/// over a large binary holds megabytes of it. What is needed again comes back
/// from the page cache, in some 50 µs altogether.
pub(super) fn forget_program_text() {
    const PAGE_BYTES: usize = 4096;
    let start = (&raw const __executable_start).addr() / PAGE_BYTES * PAGE_BYTES;
    let length = (&raw const etext).addr() - start;
    // SAFETY: the range is file-backed, private and never written, so its
    // pages come back as they were, this function's own among them.
    unsafe {
        let address = (&raw const __executable_start).with_addr(start);
        libc::madvise(address.cast_mut().cast(), length, libc::MADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_count_from_128() {
        // wait(2): the code in the second byte, the signal in the first.
        let end = |status| End { status };
        assert_eq!((end(3 << 8).code(), end(3 << 8).signal()), (3, None));
        assert_eq!((end(9).code(), end(9).signal()), (137, Some(9)));
        assert_eq!((end(34).code(), end(34).signal()), (162, Some(34)));
    }
}
