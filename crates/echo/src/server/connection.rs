//! One TCP connection, of HTTP or of plain bytes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use nix::sys::epoll::EpollFlags;

use super::errand::Errand;
use super::http::{self, Parsed};
use super::persona::{Answer, Around, Persona};
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
    /// What the last request asks for, which is not ours to do.
    errand: Option<Errand>,
}

/// Who answers, and as what.
#[derive(Clone, Copy)]
pub(super) struct Host<'a> {
    pub(super) identity: &'a Identity,
    pub(super) persona: &'a Persona,
    /// It was told to end: who keeps a connection is to open another one, elsewhere (RFC 9112 §9.6).
    pub(super) is_ending: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, host: Host<'_>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let greeting = host.persona.greeting(host.identity);
        Ok(Self {
            local: canonical(stream.local_addr()?),
            peer: canonical(peer),
            stream,
            speaks: match host.persona.is_mute() {
                true => Guess::Tcp,
                false => Guess::Open,
            },
            greeted: host.persona.is_mute(),
            go_ahead_given: false,
            input: Vec::new(),
            ending: greeting.is_some(),
            output: greeting.unwrap_or_default().into_bytes(),
            end_of_input: false,
            errand: None,
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// What is asked for beside an answer, once.
    pub(super) fn take_errand(&mut self) -> Option<Errand> {
        self.errand.take()
    }

    /// The connection, and what is still owed to it.
    pub(super) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.output)
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
    pub(super) fn advance(&mut self, host: Host<'_>) -> io::Result<()> {
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
            self.answer(host);
        }
    }

    fn answer(&mut self, host: Host<'_>) {
        if self.speaks == Guess::Open {
            self.speaks = match guess(&self.input) {
                Guess::Open if self.end_of_input => Guess::Tcp,
                other => other,
            };
        }
        match self.speaks {
            Guess::Open => {}
            Guess::Tcp => self.echo(host.identity),
            Guess::Http => while self.answer_request(host) {},
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
    fn answer_request(&mut self, host: Host<'_>) -> bool {
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
                let response = http::respond(status, "text/plain", &text, None, false, false);
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
                let keep_alive = keep_alive && !host.persona.closes() && !host.is_ending;
                self.ending = !keep_alive;
                self.respond(host, request, keep_alive);
                true
            }
        }
    }

    fn respond(&mut self, host: Host<'_>, request: Request, keep_alive: bool) {
        let head_only = request.method == "HEAD";
        let around = Around {
            identity: host.identity,
            local: self.local,
            peer: self.peer,
        };
        match host.persona.answer(around, request) {
            Answer::Content(content) => {
                let location = content.location.as_deref();
                let response = http::respond(
                    content.status,
                    content.kind,
                    &content.text,
                    location,
                    keep_alive,
                    head_only,
                );
                self.output.extend(response);
            }
            Answer::Errand(errand) => {
                self.errand = Some(errand);
                self.ending = true;
            }
        }
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
