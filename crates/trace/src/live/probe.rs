//! The packet that is sent: a TCP connection that is closed at once, or a UDP datagram.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sealane_net::Protocol;
use sealane_netlink::Sign;
use socket2::{Domain, Socket, Type};

/// A SYN is sent again after a second; who does not answer that either does not answer.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Most that take datagrams give no answer.
const PATIENCE_UDP: Duration = Duration::from_millis(300);

/// A socket that is bound and has sent nothing yet.
pub(crate) struct Probe {
    socket: Socket,
    pub target: SocketAddr,
    pub sign: Sign,
    pub source: SocketAddr,
}

/// What the sender was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Somebody took it and answered.
    Answered,
    /// Nobody listens there, or a rule says so.
    Refused,
    /// Nothing.
    Silence,
    /// An error of its own kernel or of a node on the way.
    Failed(String),
}

impl Probe {
    /// Binds in the namespace of the calling thread.
    pub fn open(source: SocketAddr, target: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        let random = uuid::Uuid::new_v4().into_bytes();
        let (kind, sign) = match protocol {
            Protocol::Udp => (Type::DGRAM, Sign::Token(random)),
            _ => (Type::STREAM, Sign::SegmentSize(unusual(random[0]))),
        };
        let socket = Socket::new(Domain::for_address(target), kind, None)?;
        if let Sign::SegmentSize(size) = sign {
            socket.set_tcp_mss(size.into())?;
            // Closed at once, without a word more than RST.
            socket.set_linger(Some(Duration::ZERO))?;
        }
        socket.bind(&source.into())?;
        let bound = socket.local_addr()?.as_socket();
        Ok(Self {
            socket,
            target,
            sign,
            source: bound.unwrap_or(source),
        })
    }

    /// Sends, and waits for what comes of it.
    pub fn send(&self) -> (Told, Duration) {
        let begun = Instant::now();
        let told = match self.sign {
            Sign::SegmentSize(_) => self.connect(),
            Sign::Token(token) => self.ask(&token),
        };
        let told = told.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Told::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Told::Silence,
            _ => Told::Failed(words(&error)),
        });
        (told, begun.elapsed())
    }

    fn connect(&self) -> io::Result<Told> {
        self.socket.connect_timeout(&self.target.into(), PATIENCE)?;
        Ok(Told::Answered)
    }

    fn ask(&self, token: &[u8]) -> io::Result<Told> {
        let socket = UdpSocket::from(self.socket.try_clone()?);
        socket.connect(self.target)?;
        socket.send(token)?;
        socket.set_read_timeout(Some(PATIENCE_UDP))?;
        socket.recv(&mut [0; 1])?;
        Ok(Told::Answered)
    }
}

/// A segment size that nobody else asks for: odd, above IPv6's least and below what links of a cluster carry.
fn unusual(random: u8) -> u16 {
    1221 + 2 * u16::from(random % 50)
}

fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}
