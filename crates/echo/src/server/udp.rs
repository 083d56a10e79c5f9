//! Datagrams. The answer leaves from the address that was asked, which the
//! kernel would otherwise choose anew: behind a Service or on a node with many
//! addresses, a peer would not know an answer from another address.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
};

use super::connection::Host;
use super::persona::Around;
use super::report::Report;
use super::sockets::canonical;

/// Largest payload of a datagram over IPv4.
const MAX_BYTES: usize = 65_507;

/// Answers every datagram that waits.
pub(super) fn answer_all(socket: &UdpSocket, host: Host<'_>) {
    let mut buffer = vec![0; MAX_BYTES];
    while answer(socket, host, &mut buffer).is_some() {}
}

/// Where the kernel says that a datagram was sent to.
#[derive(Clone, Copy)]
enum Asked {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

fn answer(socket: &UdpSocket, host: Host<'_>, buffer: &mut [u8]) -> Option<()> {
    let fd = socket.as_raw_fd();
    let port = socket.local_addr().ok()?.port();
    let (length, from, asked) = {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo);
        let mut space = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(fd, &mut space, Some(&mut control), flags).ok()?;
        let asked = message.cmsgs().ok()?.find_map(|message| match message {
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(Asked::V6(info)),
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Asked::V4(info)),
            _ => None,
        });
        (message.bytes, message.address?, asked)
    };
    let local = canonical(SocketAddr::new(
        asked.as_ref().map_or(NOWHERE, Asked::address),
        port,
    ));
    let peer = canonical(socket_address(&from)?);
    let around = Around {
        identity: host.identity,
        local,
        peer,
    };
    let (first, payload) = match host.persona.datagram(around, &buffer[..length]) {
        Some(answer) => (answer, &[][..]),
        None => {
            let report = Report::new(host.identity, "udp", local, peer, None).line();
            let payload = &buffer[..length.min(MAX_BYTES - report.len())];
            (report.into_bytes(), payload)
        }
    };
    let parts = [IoSlice::new(&first), IoSlice::new(payload)];
    let source = asked.map(Asked::as_source);
    let control = match &source {
        Some(Asked::V6(info)) => vec![ControlMessage::Ipv6PacketInfo(info)],
        Some(Asked::V4(info)) => vec![ControlMessage::Ipv4PacketInfo(info)],
        None => Vec::new(),
    };
    // A peer that went away, or an answer that is too long for the way back:
    // datagrams get lost.
    let _ = sendmsg(fd, &parts, &control, MsgFlags::MSG_DONTWAIT, Some(&from));
    Some(())
}

const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

impl Asked {
    /// To answer from the same address, by whatever way the routes say; only a
    /// link-local address means nothing without its link.
    fn as_source(self) -> Self {
        match self {
            Self::V4(info) => Self::V4(libc::in_pktinfo {
                ipi_ifindex: 0,
                ..info
            }),
            Self::V6(info) => match self.address() {
                IpAddr::V6(address) if address.is_unicast_link_local() => self,
                _ => Self::V6(libc::in6_pktinfo {
                    ipi6_ifindex: 0,
                    ..info
                }),
            },
        }
    }

    fn address(&self) -> IpAddr {
        match self {
            Self::V4(info) => IpAddr::V4(u32::from_be(info.ipi_addr.s_addr).into()),
            Self::V6(info) => IpAddr::V6(info.ipi6_addr.s6_addr.into()),
        }
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::new(v6.ip().into(), v6.port()))
}
