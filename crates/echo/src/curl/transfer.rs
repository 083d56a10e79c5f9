//! One transfer: resolve, connect, send, receive, within the time allowed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::failure::{
    Failure, HTTP_ERROR, NO_CONNECTION, NO_SUCH_HOST, RECEIVE, SEND, TIMEOUT, WRITE, failure,
};
use super::options::{Family, Options};
use super::request::request;
use super::response::{self, Head, Source};
use super::url::Url;
use super::write_out::Facts;

/// How long curl tries to connect when nobody says.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(300);

/// Runs a transfer, noting what happened in `facts`.
pub(super) fn run(url: &Url, options: &Options, facts: &mut Facts) -> Result<(), Failure> {
    let clock = Clock {
        start: Instant::now(),
        max_time: options.max_time,
    };
    let result = try_run(url, options, &clock, facts);
    facts.total = clock.start.elapsed();
    result
}

fn try_run(url: &Url, options: &Options, clock: &Clock, facts: &mut Facts) -> Result<(), Failure> {
    let addresses = resolve(url, options, clock)?;
    facts.name_lookup = clock.start.elapsed();
    let stream = connect(url, &addresses, options, clock)?;
    facts.connect = clock.start.elapsed();
    (facts.remote, facts.local) = (stream.peer_addr().ok(), stream.local_addr().ok());
    if options.verbose {
        eprintln!(
            "* Connected to {} ({}) port {}",
            url.host,
            addresses[0].ip(),
            url.port
        );
    }
    let mut wire = Wire {
        stream,
        clock,
        received: 0,
    };
    wire.send(&request(url, options), options.verbose)?;
    let mut rest = Vec::new();
    let head = response::read_head(&mut wire, &mut rest)?;
    facts.first_byte = clock.start.elapsed();
    facts.status = head.status;
    facts.content_type.clone_from(&head.content_type);
    if options.verbose {
        trace('<', &head.text);
    }
    if options.fail && head.status >= 400 {
        let text = format!("The requested URL returned error: {}", head.status);
        return Err(failure(HTTP_ERROR, text));
    }
    receive(&mut wire, &head, rest, options, facts)
}

fn receive(
    wire: &mut Wire<'_>,
    head: &Head,
    rest: Vec<u8>,
    options: &Options,
    facts: &mut Facts,
) -> Result<(), Failure> {
    let mut output = Output::open(options)?;
    if options.include || options.head {
        output.write(&head.text)?;
    }
    if !options.head && !head.is_bare() {
        head.read_content(wire, rest, |bytes| {
            facts.size += bytes.len() as u64;
            output.write(bytes)
        })?;
    }
    output.flush()
}

struct Clock {
    start: Instant,
    max_time: Option<Duration>,
}

impl Clock {
    /// What is left of `--max-time`; an error when that is nothing.
    fn left(&self, received: u64) -> Result<Option<Duration>, Failure> {
        let Some(max_time) = self.max_time else {
            return Ok(None);
        };
        match max_time.checked_sub(self.start.elapsed()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(self.timed_out(received)),
        }
    }

    fn timed_out(&self, received: u64) -> Failure {
        let after = self.start.elapsed().as_millis();
        failure(
            TIMEOUT,
            format!(
                "Operation timed out after {after} milliseconds with {received} bytes received"
            ),
        )
    }
}

/// Resolves on a thread of its own, since the resolver knows no time limit.
fn resolve(url: &Url, options: &Options, clock: &Clock) -> Result<Vec<SocketAddr>, Failure> {
    let limit = connect_limit(options, clock)?;
    let target = (url.host.clone(), url.port);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // The receiver may have given up.
        let _ = sender.send(target.to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    });
    let resolved = receiver.recv_timeout(limit).map_err(|_| {
        let after = clock.start.elapsed().as_millis();
        failure(
            TIMEOUT,
            format!("Resolving timed out after {after} milliseconds"),
        )
    })?;
    let mut addresses = resolved.unwrap_or_default();
    addresses.retain(|address| match options.family {
        None => true,
        Some(Family::V4) => address.is_ipv4(),
        Some(Family::V6) => address.is_ipv6(),
    });
    if addresses.is_empty() {
        return Err(failure(
            NO_SUCH_HOST,
            format!("Could not resolve host: {}", url.host),
        ));
    }
    Ok(addresses)
}

