//! One question by one datagram.
//!
//! Each question has a socket of its own, so that a forger has to guess its port anew each time; the kernel
//! chooses it at random among those that are for this (`net.ipv4.ip_local_port_range`), and so takes no port
//! that is reserved or serves somebody. The socket is connected: datagrams of others never reach it, and a
//! closed port is told at once.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::Reception;

/// Longer ones are cut off, and asked for by TCP: more than we ever say that we take.
const LONGEST: usize = 2048;

/// Datagrams that are looked at for one question: a flood of lies does not keep us busy for ever.
const MOST_DATAGRAMS: usize = 1000;

/// Sends `message`, and gives what comes to `receive` until that is content.
pub async fn ask<T>(
    address: SocketAddr,
    message: &[u8],
    mut receive: impl FnMut(&[u8]) -> Reception<T>,
) -> io::Result<T> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    socket.send(message).await?;
    let mut buffer = vec![0; LONGEST];
    for _ in 0..MOST_DATAGRAMS {
        let length = socket.recv(&mut buffer).await?;
        if let Reception::Done(what) = receive(&buffer[..length]) {
            return Ok(what);
        }
    }
    let what = format!("{MOST_DATAGRAMS} datagrams came, and none was the reply");
    Err(io::Error::other(what))
}

/// Whether a datagram may have been cut off.
pub fn is_cut(datagram: &[u8]) -> bool {
    datagram.len() == LONGEST
}
