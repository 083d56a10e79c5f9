//! The node process's side: create or adopt a shim, and ask things of it.
//!
//! A [`Shim`] is a handle with one task behind it, which listens to the shim's
//! news. Requests have a connection each (see `crate::protocol`), so they run
//! side by side, and dropping the future of one forgets only its answer.
//!
//! ```text
//! Shim ──owns──> task: reads Exited … from its connection, then waits for the
//!   │             shim's process to end (pidfd) and says Gone
//!   └─ events() ─ unbounded queue for each receiver: one message for each exit
//!                 of a container, so a receiver that does not read holds up
//!                 nobody and costs little
//! ```

mod attach;
mod channel;
mod exec;
mod launch;
mod leftovers;
mod watch;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::image::Image;
use crate::protocol::{Reply, Request, Window};
use crate::secrets;
use crate::spec::{AttachSpec, ContainerSpec, ExecSpec, SandboxSpec};
use crate::state::{ShimEvent, ShimState, Started};

pub use attach::Attach;
use channel::Channel;
pub use exec::{Exec, ExecIo};
pub use launch::{Launcher, create};
pub use leftovers::{cleanup, reset};
use watch::Watch;

/// Takes over a running shim, after a restart of the node process.
///
/// # Errors
/// [`Error::Adopt`] when nothing answers: the shim is dead, see [`cleanup`].
pub async fn adopt(socket: &Path) -> Result<Shim> {
    Shim::connect(socket).await.map_err(|cause| Error::Adopt {
        socket: socket.to_owned(),
        cause,
    })
}

/// A handle of a running shim. Cheap to clone; dropping it stops nothing.
#[derive(Debug, Clone)]
pub struct Shim {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    spec: SandboxSpec,
    pid: u32,
    watch: Watch,
}

impl Shim {
    /// The shim that answers on `socket`.
    async fn connect(socket: &Path) -> io::Result<Self> {
        let mut news = Channel::connect(socket).await?;
        news.send(&Request::Subscribe, &[]).await?;
        let Reply::Hello { pid, sandbox } = news.expect().await? else {
            return Err(unexpected());
        };
        let watch = Watch::start(pid, news)?;
        Ok(Self {
            inner: Arc::new(Inner {
                spec: *sandbox,
                pid,
                watch,
            }),
        })
    }

    /// Process id of the shim.
    pub fn pid(&self) -> u32 {
        self.inner.pid
    }

    /// The sandbox as it was asked for.
    pub fn spec(&self) -> &SandboxSpec {
        &self.inner.spec
    }

