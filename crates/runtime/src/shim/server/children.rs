//! What children tell, and how they end.

use nix::unistd::Pid;

use super::super::container::Phase;
use super::super::process::{self, End};
use super::super::records;
use super::super::report::Report;
use super::{Server, followers};
use crate::failure::Failure;
use crate::protocol::Reply;
use crate::state::ContainerState;

impl Server {
    pub(super) fn read_start_report(&mut self, pid: Pid) {
        let Some(container) = self.alive(pid) else {
            return;
        };
        let Phase::Starting { report, .. } = &mut container.phase else {
            return;
        };
        if report.read()
            && let Some((asked_by, started)) = container.settle()
        {
            self.answer_all(&asked_by, &Reply::Started(started));
        }
    }

    pub(super) fn read_exec_report(&mut self, pid: Pid) {
        let Some(exec) = self.execs.iter_mut().find(|e| e.pid == pid) else {
            return;
        };
        if exec.report.as_mut().is_some_and(|report| report.read()) {
            self.settle_exec(pid);
        }
    }

    /// The line of a command's child has ended.
    fn settle_exec(&mut self, pid: Pid) {
        let Some(exec) = self.execs.iter_mut().find(|e| e.pid == pid) else {
            return;
        };
        let (id, report) = (exec.asked_by, exec.report.take());
        match report.map(Report::outcome) {
            None => {}
            Some(Err(failure)) => self.refuse(id, failure),
            Some(Ok(executed)) => {
                let started = Reply::ExecStarted {
                    pid: executed.pid,
                    who: None,
                };
                if let Some(connection) = self.connection(id) {
                    connection.say_with(&started, executed.terminal);
                }
            }
        }
    }

    /// Takes leave of the children that have ended.
    pub(super) fn reap(&mut self) {
        while let Some((pid, end)) = process::reap() {
            self.reaped(pid, end);
        }
    }

    fn reaped(&mut self, pid: Pid, end: End) {
        if self.execs.iter().any(|e| e.pid == pid) {
            self.exec_ended(pid, end);
        } else if let Some(index) = self
            .containers
            .iter()
            .position(|c| c.pid == pid && c.is_alive())
        {
            self.container_ended(index, end);
        }
    }

    fn exec_ended(&mut self, pid: Pid, end: End) {
        for exec in self.execs.iter_mut().filter(|e| e.pid == pid) {
            if let Some(report) = &mut exec.report {
                report.finish();
            }
        }
        self.settle_exec(pid);
        if let Some(index) = self.execs.iter().position(|e| e.pid == pid) {
            let exec = self.execs.swap_remove(index);
            // After a refusal this is not read any more.
            self.answer(exec.asked_by, &Reply::ExecExited { code: end.code() });
        }
    }

    fn container_ended(&mut self, index: usize, end: End) {
        let container = &mut self.containers[index];
        if let Phase::Starting { report, .. } = &mut container.phase {
            report.finish();
        }
        let started = container.settle();
        let pid = container.pid;
        let mut listener = followers::listener(&mut self.attachers, pid);
        let ended = container.ended(&self.sandbox, end, &mut listener);
        drop(listener);
        if let Some((asked_by, started)) = started {
            self.answer_all(&asked_by, &Reply::Started(started));
        }
        self.unfollow(pid);
        match ended {
            Some(state) => self.announce(&state),
            None => self.forget_failed(index),
        }
    }

    /// A start that failed is told only now that nothing of it is left.
    fn forget_failed(&mut self, index: usize) {
        let container = self.containers.remove(index);
        if let Phase::Failed { failure, asked_by } = container.phase {
            let Failure { code, reason } = failure;
            self.answer_all(&asked_by, &Reply::Failed { code, reason });
        }
    }

    /// First the disk, then the clients.
    fn announce(&mut self, state: &ContainerState) {
        if let Err(error) = records::write(&self.sandbox.spec.dir, state) {
            eprintln!("write exit record of container {}: {error}", state.name);
        }
        let Some(exit) = state.exit.clone() else {
            return;
        };
        let exited = Reply::Exited {
            name: state.name.clone(),
            attempt: state.attempt,
            exit,
        };
        for connection in self.connections.iter_mut().filter(|c| c.subscribed) {
            connection.say(&exited);
        }
    }
}
