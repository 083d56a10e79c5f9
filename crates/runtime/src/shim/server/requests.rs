//! What clients ask, and what is done about it.

use std::os::fd::OwnedFd;

use super::super::container::{Container, Phase};
use super::super::exec::{self, Exec};
use super::super::records;
use super::Server;
use crate::failure::Failure;
use crate::protocol::{Reply, Request, Window};
use crate::spec::{ContainerSpec, ExecSpec};
use crate::state::{ShimState, Started};

impl Server {
    pub(super) fn read_requests(&mut self, id: u64) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        connection.flush();
        for (request, fds) in connection.read() {
            if let Err(failure) = self.obey(id, request, fds) {
                self.refuse(id, failure);
            }
        }
    }

    fn obey(&mut self, id: u64, request: Request, fds: Vec<OwnedFd>) -> Result<(), Failure> {
        match request {
            Request::Start(spec) => self.start(id, &spec),
            Request::Signal { container, signal } => {
                self.signal(&container, signal)?;
                self.answer(id, &Reply::Done);
                Ok(())
            }
            Request::Exec { spec, window } => self.exec(id, &spec, window, fds),
            Request::Attach(spec) => self.attach(id, &spec, fds),
            Request::CloseInput => {
                self.close_input(id);
                Ok(())
            }
            Request::State => {
                let state = Reply::State(self.state());
                self.answer(id, &state);
                Ok(())
            }
            Request::Subscribe => {
                self.subscribe(id);
                Ok(())
            }
            Request::Shutdown => {
                self.mourners.push(id);
                self.kill_everything();
                Ok(())
            }
        }
    }

    fn start(&mut self, id: u64, spec: &ContainerSpec) -> Result<(), Failure> {
        if self.ending {
            return Err(Failure::new("the pod is being shut down"));
        }
        if let Some(answer) = self.known(id, spec) {
            return answer;
        }
        let launched = Container::launch(&self.sandbox, spec, id);
        if launched.is_err() {
            // Its cgroup, if it came that far.
            let _ = self.sandbox.container_cgroup(&spec.name).remove();
        }
        self.containers.push(launched?);
        self.forget_old(&spec.name);
        Ok(())
    }

    /// The answer, when there is a container of this name to speak of. A node
    /// process that died while it waited asks again, and must not be told that
    /// its own container is in its way.
    fn known(&mut self, id: u64, spec: &ContainerSpec) -> Option<Result<(), Failure>> {
        let same = |c: &&mut Container| c.name == spec.name;
        let container = self
            .containers
            .iter_mut()
            .filter(same)
            .find(|c| c.is_alive() || c.attempt == spec.attempt)?;
        if container.attempt != spec.attempt {
            let text = format!("attempt {} of it is running", container.attempt);
            return Some(Err(Failure::new(text)));
        }
        match &mut container.phase {
            Phase::Starting { asked_by, .. } | Phase::Failed { asked_by, .. } => asked_by.push(id),
            Phase::Running {
                host_pid,
                started_at,
            } => {
                let started = Started {
                    pid: *host_pid,
                    started_at: *started_at,
                };
                self.answer(id, &Reply::Started(started));
            }
            Phase::Exited(_) => {
                let text = format!("attempt {} of it has ended", spec.attempt);
                return Some(Err(Failure::new(text)));
            }
        }
        Some(Ok(()))
    }

    fn forget_old(&mut self, name: &str) {
        let mut surplus = self.containers.iter().filter(|c| c.name == name).count();
        surplus = surplus.saturating_sub(records::KEPT_ATTEMPTS as usize);
        self.containers.retain(|container| {
            let old = container.name == name && surplus > 0;
            surplus -= usize::from(old);
            !old
        });
    }

    fn signal(&self, name: &str, signal: i32) -> Result<(), Failure> {
        let mut all = self.containers.iter().filter(|c| c.name == name).peekable();
        if all.peek().is_none() {
            return Err(Failure::new(format!("no container {name}")));
        }
        match all.find(|c| c.is_alive()) {
            Some(container) => container.signal(signal),
            None => Ok(()),
        }
    }

    fn exec(
        &mut self,
        id: u64,
        spec: &ExecSpec,
        window: Option<Window>,
        fds: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let io = exec::io(window, fds)?;
        let name = &spec.container;
        let container = self
            .containers
            .iter()
            .find(|c| c.name == *name && c.host_pid().is_some())
            .ok_or_else(|| Failure::new(format!("container {name} is not running")))?;
        let exec = Exec::launch(&self.sandbox, container, spec, io, id)?;
        self.execs.push(exec);
        Ok(())
    }

    fn state(&self) -> ShimState {
        ShimState {
            pid: self.sandbox.pid,
            containers: self
                .containers
                .iter()
                .filter_map(Container::state)
                .collect(),
        }
    }

    fn subscribe(&mut self, id: u64) {
        let hello = Reply::Hello {
            pid: self.sandbox.pid,
            sandbox: Box::new(self.sandbox.spec.clone()),
        };
        if let Some(connection) = self.connection(id) {
            connection.subscribed = true;
            connection.say(&hello);
        }
    }
}
