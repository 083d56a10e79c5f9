//! A command that runs in a container, as its caller holds it.

use std::os::fd::OwnedFd;

use super::{Channel, Shim};
use crate::error::Result;
use crate::protocol::Reply;

/// Standard input, output and error of a command.
#[derive(Debug)]
pub enum ExecIo {
    /// Three descriptors of the caller, for example ends of pipes.
    Fds([OwnedFd; 3]),
    /// A terminal of the container's own; its near end comes back in
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
pub struct Exec {
    shim: Shim,
    channel: Channel,
    pid: u32,
    terminal: Option<OwnedFd>,
    code: Option<i32>,
}

impl Exec {
    pub(super) fn new(shim: Shim, mut channel: Channel, pid: u32) -> Self {
        Self {
            terminal: channel.take_fd(),
            shim,
            channel,
            pid,
            code: None,
        }
    }

    /// Process id, as this machine sees it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Takes the near end of the terminal: read output, write input, resize
    /// with `TIOCSWINSZ`. A read fails with EIO once the far end is closed.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Waits for the command's exit code, 128 plus the signal if one ended it.
    /// May be cancelled and called again.
    ///
    /// # Errors
    /// [`crate::Error::Gone`].
    pub async fn wait(&mut self) -> Result<i32> {
        while self.code.is_none() {
            let reply = self.channel.expect().await;
            if let Reply::ExecExited { code } = reply.map_err(|cause| self.shim.gone(cause))? {
                self.code = Some(code);
            }
        }
        Ok(self.code.unwrap_or_default())
    }
}
