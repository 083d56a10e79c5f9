//! Those who follow a running container's output.
//!
//! The log comes first: an attacher gets a copy of what is read for it, through a pipe that is
//! written without waiting. What the pipe does not take is kept in a queue of bounded length, and
//! of that the oldest goes; the reader is told how much. So one who reads slowly, or not at all,
//! holds up neither the container nor its log, and one who reads on always gets the end of what
//! was said, a shell's prompt for example.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Pid;

use crate::failure::{Context, Failure};

/// Bytes that wait for a reader, beyond what its pipe holds.
const QUEUE_BYTES: usize = 64 << 10;

/// One who follows.
#[derive(Debug)]
pub(super) struct Attacher {
    /// The connection that asked for it, and that it ends with.
    pub(super) asked_by: u64,
    /// The first process of the container that is followed; none once it has ended.
    pub(super) follows: Option<Pid>,
    /// May write to the container's input.
    pub(super) has_input: bool,
    outlets: [Option<Outlet>; 2],
}

impl Attacher {
    /// One who gets standard output, then error output, as far as they are wanted.
    pub(super) fn new(
        asked_by: u64,
        follows: Pid,
        has_input: bool,
        wanted: [bool; 2],
        fds: Vec<OwnedFd>,
    ) -> Result<Self, Failure> {
        let count = wanted.iter().filter(|wanted| **wanted).count();
        if fds.len() != count {
            return Err(Failure::new(format!(
                "attach to {count} outputs needs as many descriptors, not {}",
                fds.len()
            )));
        }
        let mut fds = fds.into_iter();
        let mut outlets = [None, None];
        for (outlet, wanted) in outlets.iter_mut().zip(wanted) {
            if wanted && let Some(fd) = fds.next() {
                *outlet = Some(Outlet::new(fd).context(|| "write without waiting".into())?);
            }
        }
        Ok(Self {
            asked_by,
            follows: Some(follows),
            has_input,
            outlets,
        })
    }

    /// Copies what a stream has said.
    pub(super) fn copy(&mut self, index: usize, bytes: &[u8]) {
        self.with(index, |outlet| outlet.take(bytes));
    }

    /// Writes what has waited.
    pub(super) fn flush(&mut self, index: usize) {
        self.with(index, Outlet::flush);
    }

    fn with(&mut self, index: usize, act: impl FnOnce(&mut Outlet) -> io::Result<()>) {
        if let Some(outlet) = &mut self.outlets[index]
            && act(outlet).is_err()
        {
            // Nobody reads it any more.
            self.outlets[index] = None;
        }
    }

    /// The outputs for which something waits, by index.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let outlets = self.outlets.iter().enumerate();
        outlets.filter_map(|(index, outlet)| {
            let outlet = outlet.as_ref().filter(|outlet| outlet.is_waiting())?;
            Some((index, outlet.file.as_fd()))
        })
    }

    /// The container has ended, and everything has been said.
    pub(super) fn is_done(&self) -> bool {
        self.follows.is_none() && self.waiting().next().is_none()
    }
}

/// One output of an attacher.
#[derive(Debug)]
struct Outlet {
    file: File,
    queue: VecDeque<u8>,
    /// Bytes that were left out before the queue's first.
    missed: u64,
}

impl Outlet {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self {
            file: fd.into(),
            queue: VecDeque::new(),
            missed: 0,
        })
    }

    fn is_waiting(&self) -> bool {
        self.missed > 0 || !self.queue.is_empty()
    }

    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !self.is_waiting() && !bytes.is_empty() {
            match unless_full(self.file.write(bytes))? {
                Some(written) => bytes = &bytes[written..],
                None => break,
            }
        }
        self.queue.extend(bytes);
        let surplus = self.queue.len().saturating_sub(QUEUE_BYTES);
        self.queue.drain(..surplus);
        self.missed += surplus as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.is_waiting() {
            return Ok(());
        }
        if self.missed > 0 {
            // Short enough for a pipe to take the whole of it or nothing (pipe(7), PIPE_BUF).
            let notice = format!(
                "\r\n[{} bytes of output were left out here, since they were not read in time: \
                 the log has them]\r\n",
                self.missed
            );
            if unless_full(self.file.write(notice.as_bytes()))?.is_none() {
                return Ok(());
            }
            self.missed = 0;
        }
        while !self.queue.is_empty() {
            let (front, _) = self.queue.as_slices();
            match unless_full(self.file.write(front))? {
                Some(written) => drop(self.queue.drain(..written)),
                None => return Ok(()),
            }
        }
        self.queue = VecDeque::new();
        Ok(())
    }
}

/// How much was written; `None` when there is no room.
fn unless_full(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(written) => Ok(Some(written)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn attacher() -> (Attacher, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let fds = vec![writer.into()];
        let attacher = Attacher::new(1, Pid::from_raw(2), false, [true, false], fds).unwrap();
        (attacher, reader)
    }

    #[test]
    fn what_is_said_is_copied() {
        let (mut attacher, mut reader) = attacher();
        attacher.copy(0, b"one ");
        attacher.copy(1, b"not wanted ");
        attacher.copy(0, b"two");
        assert!(attacher.waiting().next().is_none());
        drop(attacher);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
    }

    #[test]
    fn a_reader_that_is_late_gets_the_end_and_is_told() {
        let (mut attacher, mut reader) = attacher();
        let line = |number: u32| format!("line {number:06}\n");
        let total = 40_000;
        for number in 0..total {
            attacher.copy(0, line(number).as_bytes());
        }
        let Some(Outlet { queue, missed, .. }) = &attacher.outlets[0] else {
            panic!("the outlet is open");
        };
        assert_eq!(queue.len(), QUEUE_BYTES);
        let missed = *missed;
        attacher.follows = None;
        assert!(!attacher.is_done(), "there is more to say");
        let mut text = vec![];
        let mut chunk = [0; 4096];
        while !attacher.is_done() {
            let count = reader.read(&mut chunk).unwrap();
            text.extend_from_slice(&chunk[..count]);
            attacher.flush(0);
        }
        drop(attacher);
        reader.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (before, after) = text.split_once("\r\n[").unwrap();
        let (notice, after) = after.split_once("]\r\n").unwrap();
        assert!(notice.starts_with(&format!("{missed} bytes")), "{notice}");
        assert!(before.starts_with(&line(0)) && after.ends_with(&line(total - 1)));
        let said = u64::from(total) * line(0).len() as u64;
        assert_eq!(before.len() as u64 + missed + after.len() as u64, said);
    }

    #[test]
    fn one_who_has_gone_is_written_to_no_more() {
        let (mut attacher, reader) = attacher();
        drop(reader);
        attacher.copy(0, b"anybody?");
        assert!(attacher.outlets[0].is_none());
        attacher.follows = None;
        assert!(attacher.is_done());
    }

    #[test]
    fn descriptors_are_as_many_as_outputs() {
        let error = Attacher::new(1, Pid::from_raw(2), false, [true, true], vec![]).unwrap_err();
        assert_eq!(
            error.reason,
            "attach to 2 outputs needs as many descriptors, not 0"
        );
    }
}
