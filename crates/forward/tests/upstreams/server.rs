//! An upstream that does what a test tells it, on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use sealane_message::{Data, Full, MAX_BYTES, Request, Section, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// One query that came.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub request: Request,
    pub client: SocketAddr,
    pub by_tcp: bool,
    /// How many connections there had been.
    pub connections: usize,
}

/// What the server does about it.
pub enum Act {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes from another port.
    SendFromElsewhere(Vec<u8>),
    /// Sends these bytes one by one, over TCP.
    SendSlowly(Vec<u8>),
    /// Closes the connection.
    Close,
}

type Script = dyn Fn(&Asked) -> Vec<Act> + Send + Sync;

/// A server that runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// With UDP and TCP.
    pub async fn start(script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::with(script, true).await
    }

    /// Connections are refused.
    pub async fn without_tcp(script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::with(script, false).await
    }

    async fn with(
        script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static,
        with_tcp: bool,
    ) -> Self {
        let (listener, socket) = sockets().await;
        let address = listener.local_addr().unwrap();
        let script: Arc<Script> = Arc::new(script);
        let log = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(udp(socket, Arc::clone(&script), Arc::clone(&log)));
        if with_tcp {
            tasks.spawn(tcp(listener, script, Arc::clone(&log)));
        }
        Self {
            address,
            log,
            _tasks: tasks,
        }
    }

    /// Queries so far, probes too.
    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }
}

/// A listener and a socket of the same port.
async fn sockets() -> (TcpListener, UdpSocket) {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        if let Ok(socket) = UdpSocket::bind(address).await {
            return (listener, socket);
        }
    }
}

/// What is done about a query, which is noted.
fn acts(asked: Asked, script: &Script, log: &Mutex<Vec<Asked>>) -> Vec<Act> {
    log.lock().unwrap().push(asked);
    script(&asked)
}

async fn udp(socket: UdpSocket, script: Arc<Script>, log: Arc<Mutex<Vec<Asked>>>) {
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let asked = Asked {
            request: Request::read(&buffer[..length]).unwrap(),
            client,
            by_tcp: false,
            connections: 0,
        };
        for act in acts(asked, &*script, &log) {
            match act {
                Act::Send(bytes) => {
                    socket.send_to(&bytes, client).await.unwrap();
                }
                Act::SendFromElsewhere(bytes) => {
                    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                    other.send_to(&bytes, client).await.unwrap();
                }
                Act::SendSlowly(_) | Act::Close => {}
            }
        }
    }
}

async fn tcp(listener: TcpListener, script: Arc<Script>, log: Arc<Mutex<Vec<Asked>>>) {
    let mut connections = JoinSet::new();
    for number in 1.. {
        let (stream, client) = listener.accept().await.unwrap();
        let (script, log) = (Arc::clone(&script), Arc::clone(&log));
        connections.spawn(async move {
            // The client may go away at any time.
            let _gone = serve(stream, client, number, &*script, &log).await;
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    client: SocketAddr,
    connections: usize,
    script: &Script,
    log: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut message = vec![0; length.into()];
        stream.read_exact(&mut message).await?;
        let asked = Asked {
            request: Request::read(&message).unwrap(),
            client,
            by_tcp: true,
            connections,
        };
        for act in acts(asked, script, log) {
            match act {
                Act::Send(bytes) | Act::SendFromElsewhere(bytes) => {
                    stream.write_all(&framed(&bytes)).await?;
                }
                Act::SendSlowly(bytes) => {
                    for byte in framed(&bytes) {
                        stream.write_all(&[byte]).await?;
                        tokio::task::yield_now().await;
                    }
                }
                Act::Close => return Ok(()),
            }
        }
    }
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}

/// A reply to `request`.
pub fn reply(
    request: &Request,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::reply(&mut bytes, request, MAX_BYTES);
    writer.set_recursion_available(true);
    write(&mut writer).unwrap();
    writer.finish();
    bytes
}

/// An address for whatever name is asked for.
pub fn address(request: &Request, address: Ipv4Addr) -> Vec<u8> {
    addresses(request, &[address])
}

/// Addresses for whatever name is asked for.
pub fn addresses(request: &Request, addresses: &[Ipv4Addr]) -> Vec<u8> {
    reply(request, |writer| {
        let name = &request.question.name;
        addresses
            .iter()
            .try_for_each(|one| writer.push(Section::Answer, name, 60, &Data::A(*one)))
    })
}
