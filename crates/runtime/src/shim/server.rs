//! The shim's loop: waits for children, clients and output, with one `poll`.
//!
//! Nothing in it waits for a single one of them, so a start that hangs on a
//! volume holds up no log, and a client that does not read holds up nobody.

mod children;
mod followers;
mod requests;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

use super::attach::Attacher;
use super::connection::Connection;
use super::container::{Container, Phase};
use super::exec::Exec;
use super::process;
use super::sandbox::Sandbox;
use crate::failure::{Context, Failure};
use crate::protocol::Reply;

/// Everything that the shim keeps in mind.
pub(super) struct Server {
    sandbox: Sandbox,
    listener: UnixListener,
    signals: SignalFd,
    connections: Vec<Connection>,
    next_connection: u64,
    containers: Vec<Container>,
    execs: Vec<Exec>,
    attachers: Vec<Attacher>,
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
    Follower(u64, usize),
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
pub(super) struct Listener {
    pub(super) socket: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Takes the name away, unless it is another shim's by now.
    pub(super) fn forget(&self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<u64> {
    Ok(fs::symlink_metadata(path)?.ino())
}

/// Makes the socket.
pub(super) fn listen(path: &Path) -> Result<Listener, Failure> {
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = bind(path);
    umask(before);
    let socket = bound.context(|| format!("listen on {}", path.display()))?;
    socket
        .set_nonblocking(true)
        .context(|| "listen without blocking".into())?;
    let inode = inode(path).context(|| format!("look at {}", path.display()))?;
    Ok(Listener {
        socket,
        path: path.to_owned(),
        inode,
    })
}

/// Where nobody listens, a shim has left its name that was killed just before it took it away.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path) {
            Err(nobody) if nobody.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            _ => Err(error),
        },
        bound => bound,
    }
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
            attachers: Vec::new(),
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
        self.let_read();
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
        for attacher in &self.attachers {
            for (index, fd) in attacher.waiting() {
                let source = Source::Follower(attacher.asked_by, index);
                interests.push((source, fd, PollFlags::POLLOUT));
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
            Source::Output(pid, index) => self.pump(pid, index),
            Source::Follower(id, index) => self.flush(id, index),
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
        let over = self.connections.iter().filter(|c| c.is_over());
        for id in over.map(|connection| connection.id).collect::<Vec<_>>() {
            self.detach(id);
        }
        self.connections.retain(|c| !c.is_over());
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

    fn answer_all(&mut self, ids: &[u64], reply: &Reply) {
        for id in ids {
            self.answer(*id, reply);
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if info.ssi_signo != Signal::SIGCHLD as u32 {
                self.kill_everything();
            }
        }
        self.reap();
    }

    fn kill_everything(&mut self) {
        self.ending = true;
        for container in self.containers.iter().filter(|c| c.is_alive()) {
            // One that has ended just now will be reaped as well.
            let _ = container.signal(libc::SIGKILL);
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
