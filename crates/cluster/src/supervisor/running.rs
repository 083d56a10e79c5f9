//! A process that the supervisor watches, whether it has started it or not.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Instant;

use nix::sys::signal::Signal;
use tokio::io::unix::AsyncFd;

use crate::process::{Identity, PidFd};

/// A watched process.
#[derive(Debug)]
pub struct Running {
    /// Who it is.
    pub identity: Identity,
    /// Since when we watch it.
    pub since: Instant,
    pidfd: AsyncFd<PidFd>,
    /// Our own child, which must be reaped; an adopted process is another's.
    child: Option<Child>,
}

impl Running {
    /// Watches a child.
    ///
    /// # Errors
    /// When the child has ended already and nothing is left to watch.
    pub fn started(child: Child) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let identity = Identity::of(pid);
        match identity.map(Self::adopted).transpose()?.flatten() {
            Some(running) => Ok(Self {
                child: Some(child),
                ..running
            }),
            None => Err(ended(child)),
        }
    }

    /// Watches a process that somebody else has started; `None` when it runs no more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn adopted(identity: Identity) -> io::Result<Option<Self>> {
        let Some(pidfd) = PidFd::open(identity)? else {
            return Ok(None);
        };
        // SAFETY: the descriptor is owned by the `PidFd`, which is never replaced
        // and lives as long as the registration.
        let pidfd = unsafe { AsyncFd::register(pidfd) }.map_err(io::Error::from)?;
        Ok(Some(Self {
            identity,
            since: Instant::now(),
            pidfd,
            child: None,
        }))
    }

    /// Waits until it has ended, and says how, as far as that can be known.
    pub async fn ended(&mut self) -> String {
        // An error would mean that the runtime is gone, and then so are we.
        _ = self.pidfd.readable().await;
        match self.child.as_mut().map(Child::wait) {
            Some(Ok(status)) => describe(status),
            _ => "ended".to_owned(),
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.pidfd.get_ref().signal(signal)
    }
}

fn ended(mut child: Child) -> io::Error {
    let how = child
        .wait()
        .map_or_else(|error| error.to_string(), describe);
    io::Error::other(format!("ended at once: {how}"))
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(Ok(signal))) => signal.to_string(),
        _ => status.to_string(),
    }
}
