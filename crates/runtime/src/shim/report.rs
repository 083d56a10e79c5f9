//! The shim's end of a child's line: has the command been executed?

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::failure::{Context, Failure};
use crate::init::{Identity, Reporter};
use crate::protocol::Reply;
use crate::wire;

/// What a child has said so far. The line ends when the command is executed or
/// the child dies.
#[derive(Debug)]
pub(super) struct Report {
    line: UnixStream,
    said: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// What came of it.
pub(super) struct Executed {
    /// As this machine sees it.
    pub(super) pid: u32,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) who: Option<Identity>,
}

/// A line with both its ends.
pub(super) fn line() -> Result<(Report, Reporter), Failure> {
    let (near, far) = UnixStream::pair().context(|| "make a socket pair".into())?;
    let report = Report {
        line: near,
        said: Vec::new(),
        fds: Vec::new(),
    };
    Ok((report, Reporter(far)))
}

impl Report {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }

    /// Reads what is there; true at the end.
    pub(super) fn read(&mut self) -> bool {
        match wire::receive(self.line.as_fd(), &mut self.said, &mut self.fds) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Reads to the end, for a child that has ended.
    pub(super) fn finish(&mut self) {
        while !self.read() {}
    }

    /// The outcome, after the end. The last word counts: a child says that it
    /// executes the command, and then, perhaps, that this failed.
    pub(super) fn outcome(mut self) -> Result<Executed, Failure> {
        let mut last = None;
        while let Some(frame) = wire::take_frame(&mut self.said) {
            last = serde_json::from_slice(&frame).ok();
        }
        match last {
            Some(Reply::ExecStarted { pid, who }) => Ok(Executed {
                pid,
                who,
                terminal: self.fds.pop(),
            }),
            Some(Reply::Failed { code, reason }) => Err(Failure { code, reason }),
            _ => Err(Failure::new("killed before the command was executed")),
        }
    }
}
