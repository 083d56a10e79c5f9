//! Sockets for every address of both families.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind as bind_socket,
    listen as start_listening, setsockopt, socket, sockopt,
};

/// A listening socket on every address.
pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = wildcard(SockType::Stream, port)?;
    start_listening(&socket, Backlog::MAXCONN)?;
    Ok(TcpListener::from(socket))
}

/// A datagram socket on every address, which says where each datagram went to.
pub(super) fn bind(port: u16) -> io::Result<UdpSocket> {
    let socket = wildcard(SockType::Datagram, port)?;
    let socket = UdpSocket::from(socket);
    if socket.local_addr()?.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    Ok(socket)
}

/// Both families, or IPv4 alone where the kernel has no IPv6.
fn wildcard(kind: SockType, port: u16) -> io::Result<OwnedFd> {
    match open(kind, Ipv6Addr::UNSPECIFIED.into(), port) {
        Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => {
            Ok(open(kind, Ipv4Addr::UNSPECIFIED.into(), port)?)
        }
        other => Ok(other?),
    }
}

fn open(kind: SockType, address: IpAddr, port: u16) -> Result<OwnedFd, Errno> {
    let family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, kind, flags, None)?;
    if kind == SockType::Stream {
        // On UDP it would let two servers share the port.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    if family == AddressFamily::Inet6 {
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    let address = SockaddrStorage::from(SocketAddr::new(address, port));
    bind_socket(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

/// As many connections as the machine allows.
pub(super) fn allow_many() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // The soft limit may always be raised to the hard one.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The address as people write it: IPv4 stays IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
