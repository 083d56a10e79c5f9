//! One client of the shim.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::poll::PollFlags;

use crate::protocol::{MAX_FRAME_BYTES, Reply, Request};
use crate::wire;

/// A connection, with what has arrived and what has to go out.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: u64,
    stream: UnixStream,
    input: Vec<u8>,
    fds: Vec<OwnedFd>,
    output: Vec<u8>,
    /// Goes out with the first byte of `output`.
    output_fd: Option<OwnedFd>,
    /// Wants to hear of exits.
    pub(super) subscribed: bool,
    /// To be closed once `output` is empty.
    ending: bool,
    closed: bool,
}

impl Connection {
    pub(super) fn new(id: u64, stream: UnixStream) -> Self {
        Self {
            id,
            stream,
            input: Vec::new(),
            fds: Vec::new(),
            output: Vec::new(),
            output_fd: None,
            subscribed: false,
            ending: false,
            closed: false,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(super) fn interest(&self) -> PollFlags {
        if self.output.is_empty() {
            PollFlags::POLLIN
        } else {
            PollFlags::POLLIN | PollFlags::POLLOUT
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.closed || (self.ending && self.output.is_empty())
    }

    /// Reads what is there; the requests in it, with descriptors that came along.
    pub(super) fn read(&mut self) -> Vec<(Request, Vec<OwnedFd>)> {
        match wire::receive(self.stream.as_fd(), &mut self.input, &mut self.fds) {
            Ok(0) => self.closed = true,
            Ok(_) if self.input.len() > MAX_FRAME_BYTES => self.closed = true,
            Ok(_) => return self.requests(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.closed = true,
        }
        Vec::new()
    }

    fn requests(&mut self) -> Vec<(Request, Vec<OwnedFd>)> {
        let mut requests = Vec::new();
        while let Some(frame) = wire::take_frame(&mut self.input) {
            match serde_json::from_slice(&frame) {
                Ok(request) => requests.push((request, std::mem::take(&mut self.fds))),
                Err(error) => self.refuse(128, format!("malformed request: {error}")),
            }
        }
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        requests
    }

    /// Says something, and goes on.
    pub(super) fn say(&mut self, reply: &Reply) {
        self.say_with(reply, None);
    }

    /// Says something with a descriptor beside it, and goes on.
    pub(super) fn say_with(&mut self, reply: &Reply, fd: Option<OwnedFd>) {
        match wire::encode(reply) {
            Ok(frame) => self.output.extend(frame),
            Err(_) => self.closed = true,
        }
        if fd.is_some() {
            self.output_fd = fd;
        }
        self.flush();
    }

    /// Says something as the last thing.
    pub(super) fn answer(&mut self, reply: &Reply) {
        self.ending = true;
        self.say(reply);
    }

    pub(super) fn refuse(&mut self, code: i32, reason: String) {
        self.answer(&Reply::Failed { code, reason });
    }

    /// Writes as much as the socket takes.
    pub(super) fn flush(&mut self) {
        while !self.output.is_empty() && !self.closed {
            let fds: Vec<_> = self.output_fd.iter().map(AsRawFd::as_raw_fd).collect();
            match wire::send(self.stream.as_fd(), &self.output, &fds) {
                Ok(length) => {
                    self.output.drain(..length);
                    self.output_fd = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.closed = true,
            }
        }
        self.output = Vec::new();
    }
}
