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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn sleeping() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[tokio::test]
    async fn a_child_is_reaped_and_its_end_described() {
        let mut running = Running::started(sleeping()).unwrap();
        running.signal(Signal::SIGKILL).unwrap();
        assert_eq!(running.ended().await, "SIGKILL");
        assert!(!running.identity.is_alive());
        running.signal(Signal::SIGKILL).unwrap();
    }

    #[tokio::test]
    async fn a_child_that_has_ended_already_says_how() {
        let child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        while Identity::of(pid).is_some() {
            tokio::task::yield_now().await;
        }
        let error = Running::started(child).unwrap_err().to_string();
        assert_eq!(error, "ended at once: exit code 3");
    }

    #[tokio::test]
    async fn another_ones_process_is_watched_without_being_reaped() {
        let mut child = sleeping();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        let mut running = Running::adopted(identity).unwrap().unwrap();
        child.kill().unwrap();
        assert_eq!(running.ended().await, "ended");
        child.wait().unwrap();
        assert!(Running::adopted(identity).unwrap().is_none());
    }
}
