//! The server: HTTP, TCP and UDP on the same port number.
//!
//! ```text
//! TCP connection ── first bytes look like an HTTP request ──> HTTP: a report for each request
//!                └─ anything else ──────────────────────────> TCP: a line of report, then the bytes echoed
//! UDP datagram ─────────────────────────────────────────────> one datagram: a line of report, then the payload
//! ```
//!
//! Started with another program's arguments it answers as that program does,
//! see [`persona`].

mod arguments;
mod connection;
mod errand;
mod http;
mod netexec;
mod persona;
mod query;
mod report;
mod sniff;
mod sockets;
mod udp;
mod wait;
mod whoami;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signalfd::SignalFd;

#[cfg(test)]
pub(crate) use arguments::NAMES;
use arguments::{Settings, Socket, Wanted};
use connection::{Connection, Host};
use errand::Errand;
use persona::Persona;
use report::Identity;

/// A question to another server needs little.
const DIAL_STACK_BYTES: usize = 256 << 10;

/// Runs the server until it is told to end, or whatever else the words ask for.
pub(crate) fn main(args: &[String]) -> ExitCode {
    let variable = ["PORT", "HTTP_PORT"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()));
    let settings = match arguments::read(args, variable.as_deref()) {
        Ok(Wanted::Serve(settings)) => settings,
        Ok(Wanted::Help) => {
            print!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Wanted::Wait(time)) => return wait::main(time),
        Ok(Wanted::Program(words)) => return crate::program(&words),
        Err(error) => {
            eprintln!("echo-server: {error}");
            return ExitCode::from(2);
        }
    };
    match Server::start(settings).and_then(Server::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo-server: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Server {
    epoll: Epoll,
    signals: SignalFd,
    identity: Identity,
    persona: Persona,
    linger: Duration,
    /// It was told to end, and lingers.
    is_ending: bool,
    listeners: HashMap<RawFd, TcpListener>,
    datagrams: HashMap<RawFd, UdpSocket>,
    connections: HashMap<RawFd, Connection>,
    spare: Option<File>,
}

impl Server {
    fn start(settings: Settings) -> io::Result<Self> {
        sockets::allow_many();
        let mut server = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            signals: wait::signals()?,
            identity: Identity::of_this_process(),
            persona: settings.persona,
            linger: settings.linger,
            is_ending: false,
            listeners: HashMap::new(),
            datagrams: HashMap::new(),
            connections: HashMap::new(),
            spare: File::open("/").ok(),
        };
        server.watch(&server.signals, EpollFlags::EPOLLIN)?;
        for note in &settings.notes {
            eprintln!("echo-server: {note}");
        }
        for socket in &settings.sockets {
            server.open(*socket)?;
        }
        Ok(server)
    }

    fn open(&mut self, socket: Socket) -> io::Result<()> {
        let mut port = socket.port;
        let about = |e: io::Error| io::Error::new(e.kind(), format!("listen on port {port}: {e}"));
        let mut protocols = Vec::new();
        if socket.tcp {
            let listener = sockets::listen(port).map_err(about)?;
            port = listener.local_addr()?.port();
            self.watch(&listener, EpollFlags::EPOLLIN)?;
            self.listeners.insert(listener.as_raw_fd(), listener);
            protocols.extend(["HTTP", "TCP"]);
        }
        if socket.udp {
            let about =
                |e: io::Error| io::Error::new(e.kind(), format!("listen on port {port}: {e}"));
            let datagrams = sockets::bind(port).map_err(about)?;
            port = datagrams.local_addr()?.port();
            self.watch(&datagrams, EpollFlags::EPOLLIN)?;
            self.datagrams.insert(datagrams.as_raw_fd(), datagrams);
            protocols.push("UDP");
        }
        let name = &self.identity.name;
        let protocols = match protocols[..] {
            [http, tcp, udp] => format!("{http}, {tcp} and {udp}"),
            _ => protocols.join(" and "),
        };
        eprintln!("echo-server: {name} serves {protocols} on port {port}");
        Ok(())
    }

    fn watch(&self, source: &(impl AsFd + AsRawFd), flags: EpollFlags) -> io::Result<()> {
        let token = source.as_raw_fd().unsigned_abs().into();
        Ok(self.epoll.add(source, EpollEvent::new(flags, token))?)
    }

    fn serve(mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 64];
        let mut end = None;
        loop {
            let Some(timeout) = time_left(end) else {
                self.answer_what_waits();
                return Ok(());
            };
            let count = match self.epoll.wait(&mut events, timeout) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            for event in &events[..count] {
                let fd = RawFd::try_from(event.data()).unwrap_or(-1);
                if fd != self.signals.as_raw_fd() {
                    self.handle(fd);
                } else if self.linger.is_zero() || end.is_some() {
                    return Ok(());
                } else {
                    // Read, so that it does not come again.
                    let _ = self.signals.read_signal();
                    end = Some(Instant::now() + self.linger);
                    self.is_ending = true;
                }
            }
        }
    }

    /// The kernel would reset connections that it has taken for us, and those with a request that nobody has read.
    fn answer_what_waits(&mut self) {
        let listeners: Vec<RawFd> = self.listeners.keys().copied().collect();
        for listener in listeners {
            self.accept(listener);
        }
        let connections: Vec<RawFd> = self.connections.keys().copied().collect();
        for connection in connections {
            self.advance(connection);
        }
    }

    fn host(&self) -> Host<'_> {
        Host {
            identity: &self.identity,
            persona: &self.persona,
            is_ending: self.is_ending,
        }
    }

    fn handle(&mut self, fd: RawFd) {
        if self.listeners.contains_key(&fd) {
            self.accept(fd);
        } else if let Some(socket) = self.datagrams.get(&fd) {
            udp::answer_all(socket, self.host());
        } else {
            self.advance(fd);
        }
    }

    fn accept(&mut self, listener: RawFd) {
        loop {
            match self.listeners.get(&listener).map(TcpListener::accept) {
                Some(Ok((stream, peer))) => self.admit(stream, peer),
                Some(Err(error)) if error.raw_os_error() == Some(libc::EMFILE) => {
                    self.turn_away(listener);
                }
                _ => return,
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Ok(connection) = Connection::new(stream, peer, self.host()) else {
            return;
        };
        if self
            .watch(connection.stream(), connection.interest())
            .is_ok()
        {
            let fd = connection.stream().as_raw_fd();
            self.connections.insert(fd, connection);
        }
    }

    /// With no descriptor left, a waiting client would wake us for ever: the
    /// spare one serves to accept it and close it.
    fn turn_away(&mut self, listener: RawFd) {
        self.spare = None;
        if let Some(listener) = self.listeners.get(&listener) {
            drop(listener.accept());
        }
        self.spare = File::open("/").ok();
    }

    /// Lets a connection read, think and write; forgets it when it is over.
    fn advance(&mut self, fd: RawFd) {
        let Some(connection) = self.connections.get_mut(&fd) else {
            return;
        };
        let before = connection.interest();
        let host = Host {
            identity: &self.identity,
            persona: &self.persona,
            is_ending: self.is_ending,
        };
        let failed = connection.advance(host).is_err();
        if let Some(errand) = connection.take_errand() {
            return self.run(fd, errand);
        }
        let over = failed || connection.is_over();
        let now = connection.interest();
        if over {
            // Closing takes it off the epoll set.
            self.connections.remove(&fd);
        } else if now != before {
            let mut event = EpollEvent::new(now, fd.unsigned_abs().into());
            // It is in the set, so this cannot fail.
            let _ = self.epoll.modify(connection.stream(), &mut event);
        }
        if self.connections.is_empty() {
            self.connections.shrink_to_fit();
        }
    }

    /// Does what a connection's request asks for beside an answer.
    fn run(&mut self, fd: RawFd, errand: Errand) {
        let dial = match errand {
            Errand::End { code } => std::process::exit(code),
            Errand::Dial(dial) => dial,
        };
        let Some(connection) = self.connections.remove(&fd) else {
            return;
        };
        let (stream, earlier) = connection.into_parts();
        // It is in the set, so this cannot fail.
        let _ = self.epoll.delete(&stream);
        // The one who asked has gone, or there is no thread: then nobody is told.
        let _ = thread::Builder::new()
            .stack_size(DIAL_STACK_BYTES)
            .spawn(move || dial.run(stream, &earlier));
    }
}

/// How long to wait for events; `None` when the time is up.
fn time_left(end: Option<Instant>) -> Option<EpollTimeout> {
    let Some(end) = end else {
        return Some(EpollTimeout::NONE);
    };
    let left = end.checked_duration_since(Instant::now())?;
    Some(EpollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX))
}
