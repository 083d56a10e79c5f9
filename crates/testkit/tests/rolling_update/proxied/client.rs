//! A client of a Service, who takes note of every request that fails.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sealane_testkit::SOON;

/// What clients got.
#[derive(Debug, Default)]
pub struct Served {
    /// Requests that were answered.
    pub requests: u64,
    /// Who answered.
    pub pods: BTreeSet<String>,
    /// The others.
    pub failures: Vec<Failure>,
}

impl Served {
    /// Adds what another client got.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.pods.extend(other.pods);
        self.failures.extend(other.failures);
    }
}

/// A request that failed.
#[derive(Debug)]
pub struct Failure {
    /// When that was known.
    pub at: Instant,
    /// In words.
    pub what: String,
}

/// Whom a client asks, and how.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// The Service.
    pub to: SocketAddr,
    /// From the beginning of one request to that of the next.
    pub pace: Duration,
    /// How long a connection is used, unless the server says before that it is to be closed.
    pub kept: Duration,
}

/// Asks until it is told to stop.
pub fn ask_on(manner: Manner, stop: &AtomicBool) -> Served {
    let mut served = Served::default();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let mut current = match connection.take() {
            Some(current) => Ok(current),
            None => Connection::open(manner.to),
        };
        let answer = match &mut current {
            Ok(current) => current.ask(),
            Err(error) => Err(io::Error::new(error.kind(), format!("connect: {error}"))),
        };
        match (answer, current) {
            (Ok(answer), Ok(current)) => {
                served.requests += 1;
                served.pods.insert(answer.pod.clone());
                if !answer.closes && current.since.elapsed() < manner.kept {
                    connection = Some(Connection {
                        pod: answer.pod,
                        ..current
                    });
                }
            }
            (Err(error), current) => served.failures.push(Failure {
                at: Instant::now(),
                what: match current {
                    Ok(current) => format!("{current}, asked {:.1?} ago: {error}", begun.elapsed()),
                    Err(_) => format!("{}, asked {:.1?} ago: {error}", manner.to, begun.elapsed()),
                },
            }),
            (Ok(_), Err(_)) => unreachable!("nobody answers without a connection"),
        }
        std::thread::sleep(manner.pace.saturating_sub(begun.elapsed()));
    }
    served
}

/// An answer.
struct Answer {
    pod: String,
    /// Whoever wants more is to open another connection.
    closes: bool,
}

/// A connection, and who is at its end as soon as that has answered.
struct Connection {
    stream: BufReader<TcpStream>,
    since: Instant,
    pod: String,
}

impl std::fmt::Display for Connection {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stream = self.stream.get_ref();
        let pod = match self.pod.as_str() {
            "" => "somebody",
            pod => pod,
        };
        let age = self.since.elapsed();
        write!(to, "{:?} to {pod} for {age:.1?}", stream.local_addr())
    }
}

impl Connection {
    fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            since: Instant::now(),
            pod: String::new(),
        })
    }

    fn ask(&mut self) -> io::Result<Answer> {
        let request = b"GET /hostname HTTP/1.1\r\nHost: web\r\n\r\n";
        self.stream.get_mut().write_all(request)?;
        let (mut length, mut closes) = (0, false);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            match line.to_lowercase().split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().unwrap(),
                Some(("connection", value)) => closes = value.trim() == "close",
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let pod = String::from_utf8_lossy(&body).trim().to_owned();
        Ok(Answer { pod, closes })
    }
}
