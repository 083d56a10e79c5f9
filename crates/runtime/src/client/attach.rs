//! A container that is followed, as its caller holds it.

use std::os::fd::OwnedFd;

use super::{Channel, Shim};
use crate::error::Result;
use crate::protocol::{Reply, Request};

/// A container that is followed. Dropping it ends nothing but this.
#[derive(Debug)]
pub struct Attach {
    shim: Shim,
    channel: Channel,
    descriptor: Option<OwnedFd>,
    input: bool,
    terminal: bool,
    over: bool,
}

impl Attach {
    pub(super) fn new(shim: Shim, mut channel: Channel, input: bool, terminal: bool) -> Self {
        Self {
            descriptor: channel.take_fd(),
            shim,
            channel,
            input,
            terminal,
            over: false,
        }
    }

    /// Takes the near end of the container's input, or of its terminal.
    pub fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptor.take()
    }

    /// Whether the container wants what is written to it.
    pub fn takes_input(&self) -> bool {
        self.input
    }

    /// Whether it runs on a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Says that no more input comes: it ends if the container asked for `stdinOnce`. The
    /// caller closes its own end first.
    ///
    /// # Errors
    /// [`crate::Error::Gone`].
    pub async fn close_input(&mut self) -> Result<()> {
        let sent = self.channel.send(&Request::CloseInput, &[]).await;
        sent.map_err(|cause| self.shim.gone(cause))
    }

    /// Waits for the container's end, when all of its output has been written. May be cancelled
    /// and called again.
    ///
    /// # Errors
    /// [`crate::Error::Gone`].
    pub async fn wait(&mut self) -> Result<()> {
        while !self.over {
            let reply = self.channel.expect().await;
            self.over = matches!(reply.map_err(|cause| self.shim.gone(cause))?, Reply::Done);
        }
        Ok(())
    }
}
