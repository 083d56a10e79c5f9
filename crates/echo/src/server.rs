//! The server: HTTP, TCP and UDP on the same port number.
//!
//! ```text
//! TCP connection ── first bytes look like an HTTP request ──> HTTP: a report for each request
//!                └─ anything else ──────────────────────────> TCP: a line of report, then the bytes echoed
//! UDP datagram ─────────────────────────────────────────────> one datagram: a line of report, then the payload
//! ```

mod connection;
mod http;
mod options;
mod report;
mod sniff;
mod sockets;
mod udp;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process::ExitCode;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use connection::Connection;
use report::Identity;

/// Runs the server until it is told to end.
pub(crate) fn main(args: &[String]) -> ExitCode {
    let ports = match options::ports(args, std::env::var("PORT").ok()) {
        Ok(options::Wanted::Ports(ports)) => ports,
        Ok(options::Wanted::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("echo-server: {error}");
            return ExitCode::from(2);
        }
    };
    match Server::start(&ports).and_then(Server::serve) {
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
    listeners: HashMap<RawFd, TcpListener>,
    datagrams: HashMap<RawFd, UdpSocket>,
    connections: HashMap<RawFd, Connection>,
    spare: Option<File>,
}

impl Server {
    fn start(ports: &[u16]) -> io::Result<Self> {
        // Process 1 of a container gets no default actions: it has to listen.
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.add(Signal::SIGINT);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        sockets::allow_many();
        let mut server = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            signals,
            identity: Identity::of_this_process(),
            listeners: HashMap::new(),
            datagrams: HashMap::new(),
            connections: HashMap::new(),
            spare: File::open("/").ok(),
        };
        server.watch(&server.signals, EpollFlags::EPOLLIN)?;
        for port in ports {
            server.open(*port)?;
        }
        Ok(server)
    }

    fn open(&mut self, port: u16) -> io::Result<()> {
        let about = |e: io::Error| io::Error::new(e.kind(), format!("listen on port {port}: {e}"));
        let listener = sockets::listen(port).map_err(about)?;
        let port = listener.local_addr()?.port();
        let datagrams = sockets::bind(port).map_err(about)?;
        self.watch(&listener, EpollFlags::EPOLLIN)?;
        self.watch(&datagrams, EpollFlags::EPOLLIN)?;
        eprintln!(
            "echo-server: {} serves HTTP, TCP and UDP on port {port}",
            self.identity.name
        );
        self.listeners.insert(listener.as_raw_fd(), listener);
        self.datagrams.insert(datagrams.as_raw_fd(), datagrams);
        Ok(())
    }

    fn watch(&self, source: &(impl AsFd + AsRawFd), flags: EpollFlags) -> io::Result<()> {
        let token = source.as_raw_fd().unsigned_abs().into();
        Ok(self.epoll.add(source, EpollEvent::new(flags, token))?)
    }

    fn serve(mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            for event in &events[..count] {
                let fd = RawFd::try_from(event.data()).unwrap_or(-1);
                if fd == self.signals.as_raw_fd() {
                    return Ok(());
                }
                self.handle(fd);
            }
        }
    }

    fn handle(&mut self, fd: RawFd) {
        if self.listeners.contains_key(&fd) {
            self.accept(fd);
        } else if let Some(socket) = self.datagrams.get(&fd) {
            udp::answer_all(socket, &self.identity);
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
        let Ok(connection) = Connection::new(stream, peer) else {
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
        let over = connection.advance(&self.identity).is_err() || connection.is_over();
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
}
