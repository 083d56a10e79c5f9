//! Output on its way to those who follow, and the end of their input.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::super::attach::Attacher;
use super::super::container::Container;
use super::Server;
use crate::failure::{Context, Failure};
use crate::protocol::Reply;
use crate::spec::AttachSpec;

/// How long the shim waits with its end for those who follow and do not read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Copies what the container with this first process says to all who follow it.
pub(super) fn listener(attachers: &mut [Attacher], pid: Pid) -> impl FnMut(usize, &[u8]) {
    move |index, bytes| {
        for attacher in attachers.iter_mut().filter(|a| a.follows == Some(pid)) {
            attacher.copy(index, bytes);
        }
    }
}

impl Server {
    /// Reads what a container has said.
    pub(super) fn pump(&mut self, pid: Pid, index: usize) {
        let mut living = self.containers.iter_mut().filter(|c| c.is_alive());
        let container = living.find(|container| container.pid == pid);
        if let Some(output) = container.and_then(|container| container.output.as_mut()) {
            output.pump(index, &mut listener(&mut self.attachers, pid));
        }
    }

    /// Somebody wants to follow a container.
    pub(super) fn attach(
        &mut self,
        id: u64,
        spec: &AttachSpec,
        fds: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let name = &spec.container;
        let container = self
            .containers
            .iter()
            .find(|c| c.name == *name && c.host_pid().is_some())
            .ok_or_else(|| Failure::new(format!("container {name} is not running")))?;
        let input = spec.stdin && container.takes_input();
        // Whoever looks at a terminal says how large it is.
        let shared = container.input.as_ref().filter(|_| input || container.tty);
        let shared = shared.map(|input| input.fd.try_clone()).transpose();
        let shared = shared.context(|| "share the container's input".into())?;
        let wanted = [spec.stdout, spec.stderr];
        let attached = Reply::Attached {
            input,
            terminal: container.tty,
        };
        let attacher = Attacher::new(id, container.pid, input, wanted, fds)?;
        self.attachers.push(attacher);
        if let Some(connection) = self.connection(id) {
            connection.say_with(&attached, shared);
        }
        Ok(())
    }

    /// One who follows has read something.
    pub(super) fn flush(&mut self, id: u64, index: usize) {
        for attacher in self.attachers.iter_mut().filter(|a| a.asked_by == id) {
            attacher.flush(index);
        }
        self.dismiss();
    }

    /// A container has ended: those who follow it are told once they have all of its output.
    pub(super) fn unfollow(&mut self, pid: Pid) {
        for attacher in self.attachers.iter_mut().filter(|a| a.follows == Some(pid)) {
            attacher.follows = None;
        }
        self.dismiss();
    }

    fn dismiss(&mut self) {
        let done = self.attachers.extract_if(.., |attacher| attacher.is_done());
        for id in done.map(|attacher| attacher.asked_by).collect::<Vec<_>>() {
            self.answer(id, &Reply::Done);
        }
    }

    /// Before the end: those who follow get what waits for them, unless they do not read.
    pub(super) fn let_read(&mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let waiting = self.attachers.iter().flat_map(Attacher::waiting);
            let mut fds: Vec<_> = waiting
                .map(|(_, fd)| PollFd::new(fd, PollFlags::POLLOUT))
                .collect();
            let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            if fds.is_empty() || poll(&mut fds, patience) == Ok(0) {
                return;
            }
            for attacher in &mut self.attachers {
                (0..2).for_each(|index| attacher.flush(index));
            }
        }
    }

    /// One who follows has no more input.
    pub(super) fn close_input(&mut self, id: u64) {
        for attacher in self.attachers.iter_mut().filter(|a| a.asked_by == id) {
            if std::mem::take(&mut attacher.has_input)
                && let Some(pid) = attacher.follows
            {
                end_input(&mut self.containers, pid);
            }
        }
    }

    /// One who followed has gone.
    pub(super) fn detach(&mut self, id: u64) {
        self.close_input(id);
        self.attachers.retain(|attacher| attacher.asked_by != id);
    }
}

/// Ends the input of a container if it was for one session alone (`stdinOnce`).
fn end_input(containers: &mut [Container], pid: Pid) {
    let mut living = containers.iter_mut().filter(|c| c.is_alive());
    if let Some(container) = living.find(|container| container.pid == pid)
        && container.input.as_ref().is_some_and(|input| input.once)
    {
        container.input = None;
    }
}
