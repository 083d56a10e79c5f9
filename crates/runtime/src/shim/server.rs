//! The shim's loop: waits for children, clients and output, with one `poll`.
//!
//! Nothing in it waits for a single one of them, so a start that hangs on a
//! volume holds up no log, and a client that does not read holds up nobody.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::connection::Connection;
use super::container::{Container, Phase, exit_code};
use super::exec::{self, Exec};
use super::process;
use super::records;
use super::sandbox::Sandbox;
use crate::failure::{Context, Failure};
use crate::protocol::{Reply, Request, Window};
use crate::spec::{ContainerSpec, ExecSpec};
use crate::state::{ContainerState, ShimState};
use std::os::fd::OwnedFd;

/// Everything that the shim keeps in mind.
pub(super) struct Server {
    sandbox: Sandbox,
    listener: UnixListener,
    signals: SignalFd,
    connections: Vec<Connection>,
    next_connection: u64,
    containers: Vec<Container>,
    execs: Vec<Exec>,
    /// No more starts: everything is being killed.
    ending: bool,
    /// Connections that asked for the end.
    mourners: Vec<u64>,
    /// Program text has been given back, and nothing has happened since.
    dormant: bool,
}

/// How long nothing happens before the shim gives back its program text.
const DROWSINESS_MS: u16 = 1000;

/// What a descriptor stands for.
#[derive(Clone, Copy)]
enum Source {
    Listener,
    Signals,
    Connection(u64),
    Starting(Pid),
    Executing(Pid),
    Output(Pid, usize),
}

/// Takes the signals that concern the shim off their default actions.
pub(super) fn signals() -> Result<SignalFd, Failure> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        mask.add(signal);
    }
    mask.thread_block().context(|| "block signals".into())?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&mask, flags).context(|| "listen to signals".into())
}

/// The socket that the node process finds the shim by.
pub(super) fn listen(path: &Path) -> Result<UnixListener, Failure> {
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener.context(|| format!("listen on {}", path.display()))?;
    listener
        .set_nonblocking(true)
        .context(|| "listen without blocking".into())?;
    Ok(listener)
}

impl Server {
    pub(super) fn new(sandbox: Sandbox, listener: UnixListener, signals: SignalFd) -> Self {
        Self {
            sandbox,
            listener,
            signals,
            connections: Vec::new(),
            next_connection: 1,
            containers: Vec::new(),
            execs: Vec::new(),
            ending: false,
            mourners: Vec::new(),
            dormant: false,
        }
    }

    /// Serves until the pod is to end.
    pub(super) fn serve(mut self) -> Result<(), Failure> {
        while !self.is_done() {
            for source in self.wait()? {
                self.handle(source);
            }
            self.drop_connections();
        }
        self.say_farewell();
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.ending && self.execs.is_empty() && !self.containers.iter().any(Container::is_alive)
    }

    /// The sources that have something to say; none after a while of silence.
    fn wait(&mut self) -> Result<Vec<Source>, Failure> {
        let patience = if self.dormant {
            PollTimeout::NONE
        } else {
            PollTimeout::from(DROWSINESS_MS)
        };
        let ready = self.poll(patience)?;
        self.dormant = ready.is_empty();
        if self.dormant {
            process::forget_program_text();
        }
        Ok(ready)
    }

    fn poll(&self, patience: PollTimeout) -> Result<Vec<Source>, Failure> {
        let interests = self.interests();
        let mut fds: Vec<PollFd<'_>> = interests
            .iter()
            .map(|(_, fd, flags)| PollFd::new(*fd, *flags))
            .collect();
        match poll(&mut fds, patience) {
            Err(Errno::EINTR) => return Ok(Vec::new()),
            other => other.context(|| "poll".into())?,
        };
        let ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
        Ok(interests
            .iter()
            .zip(ready)
            .filter(|(_, ready)| *ready)
            .map(|((source, ..), _)| *source)
            .collect())
    }

    fn interests(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let input = PollFlags::POLLIN;
        let mut interests = vec![
            (Source::Signals, self.signals.as_fd(), input),
            (Source::Listener, self.listener.as_fd(), input),
        ];
        for connection in &self.connections {
            let source = Source::Connection(connection.id);
            interests.push((source, connection.fd(), connection.interest()));
        }
        for exec in &self.execs {
            if let Some(report) = &exec.report {
                interests.push((Source::Executing(exec.pid), report.fd(), input));
            }
        }
        for container in &self.containers {
            if let Phase::Starting { report, .. } = &container.phase {
                interests.push((Source::Starting(container.pid), report.fd(), input));
            }
            for (index, fd) in container.output.iter().flat_map(|o| o.open_streams()) {
                interests.push((Source::Output(container.pid, index), fd, input));
            }
        }
        interests
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.take_signals(),
            Source::Connection(id) => self.read_requests(id),
            Source::Starting(pid) => self.read_start_report(pid),
            Source::Executing(pid) => self.read_exec_report(pid),
            Source::Output(pid, index) => {
                if let Some(output) = self.alive(pid).and_then(|c| c.output.as_mut()) {
                    output.pump(index);
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let id = self.next_connection;
            self.next_connection += 1;
            self.connections.push(Connection::new(id, stream));
        }
    }

    fn connection(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|c| c.id == id)
    }