fn connect_limit(options: &Options, clock: &Clock) -> Result<Duration, Failure> {
    let own = options.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
    let own = own.saturating_sub(clock.start.elapsed());
    Ok(clock.left(0)?.map_or(own, |left| left.min(own)))
}

fn connect(
    url: &Url,
    addresses: &[SocketAddr],
    options: &Options,
    clock: &Clock,
) -> Result<TcpStream, Failure> {
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for address in addresses {
        let limit = connect_limit(options, clock)?;
        if limit.is_zero() {
            break;
        }
        if options.verbose {
            eprintln!("*   Trying {address}...");
        }
        match TcpStream::connect_timeout(address, limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    let after = clock.start.elapsed().as_millis();
    if last.kind() == io::ErrorKind::TimedOut
        && connect_limit(options, clock).is_ok_and(|l| !l.is_zero())
    {
        // The kernel gave up before we did.
        let text = format!(
            "Failed to connect to {} port {} after {after} ms: {last}",
            url.host, url.port
        );
        return Err(failure(TIMEOUT, text));
    }
    if last.kind() == io::ErrorKind::TimedOut {
        return Err(failure(
            TIMEOUT,
            format!("Connection timed out after {after} milliseconds"),
        ));
    }
    let reason = reason(&last);
    Err(failure(
        NO_CONNECTION,
        format!(
            "Failed to connect to {} port {} after {after} ms: {reason}",
            url.host, url.port
        ),
    ))
}

/// The kernel's words without the number that Rust adds.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

struct Wire<'a> {
    stream: TcpStream,
    clock: &'a Clock,
    received: u64,
}

impl Wire<'_> {
    fn send(&mut self, request: &[u8], verbose: bool) -> Result<(), Failure> {
        if verbose {
            let end = request.windows(4).position(|w| w == b"\r\n\r\n");
            trace('>', &request[..end.map_or(request.len(), |end| end + 4)]);
        }
        let limit = self.clock.left(0)?;
        let sent = self.stream.set_write_timeout(limit);
        sent.and_then(|()| self.stream.write_all(request))
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => self.clock.timed_out(0),
                _ => failure(SEND, format!("Send failure: {}", reason(&error))),
            })
    }
}

impl Source for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let limit = self.clock.left(self.received)?;
        let ready = self.stream.set_read_timeout(limit);
        match ready.and_then(|()| self.stream.read(buffer)) {
            Ok(length) => {
                self.received += length as u64;
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(self.clock.timed_out(self.received))
            }
            Err(error) => Err(failure(
                RECEIVE,
                format!("Recv failure: {}", reason(&error)),
            )),
        }
    }
}

fn trace(direction: char, head: &[u8]) {
    for line in String::from_utf8_lossy(head).lines() {
        eprintln!("{direction} {line}");
    }
}

enum Output {
    Stdout(io::Stdout),
    File(File),
}

impl Output {
    fn open(options: &Options) -> Result<Self, Failure> {
        match options.output.as_deref() {
            None | Some("-") => Ok(Self::Stdout(io::stdout())),
            Some(path) => {
                let file = File::create(path);
                file.map(Self::File)
                    .map_err(|e| failure(WRITE, format!("Failure writing output to {path}: {e}")))
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match self {
            Self::Stdout(stdout) => stdout.write_all(bytes),
            Self::File(file) => file.write_all(bytes),
        };
        written.map_err(|error| write_failure(&error))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let flushed = match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file) => file.flush(),
        };
        flushed.map_err(|error| write_failure(&error))
    }
}

fn write_failure(error: &io::Error) -> Failure {
    failure(
        WRITE,
        format!("Failure writing output to destination: {error}"),
    )
}
