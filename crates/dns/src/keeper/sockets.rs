//! The sockets, by what they are for: made once, and handed from process to process.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::str::FromStr;

use anyhow::Context;
use nix::sys::socket::{setsockopt, sockopt};
use sealane_net::names;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::options::Settings;

/// Room for questions while nobody reads: those of a second or more, until the next worker is ready.
const WAITING_BYTES: usize = 4 << 20;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Questions in datagrams.
    Udp(SocketAddr),
    /// Questions in connections.
    Tcp(SocketAddr),
    /// `/healthz`, `/readyz`, `/metrics`.
    Health(SocketAddr),
    /// State, on a unix socket.
    Debug,
    /// Where a newer process asks for the sockets.
    Control,
    /// A worker writes a byte into it when it answers. Not handed on.
    Ready,
    /// Ends when the keeper does. Not handed on.
    Life,
    /// The folder in which a worker keeps what it knows. Not handed on.
    State,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(at) => write!(f, "udp/{at}"),
            Self::Tcp(at) => write!(f, "tcp/{at}"),
            Self::Health(at) => write!(f, "health/{at}"),
            Self::Debug => write!(f, "debug"),
            Self::Control => write!(f, "control"),
            Self::Ready => write!(f, "ready"),
            Self::Life => write!(f, "life"),
            Self::State => write!(f, "state"),
        }
    }
}

impl FromStr for Purpose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || format!("{text:?} is no socket of a DNS server");
        let (kind, at) = text.split_once('/').unwrap_or((text, ""));
        let at = || at.parse().map_err(|_| unknown());
        Ok(match kind {
            "udp" => Self::Udp(at()?),
            "tcp" => Self::Tcp(at()?),
            "health" => Self::Health(at()?),
            "debug" => Self::Debug,
            "control" => Self::Control,
            "ready" => Self::Ready,
            "life" => Self::Life,
            "state" => Self::State,
            _ => return Err(unknown()),
        })
    }
}

/// A descriptor that a worker finds open, and what it is for: `udp/10.96.0.10:53=5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// What it is for.
    pub purpose: Purpose,
    /// Its number.
    pub fd: RawFd,
}

impl fmt::Display for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.purpose, self.fd)
    }
}

impl FromStr for Inherited {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no inherited socket");
        let (purpose, fd) = text.rsplit_once('=').ok_or_else(wrong)?;
        Ok(Self {
            purpose: purpose.parse()?,
            fd: fd.parse().map_err(|_| wrong())?,
        })
    }
}

/// The sockets that are handed on.
#[derive(Debug, Default)]
pub struct Sockets(Vec<(Purpose, OwnedFd)>);

impl Sockets {
    /// What another process had of them.
    pub fn taken(sockets: Vec<(Purpose, OwnedFd)>) -> Self {
        Self(sockets)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Purpose, BorrowedFd<'_>)> {
        self.0.iter().map(|(purpose, fd)| (*purpose, fd.as_fd()))
    }

    /// One of them.
    pub fn get(&self, purpose: Purpose) -> Option<BorrowedFd<'_>> {
        let mut all = self.iter();
        all.find(|(other, _)| *other == purpose).map(|(_, fd)| fd)
    }

    /// Makes those that are missing, and closes those that the settings do not ask for.
    ///
    /// # Errors
    /// Names the address that cannot be listened on, and who may have it.
    pub fn complete(&mut self, settings: &Settings) -> anyhow::Result<()> {
        let wanted = wanted(settings);
        self.0.retain(|(purpose, _)| wanted.contains(purpose));
        for purpose in wanted {
            if self.get(purpose).is_some() {
                continue;
            }
            match open(purpose, settings) {
                Ok(socket) => self.0.push((purpose, socket)),
                Err(error) if matches!(purpose, Purpose::Health(_)) => {
                    tracing::warn!("{error:#}; health and metrics are on the debug socket alone");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn wanted(settings: &Settings) -> Vec<Purpose> {
    let mut wanted = vec![Purpose::Control, Purpose::Debug];
    wanted.extend(
        settings
            .health_port
            .map(|port| Purpose::Health(everywhere(port))),
    );
    for address in &settings.addresses {
        let at = SocketAddr::new(*address, names::DNS_PORT);
        wanted.extend([Purpose::Udp(at), Purpose::Tcp(at)]);
    }
    wanted
}

/// Both families with one socket, where the kernel has both.
fn everywhere(port: u16) -> SocketAddr {
    let has_ipv6 = std::path::Path::new("/proc/net/if_inet6").exists();
    let address = match has_ipv6 {
        true => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        false => Ipv4Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(address, port)
}

fn open(purpose: Purpose, settings: &Settings) -> anyhow::Result<OwnedFd> {
    let unix = |path: std::path::PathBuf| {
        let bound = sealane_introspect::bind_unix(&path);
        let bound = bound.with_context(|| format!("listen on {}", path.display()));
        bound.map(OwnedFd::from)
    };
    match purpose {
        Purpose::Udp(at) => bind(at, Type::DGRAM, Protocol::UDP).with_context(|| taken("udp", at)),
        Purpose::Tcp(at) => bind(at, Type::STREAM, Protocol::TCP).with_context(|| taken("tcp", at)),
        Purpose::Health(at) => bind(at, Type::STREAM, Protocol::TCP)
            .with_context(|| format!("listen on {at} for health and metrics (--health-port)")),
        Purpose::Debug => unix(settings.debug_socket()),
        Purpose::Control => unix(settings.control_socket()),
        Purpose::Ready | Purpose::Life | Purpose::State => {
            anyhow::bail!("{purpose} is made for one worker")
        }
    }
}

fn taken(transport: &str, at: SocketAddr) -> String {
    format!(
        "listen on {transport} {at}; if it is in use, another DNS server of this node listens on all its \
         addresses (`ss -lnp sport = :53` shows it)"
    )
}

/// Also where the address is not there yet: it comes once somebody answers.
fn bind(at: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(at), kind, Some(protocol))?;
    match at.ip() {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(ip) => {
            socket.set_only_v6(!ip.is_unspecified())?;
            socket.set_freebind_v6(true)?;
        }
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    } else if setsockopt(&socket, sockopt::RcvBufForce, &WAITING_BYTES).is_err() {
        // As much as an ordinary process may have.
        socket.set_recv_buffer_size(WAITING_BYTES)?;
    }
    socket.bind(&SockAddr::from(at))?;
    if kind == Type::STREAM {
        socket.listen(BACKLOG)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_is_told_is_what_it_understands() {
        let at = |text: &str| text.parse().unwrap();
        for purpose in [
            Purpose::Udp(at("10.96.0.10:53")),
            Purpose::Tcp(at("[fd94::53]:53")),
            Purpose::Health(at("[::]:9153")),
            Purpose::Debug,
            Purpose::Control,
            Purpose::Ready,
            Purpose::Life,
            Purpose::State,
        ] {
            let told = Inherited { purpose, fd: 7 };
            assert_eq!(told.to_string().parse(), Ok(told));
        }
        for wrong in ["udp/10.96.0.10=5", "udp/10.96.0.10:53", "tls=5", "debug=x"] {
            assert!(wrong.parse::<Inherited>().is_err(), "{wrong}");
        }
    }
}