    /// Process ids may come again, so only those that live are looked at.
    fn alive(&mut self, pid: Pid) -> Option<&mut Container> {
        self.containers
            .iter_mut()
            .find(|c| c.pid == pid && c.is_alive())
    }

    /// Closes what has ended; commands die with the connection that asked.
    fn drop_connections(&mut self) {
        for connection in self.connections.iter().filter(|c| c.is_over()) {
            for exec in self.execs.iter().filter(|e| e.asked_by == connection.id) {
                exec.kill();
            }
        }
        self.connections.retain(|c| !c.is_over());
    }

    fn read_requests(&mut self, id: u64) {
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

    fn refuse(&mut self, id: u64, failure: Failure) {
        if let Some(connection) = self.connection(id) {
            connection.refuse(failure.code, failure.reason);
        }
    }

    fn answer(&mut self, id: u64, reply: &Reply) {
        if let Some(connection) = self.connection(id) {
            connection.answer(reply);
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
        let mut same = self.containers.iter().filter(|c| c.name == spec.name);
        if same.any(Container::is_alive) {
            return Err(Failure::new("it is running already"));
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
        let signal = Signal::try_from(signal).context(|| format!("signal {signal}"))?;
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
            sandbox: self.sandbox.spec.clone(),
        };
        if let Some(connection) = self.connection(id) {
            connection.subscribed = true;
            connection.say(&hello);
        }
    }

    fn read_start_report(&mut self, pid: Pid) {
        let Some(container) = self.alive(pid) else {
            return;
        };
        let Phase::Starting { report, .. } = &mut container.phase else {
            return;
        };
        if report.read()
            && let Some((id, started)) = container.settle()
        {
            self.answer(id, &Reply::Started(started));
        }
    }

    fn read_exec_report(&mut self, pid: Pid) {
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
        match report.map(super::report::Report::outcome) {
            None => {}
            Some(Err(failure)) => self.refuse(id, failure),
            Some(Ok(executed)) => {
                let started = Reply::ExecStarted { pid: executed.pid };
                if let Some(connection) = self.connection(id) {
                    connection.say_with(&started, executed.terminal);
                }
            }
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if info.ssi_signo != Signal::SIGCHLD as u32 {
                self.kill_everything();
            }
        }
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status.pid() {
                Some(pid) => self.reaped(pid, status),
                None => return,
            }
        }
    }

    fn reaped(&mut self, pid: Pid, status: WaitStatus) {
        if self.execs.iter().any(|e| e.pid == pid) {
            self.exec_ended(pid, status);
        } else if let Some(index) = self
            .containers
            .iter()
            .position(|c| c.pid == pid && c.is_alive())
        {
            self.container_ended(index, status);
        }
    }

    fn exec_ended(&mut self, pid: Pid, status: WaitStatus) {
        for exec in self.execs.iter_mut().filter(|e| e.pid == pid) {
            if let Some(report) = &mut exec.report {
                report.finish();
            }
        }
        self.settle_exec(pid);
        if let Some(index) = self.execs.iter().position(|e| e.pid == pid) {
            let exec = self.execs.swap_remove(index);
            let (code, _) = exit_code(status);
            if let Some(connection) = self.connection(exec.asked_by) {
                // After a refusal this is not read any more.
                connection.answer(&Reply::ExecExited { code });
            }
        }
    }

    fn container_ended(&mut self, index: usize, status: WaitStatus) {
        let container = &mut self.containers[index];
        if let Phase::Starting { report, .. } = &mut container.phase {
            report.finish();
        }
        let started = container.settle();
        let ended = container.ended(&self.sandbox, status);
        if let Some((id, started)) = started {
            self.answer(id, &Reply::Started(started));
        }
        match ended {
            Some(state) => self.announce(&state),
            None => self.forget_failed(index),
        }
    }

    /// A start that failed is told only now that nothing of it is left.
    fn forget_failed(&mut self, index: usize) {
        let container = self.containers.remove(index);
        if let Phase::Failed { failure, asked_by } = container.phase {
            self.refuse(asked_by, failure);
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

    fn kill_everything(&mut self) {
        self.ending = true;
        for container in self.containers.iter().filter(|c| c.is_alive()) {
            // One that has ended just now will be reaped as well.
            let _ = container.signal(Signal::SIGKILL);
        }
    }

    /// The socket goes first, so that nobody finds a shim that is about to end.
    fn say_farewell(mut self) {
        let _ = std::fs::remove_file(&self.sandbox.spec.socket);
        for id in std::mem::take(&mut self.mourners) {
            self.answer(id, &Reply::Done);
        }
    }
}
