//! A connection to a shim.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use crate::protocol::{Reply, Request};
use crate::wire;

/// How long a connection may have to wait for room in the shim's queue.
const PATIENCE: Duration = Duration::from_secs(5);

/// One connection; every method may be cancelled without losing anything.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    input: Vec<u8>,
    fds: Vec<OwnedFd>,
    replies: VecDeque<Reply>,
}

impl Channel {
    pub(super) async fn connect(socket: &Path) -> io::Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(socket).await {
                // A full queue is an error on unix sockets, not a wait.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
                {
                    sleep(Duration::from_millis(2)).await;
                }
                other => {
                    return Ok(Self {
                        stream: other?,
                        input: Vec::new(),
                        fds: Vec::new(),
                        replies: VecDeque::new(),
                    });
                }
            }
        }
    }

    /// Sends a request, with descriptors beside it.
    pub(super) async fn send(&mut self, request: &Request, mut fds: &[RawFd]) -> io::Result<()> {
        let frame = wire::encode(request)?;
        let mut rest = &frame[..];
        while !rest.is_empty() {
            let send = || wire::send(self.stream.as_fd(), rest, fds);
            let length = self.stream.async_io(Interest::WRITABLE, send).await?;
            rest = &rest[length..];
            fds = &[];
        }
        Ok(())
    }

    /// The next reply, `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Reply>> {
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(Some(reply));
            }
            let (stream, input, fds) = (&self.stream, &mut self.input, &mut self.fds);
            let receive = || wire::receive(stream.as_fd(), input, fds);
            if stream.async_io(Interest::READABLE, receive).await? == 0 {
                return Ok(None);
            }
            while let Some(frame) = wire::take_frame(&mut self.input) {
                self.replies.push_back(serde_json::from_slice(&frame)?);
            }
        }
    }

    /// The next reply, which must come.
    pub(super) async fn expect(&mut self) -> io::Result<Reply> {
        let reply = self.next().await?;
        reply
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"))
    }

    /// A descriptor that came with a reply.
    pub(super) fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop()
    }
}
