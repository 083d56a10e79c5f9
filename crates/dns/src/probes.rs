//! `health` and `ready` of the Corefile: where probes look whether names are answered.
//!
//! | plugin | path | 200 |
//! |---|---|---|
//! | `health` | `/health` | as long as the process works |
//! | `ready` | `/ready` | as soon as it knows the cluster |
//!
//! CoreDNS has a network of its own and may take port 8080 of every address. Here the node's
//! network is everybody's, so an address without a host (`:8080`) is that port of the addresses
//! where names are answered, and of no other. What cannot be bound is told, and tried again.
//!
//! A process that takes over listens beside the one that ends (`SO_REUSEPORT`), so a probe is never
//! refused.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use sealane_introspect::{Introspect, Served};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{task::JoinHandle, time};

use crate::configure::Live;

/// How often it is looked whether the Corefile has changed, and a port has become free.
const INTERVAL: Duration = Duration::from_secs(1);
const BACKLOG: i32 = 16;

/// Answers probes until this is dropped.
#[derive(Debug)]
pub struct Probes {
    task: JoinHandle<()>,
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers probes where the Corefile in force says. Must be called in a tokio runtime.
///
/// `addresses` are those that names are answered at; what is told is `introspect`'s.
#[must_use]
pub fn start(live: Arc<ArcSwap<Live>>, addresses: Vec<IpAddr>, introspect: &Introspect) -> Probes {
    let mut listening = Listening {
        introspect: introspect.clone(),
        addresses,
        served: HashMap::new(),
        failed: BTreeSet::new(),
    };
    let task = tokio::spawn(async move {
        let mut interval = time::interval(INTERVAL);
        loop {
            interval.tick().await;
            listening.follow(&live.load());
        }
    });
    Probes { task }
}

struct Listening {
    introspect: Introspect,
    addresses: Vec<IpAddr>,
    served: HashMap<SocketAddr, Served>,
    /// What has been told to fail.
    failed: BTreeSet<String>,
}

impl Listening {
    fn follow(&mut self, live: &Live) {
        let blocks = live.blocks.iter().map(|block| &block.server);
        let texts = blocks.flat_map(|server| {
            let health = server.health.as_ref().map(|health| &health.address);
            health.into_iter().chain(&server.ready)
        });
        let texts: BTreeSet<&String> = texts.collect();
        let mut wanted = BTreeSet::new();
        for text in texts {
            match sockets(text, &self.addresses) {
                Some(sockets) => wanted.extend(sockets),
                None => self.tell(format!(
                    "answer probes at {text}: write an IP address and a port, or a port alone as :8080"
                )),
            }
        }
        self.served.retain(|at, _| wanted.contains(at));
        for at in wanted {
            if !self.served.contains_key(&at) {
                self.listen(at);
            }
        }
    }

    fn listen(&mut self, at: SocketAddr) {
        let served = listener(at)
            .map_err(|error| error.to_string())
            .and_then(|listener| {
                let served = self.introspect.serve_tcp_on(listener);
                served.map_err(|error| error.to_string())
            });
        match served {
            Ok(served) => {
                self.served.insert(at, served);
            }
            Err(error) => self.tell(format!(
                "answer probes at {at}: {error}; change health or ready of the Corefile, or free the port"
            )),
        }
    }

    /// Once.
    fn tell(&mut self, fault: String) {
        if !self.failed.contains(&fault) {
            tracing::warn!("{fault}");
            self.failed.insert(fault);
        }
    }
}

/// What an address of the Corefile stands for.
fn sockets(text: &str, own: &[IpAddr]) -> Option<Vec<SocketAddr>> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let hosts = match host.trim_matches(['[', ']']) {
        "" => own.to_vec(),
        "localhost" => vec![IpAddr::from([127, 0, 0, 1])],
        host => vec![host.parse().ok()?],
    };
    Some(hosts.into_iter().map(|host| (host, port).into()).collect())
}

fn listener(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_host_is_that_of_the_names() {
        let own = ["10.96.0.10", "fd94::53"].map(|text| text.parse().unwrap());
        let shown = |text: &str| {
            let found = sockets(text, &own)?;
            Some(found.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let list = |all: &[&str]| Some(all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(
            shown(":8080"),
            list(&["10.96.0.10:8080", "[fd94::53]:8080"])
        );
        assert_eq!(shown("127.0.0.1:81"), list(&["127.0.0.1:81"]));
        assert_eq!(shown("[::1]:81"), list(&["[::1]:81"]));
        assert_eq!(shown("localhost:81"), list(&["127.0.0.1:81"]));
        assert_eq!(shown("eth0:81"), None);
        assert_eq!(shown("8080"), None);
    }
}
