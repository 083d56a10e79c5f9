//! One TCP connection, of HTTP or of plain bytes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use nix::sys::epoll::EpollFlags;

use super::http::{self, Parsed};
use super::report::{Identity, Report, Request};
use super::sniff::{Guess, guess};
use super::sockets::canonical;

/// Unsent bytes beyond which nothing more is read.
const MAX_BACKLOG_BYTES: usize = 256 << 10;

/// A connection with what has arrived and what has to go out.
pub(super) struct Connection {
    stream: TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
    speaks: Guess,
    greeted: bool,
    go_ahead_given: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    /// The peer has said its last.
    end_of_input: bool,
    /// We have said our last, once `output` is empty.
    ending: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            local: canonical(stream.local_addr()?),
            peer: canonical(peer),
            stream,
            speaks: Guess::Open,
            greeted: false,
            go_ahead_given: false,
            input: Vec::new(),
            output: Vec::new(),
            end_of_input: false,
            ending: false,
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn interest(&self) -> EpollFlags {
        let mut flags = EpollFlags::empty();
        if self.may_read() {
            flags |= EpollFlags::EPOLLIN;
        }
        if !self.output.is_empty() {
            flags |= EpollFlags::EPOLLOUT;
        }
        flags
    }

    fn may_read(&self) -> bool {
        !self.end_of_input && !self.ending && self.output.len() < MAX_BACKLOG_BYTES
    }

    pub(super) fn is_over(&self) -> bool {
        self.output.is_empty() && (self.ending || self.end_of_input)
    }

    /// Reads, answers and writes as far as it goes without waiting.
    pub(super) fn advance(&mut self, identity: &Identity) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        loop {
            self.flush()?;
            if !self.may_read() {
                return Ok(());
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => self.end_of_input = true,
                Ok(length) => self.input.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.answer(identity);
        }
    }

    fn answer(&mut self, identity: &Identity) {
        if self.speaks == Guess::Open {
            self.speaks = match guess(&self.input) {
                Guess::Open if self.end_of_input => Guess::Tcp,
                other => other,
            };
        }
        match self.speaks {
            Guess::Open => {}
            Guess::Tcp => self.echo(identity),
            Guess::Http => while self.answer_request(identity) {},
        }
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }

    fn echo(&mut self, identity: &Identity) {
        if !self.greeted && !self.input.is_empty() {
            self.greeted = true;
            let report = Report::new(identity, "tcp", self.local, self.peer, None);
            self.output.extend(report.line().into_bytes());
        }
        self.output.append(&mut self.input);
    }

    /// True if there may be another request in the input.
    fn answer_request(&mut self, identity: &Identity) -> bool {
        if self.ending || self.input.is_empty() {
            return false;
        }
        match http::parse(&self.input) {
            Parsed::Partial { expects_continue } => {
                if expects_continue && !self.go_ahead_given {
                    self.go_ahead_given = true;
                    self.output.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                false
            }
            Parsed::Bad(status) => {
                self.ending = true;
                let text = format!("{}\n", status.1);
                let response = http::respond(status, "text/plain", &text, false, false);
                self.output.extend(response);
                false
            }
            Parsed::Request {
                request,
                length,
                keep_alive,
            } => {
                self.input.drain(..length);
                self.go_ahead_given = false;
                self.ending = !keep_alive;
                let response = self.response(identity, request, keep_alive);
                self.output.extend(response);
                true
            }
        }
    }

    fn response(&self, identity: &Identity, request: Request, keep_alive: bool) -> Vec<u8> {
        const TEXT: &str = "text/plain; charset=utf-8";
        let head_only = request.method == "HEAD";
        let wants_json = wants_json(&request);
        let (path, _) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let (kind, content) = match path {
            "/hostname" => (TEXT, format!("{}\n", identity.name)),
            "/health" | "/healthz" | "/readyz" | "/livez" => (TEXT, "ok\n".to_owned()),
            _ => {
                let report = Report::new(identity, "http", self.local, self.peer, Some(request));
                if wants_json {
                    ("application/json", report.json())
                } else {
                    (TEXT, report.text())
                }
            }
        };
        http::respond(http::OK, kind, &content, keep_alive, head_only)
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(length) if length == self.output.len() => self.output = Vec::new(),
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn wants_json(request: &Request) -> bool {
    let (_, query) = request.path.split_once('?').unwrap_or_default();
    query.split('&').any(|pair| pair == "format=json")
        || request.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("accept") && value.contains("application/json")
        })
}
