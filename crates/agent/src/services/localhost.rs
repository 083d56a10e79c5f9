//! Task: node ports at `::1`.
//!
//! ```text
//! thread of Services ── Relays, latest wins ──► serve_localhost ── a task for each port: [::1]:30080 ──► node's own address:30080
//! ```
//!
//! Linux lets no packet from `::1` leave by another link, and IPv6 has no `route_localnet`, so what rules do for
//! 127.0.0.1 they cannot do here. A listener takes the connection and makes another one to the node's own
//! address, where the rules choose an endpoint. Nobody but processes of the node reaches `::1`. TCP and UDP;
//! a connection that is passed on like this ends with the agent, others do not.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sealane_net::Protocol;
use sealane_netlink::Netlink;
use sealane_service::{NodePortAddresses, PortChange, ServicePort, ServiceTable};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time;

/// How long to wait before a port that could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// Connections that are passed on at one time, and clients of one UDP port.
const MANY: usize = 1024;
/// How long a client of UDP may say and hear nothing: as connection tracking has it for flows with answers.
const SILENCE: Duration = Duration::from_secs(120);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;
/// Datagrams of a client that wait to be sent on.
const WAITING: usize = 64;
/// The longest datagram.
const DATAGRAM: usize = 65_535;

/// A port at `::1`.
type Port = (Protocol, u16);
/// Where what comes to a port goes.
type Relays = BTreeMap<Port, SocketAddr>;

/// Which node ports are to be served at `::1`. Written by the thread of Services.
pub struct Localhost {
    served: bool,
    wanted: watch::Sender<Arc<Relays>>,
}

impl Localhost {
    /// None at all unless `::1` is among the chosen addresses.
    pub fn new(node_ports: &NodePortAddresses) -> Self {
        Self {
            served: node_ports.has(Ipv6Addr::LOCALHOST.into(), &[]),
            wanted: watch::Sender::default(),
        }
    }

    /// Takes in all that the table has.
    pub fn reset(&self, table: &ServiceTable) {
        if self.served {
            self.publish(table.iter().filter_map(|port| relay(port)).collect());
        }
    }

    /// Takes in changes; those that change no node port cost nothing.
    pub fn update(&self, changes: &[PortChange]) {
        let relay = |port: &Option<Arc<ServicePort>>| port.as_ref().and_then(|port| relay(port));
        let both = |change: &PortChange| (relay(&change.before), relay(&change.after));
        let moved: Vec<_> = changes.iter().map(both).filter(|(a, b)| a != b).collect();
        if !self.served || moved.is_empty() {
            return;
        }
        let mut relays = (**self.wanted.borrow()).clone();
        // All that go before any that comes: a port may have gone from one Service to another.
        for (port, target) in moved.iter().filter_map(|(before, _)| *before) {
            if relays.get(&port) == Some(&target) {
                relays.remove(&port);
            }
        }
        relays.extend(moved.into_iter().filter_map(|(_, after)| after));
        self.publish(relays);
    }

    fn publish(&self, relays: Relays) {
        self.wanted.send_if_modified(|known| {
            let changed = **known != relays;
            if changed {
                *known = Arc::new(relays);
            }
            changed
        });
    }
}

/// What leads to a port's rules from `::1`.
fn relay(port: &ServicePort) -> Option<(Port, SocketAddr)> {
    let target = port.behind_localhost()?;
    Some(((port.key.protocol, target.port()), target))
}

/// A task that ends when this goes.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves what is wanted, as it comes and goes. A port that another program has is tried again.
pub async fn serve_localhost(localhost: Arc<Localhost>, kernel: Netlink) {
    let mut wanted = localhost.wanted.subscribe();
    let mut open: BTreeMap<(Port, SocketAddr), Running> = BTreeMap::new();
    let mut refused: BTreeMap<Port, String> = BTreeMap::new();
    let room = Arc::new(Semaphore::new(MANY));
    loop {
        let relays = Arc::clone(&wanted.borrow_and_update());
        let before = open.len();
        open.retain(|(port, target), _| relays.get(port) == Some(target));
        refused.retain(|port, _| relays.contains_key(port));
        if open.len() < before {
            // What was closed just now is gone when its task has ended.
            tokio::task::yield_now().await;
        }
        for (port, target) in relays.iter().map(|(port, target)| (*port, *target)) {
            if open.contains_key(&(port, target)) {
                continue;
            }
            match start(port, target, &kernel, &room) {
                Ok(running) => {
                    refused.remove(&port);
                    open.insert((port, target), running);
                }
                Err(error) => {
                    let why = error.to_string();
                    if refused.insert(port, why.clone()).as_ref() != Some(&why) {
                        let (protocol, port) = port;
                        tracing::warn!(
                            "serve node port {port}/{protocol} at [::1]: {why}; is another program on it? trying again"
                        );
                    }
                }
            }
        }
        let changed = match refused.is_empty() {
            true => wanted.changed().await,
            false => (time::timeout(AGAIN, wanted.changed()).await).unwrap_or(Ok(())),
        };
        if changed.is_err() {
            return;
        }
    }
}

