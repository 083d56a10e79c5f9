//! Connections from inside a pod's network namespace.
//!
//! A socket belongs to the namespace in which it was made, wherever it is used. So a short-lived
//! thread enters the pod's namespace and makes the sockets, and all else happens outside.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

use crate::dispatch::Directory;
use crate::server::answer::Refusal;

/// A service on the same machine answers or refuses at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// The network of a pod.
#[derive(Clone, Debug)]
pub struct PodNet {
    netns: PathBuf,
    /// `namespace/name`.
    pub pod: String,
    uid: String,
    node: String,
    addresses: Vec<IpAddr>,
}

impl PodNet {
    /// Looks for a pod.
    ///
    /// # Errors
    /// 404 when it is not on this node, 400 when it does not run.
    pub fn find(directory: &Directory, namespace: &str, name: &str) -> Result<Self, Refusal> {
        let Some(view) = directory.find(namespace, name) else {
            return Err(Refusal::not_on_this_node(namespace, name));
        };
        let view = view.borrow();
        let Some(shim) = &view.shim else {
            let message = format!(
                "unable to forward port because pod {name} is not running: it has no network"
            );
            return Err(Refusal::bad_request(message));
        };
        let status = view.desired.pod.status.as_ref();
        let listed = status.and_then(|status| status.pod_ips.as_ref());
        let listed = listed.into_iter().flatten();
        Ok(Self {
            netns: shim.netns_path(),
            pod: format!("{namespace}/{name}"),
            uid: view.desired.uid().to_owned(),
            node: view.desired.spec().node_name.clone().unwrap_or_default(),
            addresses: listed.filter_map(|listed| listed.ip.parse().ok()).collect(),
        })
    }

    /// Whether this is an address of the pod.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// Connects to a port of the pod's loopback, IPv4 first.
    ///
    /// # Errors
    /// What is wrong, in the words of a kubelet.
    pub async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let v4 = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
        let first = match self.connect_to(v4).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let second = match self.connect_to(v6).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let Self { pod, uid, node, .. } = self;
        let (first, second) = (in_words(&first), in_words(&second));
        Err(format!(
            "error forwarding port {port} to pod {pod}, uid {uid}: failed to connect to \
             localhost:{port} inside the pod's network namespace on node {node}, \
             IPv4: dial tcp4 {v4}: connect: {first} IPv6: dial tcp6 {v6}: connect: {second}"
        ))
    }

    /// Connects to an address, as the pod's own processes would.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::Inet,
            SocketAddr::V6(_) => AddressFamily::Inet6,
        };
        let (done, made) = oneshot::channel();
        let netns = self.netns.clone();
        std::thread::Builder::new()
            .name("enter-netns".into())
            .spawn(move || {
                // A caller that has gone does not want the socket.
                let _gone = done.send(make(netns, family));
            })?;
        let socket = made.await.map_err(io::Error::other)??;
        let connecting = tokio::time::timeout(PATIENCE, socket.connect(address));
        let stream = connecting.await.map_err(|_| io::ErrorKind::TimedOut)??;
        // Small pieces must not wait for acknowledgements; failing to say so only costs time.
        let _slower = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// Enters the namespace with the calling thread, which must end afterwards.
fn make(netns: PathBuf, family: AddressFamily) -> io::Result<TcpSocket> {
    let netns = File::open(netns)?;
    setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    Ok(TcpSocket::from_std_stream(std::net::TcpStream::from(
        socket,
    )))
}

/// As Go words it: without the number.
pub fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_made_elsewhere_connects_and_refusals_are_worded() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pod = PodNet {
            netns: "/proc/self/ns/net".into(),
            pod: "default/a".into(),
            uid: "u".into(),
            node: "node-1".into(),
            addresses: vec![],
        };
        pod.connect(port).await.unwrap();
        drop(listener);
        let words = pod.connect(port).await.unwrap_err();
        assert!(
            words.starts_with(&format!(
                "error forwarding port {port} to pod default/a, uid u: failed to connect to \
                 localhost:{port} inside the pod's network namespace on node node-1, IPv4: dial \
                 tcp4 127.0.0.1:{port}: connect: connection refused IPv6: dial tcp6 [::1]:{port}: "
            )),
            "{words}"
        );
    }
}
