//! What a request asks for that the one loop cannot do at once: to ask somebody
//! else, which is done on a thread that takes the connection along, and to end.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use super::http;

/// Longest wait for each step of a question.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Errand {
    /// Ask somebody, and tell what was answered.
    Dial(Dial),
    /// End this server.
    End { code: i32 },
}

/// Whom to ask what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) udp: bool,
    pub(super) request: String,
    pub(super) tries: u32,
}

impl Dial {
    /// Asks, and tells the one who waits on `stream`, to whom `earlier` is still owed.
    pub(super) fn run(&self, mut stream: TcpStream, earlier: &[u8]) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(earlier)?;
        let content = self.ask_all();
        let response = http::respond(http::OK, "application/json", &content, None, false, false);
        stream.write_all(&response)
    }

    fn ask_all(&self) -> String {
        let mut told: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for _ in 0..self.tries {
            match self.ask() {
                Ok(answer) => told.entry("responses").or_default().push(answer),
                Err(error) => told.entry("errors").or_default().push(error.to_string()),
            }
        }
        serde_json::to_string(&told).unwrap_or_default()
    }

    fn ask(&self) -> io::Result<String> {
        let mut addresses = (self.host.as_str(), self.port).to_socket_addrs()?;
        let target = addresses.next().ok_or(io::ErrorKind::NotFound)?;
        match self.udp {
            true => self.ask_by_datagram(target),
            false => self.ask_by_http(target),
        }
    }

    fn ask_by_datagram(&self, target: SocketAddr) -> io::Result<String> {
        let any: SocketAddr = match target {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(target)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(self.request.as_bytes())?;
        let mut buffer = vec![0; 64 << 10];
        let length = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// HTTP/1.0: the answer ends with the connection.
    fn ask_by_http(&self, target: SocketAddr) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (path, host) = (self.request.trim_start_matches('/'), &self.host);
        if path.contains([' ', '\r', '\n']) || host.contains(['\r', '\n']) {
            return Err(io::Error::other("request: contains white space"));
        }
        write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
        let mut bytes = Vec::new();
        stream.take(MAX_BYTES).read_to_end(&mut bytes)?;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.ok_or_else(|| io::Error::other("the answer is not HTTP"))?;
        Ok(String::from_utf8_lossy(&bytes[end + 4..]).into_owned())
    }
}
