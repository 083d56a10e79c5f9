//! `connect`, as `agnhost connect`: can that port be reached? Network tests judge
//! by the word on standard error and the exit code.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

const HELP: &str = "\
Says nothing and exits with 0 when a connection is made, else TIMEOUT, REFUSED,
DNS or OTHER on standard error and exits with 1.

Usage: connect HOST:PORT [--timeout 5s] [--protocol tcp|udp]

UDP sends a datagram and waits for an answer.
";

/// Runs the program.
pub(crate) fn main(args: &[String]) -> ExitCode {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match parse(args).and_then(|options| options.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("{words}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    target: String,
    udp: bool,
    /// No limit when absent, as in the original.
    timeout: Option<Duration>,
}

fn parse(args: &[String]) -> Result<Options, String> {
    let (mut target, mut udp, mut timeout) = (None, false, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (arg.as_str(), None),
        };
        let mut value = || {
            let value = value.or_else(|| args.next().map(String::as_str));
            value.ok_or_else(|| format!("connect: {name} needs a value"))
        };
        match name.trim_start_matches('-') {
            "timeout" => timeout = time(value()?)?,
            "protocol" => {
                udp = match value()? {
                    "tcp" => false,
                    "udp" => true,
                    other => return Err(format!("connect: protocol {other} is not served")),
                }
            }
            _ if name.starts_with('-') => {
                return Err(format!("connect: unknown argument {arg:?}"));
            }
            _ => target = Some(arg.clone()),
        }
    }
    Ok(Options {
        target: target.ok_or("connect: HOST:PORT is missing")?,
        udp,
        timeout,
    })
}

/// `500ms`, `3s`, `1m`; 0 is no limit.
fn time(text: &str) -> Result<Option<Duration>, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("connect: timeout {text:?} is not a time")),
    };
    let seconds = digits.parse::<f64>().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds * factor).ok());
    let time = time.ok_or_else(|| format!("connect: timeout {text:?} is not a time"))?;
    Ok(Some(time).filter(|time| !time.is_zero()))
}

impl Options {
    fn run(&self) -> Result<(), String> {
        let mut addresses = self
            .target
            .to_socket_addrs()
            .map_err(|error| format!("DNS: {}: {error}", self.target))?;
        let address = addresses
            .next()
            .ok_or_else(|| format!("DNS: {}: no address", self.target))?;
        match self.udp {
            true => self.ask(address),
            false => self.connect(address),
        }
        .map_err(|error| format!("{}{error}", word(&error)))
    }

    fn connect(&self, address: SocketAddr) -> io::Result<()> {
        match self.timeout {
            Some(timeout) => TcpStream::connect_timeout(&address, timeout),
            None => TcpStream::connect(address),
        }
        .map(drop)
    }

    fn ask(&self, address: SocketAddr) -> io::Result<()> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_read_timeout(self.timeout)?;
        socket.send(b"hostname")?;
        socket.recv(&mut [0; 64]).map(drop)
    }
}

/// What a test looks for.
fn word(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "REFUSED: ",
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "TIMEOUT: ",
        _ => "OTHER: ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_the_original() {
        let read = |line: &str| {
            parse(
                &line
                    .split_whitespace()
                    .map(String::from)
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            read("10.0.0.1:80 --timeout=3s --protocol udp"),
            Ok(Options {
                target: "10.0.0.1:80".into(),
                udp: true,
                timeout: Some(Duration::from_secs(3)),
            })
        );
        for (line, words) in [
            ("", "HOST:PORT is missing"),
            ("a:1 --protocol sctp", "protocol sctp is not served"),
            ("a:1 --timeout soon", "timeout \"soon\" is not a time"),
            ("a:1 --x", "unknown argument \"--x\""),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