fn start(
    (protocol, number): Port,
    target: SocketAddr,
    kernel: &Netlink,
    room: &Arc<Semaphore>,
) -> io::Result<Running> {
    let at = SocketAddr::from((Ipv6Addr::LOCALHOST, number));
    let within = kernel.clone();
    Ok(Running(match protocol {
        Protocol::Udp => {
            let socket = datagrams(kernel, at)?;
            tokio::spawn(pass_datagrams_on(Arc::new(socket), within, target))
        }
        _ => {
            let socket = stream_socket(kernel)?;
            socket.set_reuseaddr(true)?;
            socket.bind(at)?;
            let listener = socket.listen(BACKLOG)?;
            tokio::spawn(pass_streams_on(listener, within, target, Arc::clone(room)))
        }
    }))
}

/// In the node's network namespace.
fn stream_socket(kernel: &Netlink) -> io::Result<TcpSocket> {
    kernel.run(TcpSocket::new_v6).map_err(io::Error::other)?
}

/// In the node's network namespace.
fn datagrams(kernel: &Netlink, at: SocketAddr) -> io::Result<UdpSocket> {
    let bind = || std::net::UdpSocket::bind(at);
    let socket = kernel.run(bind).map_err(io::Error::other)??;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Connections that were taken go on when the port is closed, as those do that rules have led.
async fn pass_streams_on(
    listener: TcpListener,
    kernel: Netlink,
    target: SocketAddr,
    room: Arc<Semaphore>,
) {
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                let kernel = kernel.clone();
                tokio::spawn(async move {
                    if let Err(error) = pass_stream_on(client, &kernel, target).await {
                        tracing::debug!("pass a connection to {target} on: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("accept a connection for {target} at [::1]: {error}");
                time::sleep(AGAIN).await;
            }
        }
    }
}

async fn pass_stream_on(
    mut client: TcpStream,
    kernel: &Netlink,
    target: SocketAddr,
) -> io::Result<()> {
    let connected = match stream_socket(kernel) {
        Ok(socket) => socket.connect(target).await,
        Err(error) => Err(error),
    };
    let mut server = match connected {
        Ok(server) => server,
        Err(error) => {
            // The client hears of it by a reset, not by an end that looks like an answer.
            client.set_zero_linger()?;
            return Err(error);
        }
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// Each client has a socket of its own, so that rules take it for a flow of its own and answers find back.
async fn pass_datagrams_on(socket: Arc<UdpSocket>, kernel: Netlink, target: SocketAddr) {
    let mut clients: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An answer that nobody took is told here, once.
                tracing::debug!("receive a datagram for {target} at [::1]: {error}");
                continue;
            }
        };
        let mut datagram = buffer[..length].to_vec();
        if let Some(known) = clients.get(&client) {
            match known.try_send(datagram) {
                // Where too many wait, one is lost, as in any queue.
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => continue,
                Err(mpsc::error::TrySendError::Closed(unsent)) => datagram = unsent,
            }
        }
        clients.retain(|_, client| !client.is_closed());
        if clients.len() >= MANY {
            continue;
        }
        match connected(&kernel, target).await {
            Ok(server) => {
                let (sender, receiver) = mpsc::channel(WAITING);
                // Room for one has just been made.
                _ = sender.try_send(datagram);
                clients.insert(client, sender);
                tokio::spawn(pass_flow_on(receiver, server, Arc::clone(&socket), client));
            }
            Err(error) => tracing::debug!("pass datagrams to {target} on: {error}"),
        }
    }
}

async fn connected(kernel: &Netlink, target: SocketAddr) -> io::Result<UdpSocket> {
    let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    let socket = datagrams(kernel, any)?;
    socket.connect(target).await?;
    Ok(socket)
}

/// Between one client and an endpoint, until both are silent or the port is closed.
async fn pass_flow_on(
    mut from_client: mpsc::Receiver<Vec<u8>>,
    server: UdpSocket,
    at: Arc<UdpSocket>,
    client: SocketAddr,
) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let sent = tokio::select! {
            datagram = from_client.recv() => match datagram {
                Some(datagram) => server.send(&datagram).await,
                None => return,
            },
            answer = server.recv(&mut buffer) => match answer {
                Ok(length) => at.send_to(&buffer[..length], client).await,
                Err(error) => Err(error),
            },
            () = time::sleep(SILENCE) => return,
        };
        if let Err(error) = sent {
            tracing::debug!("pass a datagram of {client} on: {error}");
        }
    }
}