    /// The pod's network namespace: `/proc/PID/ns/net`.
    pub fn netns_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.inner.pid))
    }

    /// Starts a container; returns when its command has been executed. What a
    /// container of `sealane.io/host` must not see is looked up and added.
    ///
    /// # Errors
    /// [`Error::Start`] with the reason, [`Error::Gone`].
    pub async fn start(&self, spec: &ContainerSpec) -> Result<Started> {
        let mut spec = spec.clone();
        if let Image::Host { hide } = &mut spec.image {
            hide.extend(self.secrets(&spec.name).await?);
        }
        let container = spec.name.clone();
        match self.ask(&Request::Start(Box::new(spec)), &[]).await? {
            Reply::Started(started) => Ok(started),
            Reply::Failed { code, reason } => Err(self.start_error(container, code, reason)),
            _ => Err(self.gone(unexpected())),
        }
    }

    async fn secrets(&self, container: &str) -> Result<Vec<PathBuf>> {
        let found = tokio::task::spawn_blocking(secrets::find).await;
        let found = found.map_err(io::Error::other).and_then(|result| result);
        found.map_err(|cause| {
            let reason = format!("look for secrets in this machine's settings: {cause}");
            self.start_error(container.to_owned(), crate::failure::OTHER, reason)
        })
    }

    fn start_error(&self, container: String, code: i32, reason: String) -> Error {
        Error::Start {
            pod: self.spec().pod(),
            container,
            code,
            reason,
        }
    }

    /// Sends a signal to the first process of a container. A container that
    /// does not run any more is success.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Gone`].
    pub async fn signal(&self, container: &str, signal: i32) -> Result<()> {
        let request = Request::Signal {
            container: container.to_owned(),
            signal,
        };
        match self.ask(&request, &[]).await? {
            Reply::Done => Ok(()),
            other => Err(self.refused("send a signal", other)),
        }
    }

    /// Runs a further command in a running container.
    ///
    /// # Errors
    /// [`Error::Exec`] with code 127 or 126 in the runtime's usual words when
    /// the command cannot be executed, [`Error::Gone`].
    pub async fn exec(&self, spec: &ExecSpec, io: ExecIo) -> Result<Exec> {
        let (window, fds) = match &io {
            ExecIo::Terminal { rows, columns } => {
                let (rows, columns) = (*rows, *columns);
                (Some(Window { rows, columns }), Vec::new())
            }
            ExecIo::Fds(fds) => (None, fds.iter().map(AsRawFd::as_raw_fd).collect()),
        };
        let request = Request::Exec {
            spec: spec.clone(),
            window,
        };
        let mut channel = self.send(&request, &fds).await?;
        // Ours would keep pipes open that the command has closed.
        drop(io);
        match channel.expect().await.map_err(|cause| self.gone(cause))? {
            Reply::ExecStarted { pid, .. } => Ok(Exec::new(self.clone(), channel, pid)),
            Reply::Failed { code, reason } => Err(Error::Exec {
                pod: self.spec().pod(),
                container: spec.container.clone(),
                code,
                reason,
            }),
            _ => Err(self.gone(unexpected())),
        }
    }

    /// Follows a running container from now on. `outputs` are the ends to write its output to, in
    /// the order standard output, error output, as far as `spec` wants them: what they do not
    /// take in time is left out, and said so.
    ///
    /// # Errors
    /// [`Error::Refused`] when it does not run, [`Error::Gone`].
    pub async fn attach(&self, spec: &AttachSpec, outputs: Vec<OwnedFd>) -> Result<Attach> {
        let fds: Vec<_> = outputs.iter().map(AsRawFd::as_raw_fd).collect();
        let mut channel = self.send(&Request::Attach(spec.clone()), &fds).await?;
        // Ours would keep pipes open that the shim has closed.
        drop(outputs);
        match channel.expect().await.map_err(|cause| self.gone(cause))? {
            Reply::Attached { input, terminal } => {
                Ok(Attach::new(self.clone(), channel, input, terminal))
            }
            other => Err(self.refused("attach", other)),
        }
    }

    /// All containers, with everything that was missed.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub async fn state(&self) -> Result<ShimState> {
        match self.ask(&Request::State, &[]).await? {
            Reply::State(state) => Ok(state),
            other => Err(self.refused("tell the state", other)),
        }
    }

    /// News from now on. Subscribe first, then ask for the state, and nothing
    /// is missed. Ends with [`ShimEvent::Gone`].
    pub fn events(&self) -> mpsc::UnboundedReceiver<ShimEvent> {
        self.inner.watch.events()
    }

    /// Ends the pod: SIGTERM to each container, SIGKILL after `grace`, then
    /// its cgroups and socket are removed. The directory stays, with logs and
    /// exit records. Returns when the shim's process has ended; one that is
    /// gone already is success.
    ///
    /// # Errors
    /// [`Error::Cleanup`], [`Error::Refused`].
    pub async fn shutdown(&self, grace: Duration) -> Result<()> {
        // Whatever goes wrong while asking nicely ends with SIGKILL.
        let _ = timeout(grace, self.terminate()).await;
        match self.ask(&Request::Shutdown, &[]).await {
            Ok(Reply::Done) | Err(Error::Gone { .. }) => {}
            Ok(other) => return Err(self.refused("shut down", other)),
            Err(error) => return Err(error),
        }
        self.inner.watch.gone().await;
        leftovers::reset_async(self.spec().clone()).await
    }

    /// Asks every running container to end, and waits until all have.
    async fn terminate(&self) -> Result<()> {
        let mut events = self.events();
        let state = self.state().await?;
        let mut running: Vec<_> = state
            .containers
            .iter()
            .filter(|container| container.exit.is_none())
            .map(|container| container.name.clone())
            .collect();
        for name in &running {
            self.signal(name, libc::SIGTERM).await?;
        }
        while !running.is_empty() {
            match events.recv().await {
                Some(ShimEvent::Exited { name, .. }) => running.retain(|other| *other != name),
                Some(ShimEvent::Gone) | None => break,
            }
        }
        Ok(())
    }

    /// One request, one answer.
    async fn ask(&self, request: &Request, fds: &[RawFd]) -> Result<Reply> {
        let mut channel = self.send(request, fds).await?;
        channel.expect().await.map_err(|cause| self.gone(cause))
    }

    async fn send(&self, request: &Request, fds: &[RawFd]) -> Result<Channel> {
        let gone = |cause| self.gone(cause);
        let mut channel = Channel::connect(&self.spec().socket).await.map_err(gone)?;
        channel.send(request, fds).await.map_err(gone)?;
        Ok(channel)
    }

    fn gone(&self, cause: io::Error) -> Error {
        Error::Gone {
            pod: self.spec().pod(),
            pid: self.pid(),
            cause,
        }
    }

    fn refused(&self, request: &'static str, reply: Reply) -> Error {
        let reason = match reply {
            Reply::Failed { reason, .. } => reason,
            _ => unexpected().to_string(),
        };
        Error::Refused {
            pod: self.spec().pod(),
            request,
            reason,
        }
    }
}

fn unexpected() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the shim gave an answer that does not fit the question",
    )
}
