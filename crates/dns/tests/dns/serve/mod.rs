//! Queries in, replies out, over loopback.

mod connections;
mod datagrams;
mod drain;
mod hostile;
mod limits;

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

use sealane_dns::serve::{Answering, Ask, Serving, Settings, Sockets, Tag, Verdict, start};
use sealane_message::{
    Data, Edns, Kind, Name, Question, Rcode, Record, Records, Request, Section, Writer,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{self, TcpStream},
    sync::Semaphore,
    time::timeout,
};

/// Nothing in these tests takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// `here.test` is known, `later.test` has to be looked up, `many.test` has 100 addresses,
/// `big.test` has 60 kB of text, and nothing else is there.
#[derive(Clone)]
struct Stub {
    /// A lookup ends when it gets one.
    found: Arc<Semaphore>,
}

impl Answering for Stub {
    type Wanted = ();
    type Got = ();

    fn answer(&self, ask: &Ask, got: &[()], writer: &mut Writer<'_>) -> Verdict<()> {
        let name = &ask.request.question.name;
        let text = [&[250][..], &[b'x'; 250]].concat();
        let (count, data) = match name.labels().next() {
            Some(b"here") => (1, Data::A(Ipv4Addr::new(10, 0, 0, 1))),
            Some(b"later") if got.is_empty() => return Verdict::Wanted(()),
            Some(b"later") => (1, Data::A(Ipv4Addr::new(10, 0, 0, 2))),
            Some(b"many") => (100, Data::A(Ipv4Addr::new(10, 0, 0, 3))),
            Some(b"big") => (230, Data::Other(Kind::TXT, &text)),
            Some(b"silent") => return Verdict::Silent,
            _ => {
                writer.set_rcode(Rcode::NXDOMAIN);
                return Verdict::Done(Tag::default());
            }
        };
        for _ in 0..count {
            if writer.push(Section::Answer, name, 5, &data).is_err() {
                break;
            }
        }
        Verdict::Done(Tag::default())
    }

    fn look_up(&self, (): ()) -> impl Future<Output = ()> + Send {
        let found = Arc::clone(&self.found);
        async move { found.acquire().await.unwrap().forget() }
    }
}

/// A server with the stub behind it.
struct Server {
    serving: Serving,
    stub: Stub,
    sockets: Sockets,
    at: SocketAddr,
}

fn settings() -> Settings {
    Settings {
        identity: "node-1".into(),
        ..Settings::default()
    }
}

impl Server {
    /// Serves `bind`, datagrams and connections at the same port.
    fn start(bind: &str, settings: &Settings) -> Self {
        let (tcp, udp) = same_port(bind);
        let at = tcp.local_addr().unwrap();
        let sockets = Sockets {
            udp: vec![udp],
            tcp: vec![tcp],
        };
        let stub = Stub {
            found: Arc::new(Semaphore::new(0)),
        };
        Self {
            serving: start(copy(&sockets), settings, stub.clone()).unwrap(),
            stub,
            sockets,
            at,
        }
    }
}

/// A listener, and a socket for datagrams at its port, which somebody else may have.
fn same_port(bind: &str) -> (TcpListener, UdpSocket) {
    let tries = std::iter::repeat_with(|| {
        let tcp = TcpListener::bind(bind).unwrap();
        let udp = UdpSocket::bind(tcp.local_addr().unwrap()).ok()?;
        Some((tcp, udp))
    });
    tries
        .take(100)
        .flatten()
        .next()
        .expect("a port that nobody has")
}

/// The same sockets once more, as another process would get them.
fn copy(sockets: &Sockets) -> Sockets {
    Sockets {
        udp: sockets
            .udp
            .iter()
            .map(|socket| socket.try_clone().unwrap())
            .collect(),
        tcp: sockets
            .tcp
            .iter()
            .map(|socket| socket.try_clone().unwrap())
            .collect(),
    }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn query(id: u16, text: &str, kind: Kind) -> Vec<u8> {
    let mut bytes = Vec::new();
    Request::new(id, Question::new(name(text), kind)).write(&mut bytes);
    bytes
}

fn query_with_edns(id: u16, text: &str, kind: Kind, udp_bytes: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let edns = Some(Edns {
        udp_bytes,
        dnssec_ok: false,
    });
    let request = Request::new(id, Question::new(name(text), kind));
    Request { edns, ..request }.write(&mut bytes);
    bytes
}

/// A client with datagrams.
pub struct Udp(net::UdpSocket);

impl Udp {
    pub async fn new(from: &str, to: SocketAddr) -> Self {
        let socket = net::UdpSocket::bind(from).await.unwrap();
        socket.connect(to).await.unwrap();
        Self(socket)
    }

    async fn send(&self, message: &[u8]) {
        // Unread datagrams of before make an error here and there, which is the point of UDP.
        let _maybe = self.0.send(message).await;
    }

    async fn receive(&self) -> Vec<u8> {
        let mut bytes = vec![0; 65536];
        let length = timeout(PATIENCE, self.0.recv(&mut bytes))
            .await
            .expect("a reply")
            .unwrap();
        bytes.truncate(length);
        bytes
    }

    pub async fn ask(&self, message: &[u8]) -> Vec<u8> {
        self.send(message).await;
        self.receive().await
    }
}

/// A client with a connection.
struct Tcp(TcpStream);

impl Tcp {
    async fn new(to: SocketAddr) -> Self {
        Self(TcpStream::connect(to).await.unwrap())
    }

    async fn send(&mut self, messages: &[Vec<u8>]) {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend_from_slice(&(message.len() as u16).to_be_bytes());
            bytes.extend_from_slice(message);
        }
        self.0.write_all(&bytes).await.unwrap();
    }

    async fn receive(&mut self) -> Vec<u8> {
        let read = async {
            let length = self.0.read_u16().await?;
            let mut bytes = vec![0; usize::from(length)];
            self.0.read_exact(&mut bytes).await?;
            std::io::Result::Ok(bytes)
        };
        timeout(PATIENCE, read)
            .await
            .expect("a reply")
            .expect("a whole reply")
    }

    /// Until the server has closed it; what came before.
    async fn rest(&mut self) -> usize {
        let mut bytes = Vec::new();
        // A reset is an end, too.
        let _either = timeout(PATIENCE, self.0.read_to_end(&mut bytes))
            .await
            .expect("an end");
        bytes.len()
    }
}

fn id(reply: &[u8]) -> u16 {
    u16::from_be_bytes([reply[0], reply[1]])
}

fn rcode(reply: &[u8]) -> Rcode {
    Rcode(u16::from(reply[3] & 0xF))
}

fn is_truncated(reply: &[u8]) -> bool {
    reply[2] & 2 != 0
}

fn records(reply: &[u8]) -> Vec<Record<'_>> {
    Records::of(reply)
        .unwrap()
        .map(|record| record.unwrap())
        .collect()
}
