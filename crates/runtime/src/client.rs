//! The node process's side: create or adopt a shim, and ask things of it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::spec::{ContainerSpec, ExecSpec, SandboxSpec};
use crate::state::{ShimEvent, ShimState, Started};

/// Which program is started as a shim, as `PROGRAM shim …`.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// Path of the program.
    pub program: PathBuf,
}

impl Launcher {
    /// The running program itself.
    pub fn current() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
        }
    }

    /// Makes the sandbox: starts a detached shim, and returns when its
    /// namespaces exist and its socket answers. Leftovers of a dead shim of
    /// the same pod are removed first, logs and exit records kept.
    ///
    /// # Errors
    /// [`Error::Create`], with the shim's own words.
    pub async fn create(&self, spec: &SandboxSpec) -> Result<Shim> {
        Err(Error::Create {
            pod: spec.pod(),
            reason: "not there yet".into(),
        })
    }
}

/// [`Launcher::create`] with the running program.
///
/// # Errors
/// [`Error::Create`], with the shim's own words.
pub async fn create(spec: &SandboxSpec) -> Result<Shim> {
    Launcher::current().create(spec).await
}

/// Takes over a running shim, after a restart of the node process.
///
/// # Errors
/// [`Error::Adopt`] when nothing answers: the shim is dead, see [`cleanup`].
pub async fn adopt(socket: &Path) -> Result<Shim> {
    Err(Error::Adopt {
        socket: socket.to_owned(),
        cause: std::io::ErrorKind::Unsupported.into(),
    })
}

/// Removes everything that a dead (or dying) shim left: processes in its
/// cgroup, the cgroup, socket, and its directory with logs and exit records.
/// Blocking, but short. "Already absent" is success.
///
/// # Errors
/// [`Error::Cleanup`] after everything was tried.
pub fn cleanup(spec: &SandboxSpec) -> Result<()> {
    reset(spec)
}

/// As [`cleanup`], but keeps the directory, for the pod's next sandbox.
///
/// # Errors
/// [`Error::Cleanup`] after everything was tried.
pub fn reset(spec: &SandboxSpec) -> Result<()> {
    Err(Error::Cleanup {
        pod: spec.pod(),
        reason: "not there yet".into(),
    })
}

/// A handle of a running shim. Cheap to clone; dropping it stops nothing.
#[derive(Debug, Clone)]
pub struct Shim {}

impl Shim {
    /// Process id of the shim.
    pub fn pid(&self) -> u32 {
        0
    }

    /// The sandbox as it was asked for.
    pub fn spec(&self) -> &SandboxSpec {
        unimplemented!()
    }

    /// The pod's network namespace: `/proc/PID/ns/net`.
    pub fn netns_path(&self) -> PathBuf {
        PathBuf::new()
    }

    /// Starts a container; returns when its command has been executed.
    ///
    /// # Errors
    /// [`Error::Start`] with the reason, [`Error::Gone`].
    pub async fn start(&self, spec: &ContainerSpec) -> Result<Started> {
        let _ = spec;
        unimplemented!()
    }

    /// Sends a signal to the first process of a container. A container that
    /// does not run is success.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Gone`].
    pub async fn signal(&self, container: &str, signal: i32) -> Result<()> {
        let _ = (container, signal);
        unimplemented!()
    }

    /// Runs a further command in a running container.
    ///
    /// # Errors
    /// [`Error::Exec`] with code 127 or 126 in the runtime's usual words when
    /// the command cannot be executed, [`Error::Gone`].
    pub async fn exec(&self, spec: &ExecSpec, io: ExecIo) -> Result<Exec> {
        let _ = (spec, io);
        unimplemented!()
    }

    /// All containers, with everything that was missed.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub async fn state(&self) -> Result<ShimState> {
        unimplemented!()
    }

    /// News from now on. Subscribe first, then ask for the state, and nothing
    /// is missed. Ends with [`ShimEvent::Gone`].
    pub fn events(&self) -> mpsc::UnboundedReceiver<ShimEvent> {
        mpsc::unbounded_channel().1
    }

    /// Ends the pod: SIGTERM to each container, SIGKILL after `grace`, then
    /// the shim removes its cgroups and socket and exits. The directory stays.
    /// Returns when the shim has ended; a shim that is gone is success.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn shutdown(&self, grace: Duration) -> Result<()> {
        let _ = grace;
        unimplemented!()
    }
}

/// Standard input, output and error of an [`Shim::exec`].
#[derive(Debug)]
pub enum ExecIo {
    /// Three descriptors of the caller; they should be pipes or files.
    Fds([OwnedFd; 3]),
    /// A terminal of the container's own; its other end comes back in
    /// [`Exec::terminal`].
    Terminal {
        /// Rows of the window.
        rows: u16,
        /// Columns of the window.
        columns: u16,
    },
}

/// A command that runs in a container. Dropping it kills the command.
#[derive(Debug)]
pub struct Exec {}

impl Exec {
    /// Process id, as this machine sees it.
    pub fn pid(&self) -> u32 {
        0
    }

    /// Takes the near end of the terminal: read output, write input, resize
    /// with `TIOCSWINSZ`. Read fails with EIO once the far end is closed.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        None
    }

    /// Waits for the command's exit code, 128 plus the signal if one ended it.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub async fn wait(&mut self) -> Result<i32> {
        unimplemented!()
    }
}
