//! A descriptor of one process: the only way to signal or await it for sure.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::Identity;

/// An open process. Readable once the process has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens the process with this identity; `None` when it runs no more.
    ///
    /// # Errors
    /// When the kernel refuses a descriptor.
    pub fn open(identity: Identity) -> io::Result<Option<Self>> {
        // SAFETY: pidfd_open takes two integers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, identity.pid, 0) };
        match Errno::result(fd) {
            Ok(fd) => {
                let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
                // SAFETY: the kernel has just given us this descriptor, and to nobody else.
                let opened = Self(unsafe { OwnedFd::from_raw_fd(fd) });
                // From here on the descriptor means one process; is it the right one?
                Ok(identity.is_alive().then_some(opened))
            }
            Err(Errno::ESRCH) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends a signal; a process that has ended already is success.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // SAFETY: the descriptor is open, and a null siginfo asks for the default one.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal as libc::c_int,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        match Errno::result(sent) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until the process has ended; returns whether it has.
    pub fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(
                &mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)],
                timeout,
            ) {
                Ok(0) | Err(Errno::EINTR) if left.is_zero() => return false,
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_signalled_and_awaited() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        let pidfd = PidFd::open(identity).unwrap().unwrap();
        assert!(!pidfd.wait(Duration::from_millis(1)));
        let stranger = Identity {
            start_time: identity.start_time + 1,
            ..identity
        };
        assert!(PidFd::open(stranger).unwrap().is_none());
        pidfd.signal(Signal::SIGKILL).unwrap();
        assert!(pidfd.wait(Duration::from_secs(5)));
        child.wait().unwrap();
        assert!(PidFd::open(identity).unwrap().is_none());
        pidfd.signal(Signal::SIGKILL).unwrap();
    }
}
