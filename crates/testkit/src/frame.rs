//! Frames made by hand, as a pod with every right over its own interface could send them.

use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::namespace::Namespace;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// To everybody.
pub const BROADCAST: Mac = [0xff; 6];

/// A socket for whole frames at one interface: packet(7).
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
}

impl Wire {
    /// Opens the socket; it keeps what arrives from now on.
    ///
    /// # Panics
    /// When there is no such interface, or no right to its frames (tests need root).
    #[track_caller]
    pub fn at(namespace: &Namespace, interface: &str) -> Self {
        let title = namespace.title();
        let socket = namespace
            .enter(|| open(interface))
            .unwrap_or_else(|error| panic!("open {interface} in {title}: {error}"));
        Self { socket }
    }

    /// Sends a frame as it is.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the pointer is to as many bytes as it says.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
            )
        };
        let error = io::Error::last_os_error();
        assert_eq!(sent, frame.len() as isize, "send a frame: {error}");
    }

    /// The next frame that has arrived; what was sent from this interface is passed over.
    pub fn next(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 1 << 16];
        loop {
            // SAFETY: all zero bytes are a valid sockaddr_ll.
            let mut from: libc::sockaddr_ll = unsafe { zeroed() };
            let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            // SAFETY: both pointers are to as many bytes as their lengths say.
            let received = unsafe {
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    bytes.as_mut_ptr().cast(),
                    bytes.len(),
                    libc::MSG_DONTWAIT,
                    (&raw mut from).cast(),
                    &raw mut length,
                )
            };
            let received = usize::try_from(received).ok()?;
            if from.sll_pkttype != libc::PACKET_OUTGOING {
                bytes.truncate(received);
                return Some(bytes);
            }
        }
    }
}

fn open(interface: &str) -> io::Result<OwnedFd> {
    let name = CString::new(interface)?;
    // SAFETY: the name ends with a zero byte and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain system call.
    let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: all zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    // SAFETY: the pointer is to a sockaddr_ll and the length is its own.
    let bound = unsafe {
        libc::bind(
            raw,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    if bound == 0 {
        Ok(socket)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// IEEE 802.3 §3.1.1, without what fills a short frame up, which bridges take off again.
pub fn ethernet(from: Mac, to: Mac, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &ether_type.to_be_bytes(), payload].concat()
}

/// A frame of an IP packet.
pub fn carrying(from: Mac, to: Mac, packet: &[u8]) -> Vec<u8> {
    let ether_type = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    ethernet(from, to, ether_type, packet)
}

/// RFC 826, for Ethernet and IPv4.
pub fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        packet.extend(mac);
        packet.extend(address.octets());
    }
    packet
}

/// RFC 791 §3.1, RFC 8200 §3: a packet of either family.
pub fn packet(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, protocol, payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(from, to, protocol, payload),
        _ => panic!("a packet from {from} to {to}"),
    }
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(payload);
    header
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    const HOP_LIMIT: u8 = 255;
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, HOP_LIMIT]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// RFC 768, without a checksum.
pub fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let header = [from, to, length, 0].map(u16::to_be_bytes).concat();
    [&header, payload].concat()
}

/// RFC 4443 §2.1 with its checksum; `body` begins behind that.
pub fn icmpv6(from: Ipv6Addr, to: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0], body].concat();
    let mut whole = [from.octets(), to.octets()].concat();
    whole.extend((message.len() as u32).to_be_bytes());
    whole.extend([0, 0, 0, 58]);
    whole.extend(&message);
    message[2..4].copy_from_slice(&checksum(&whole).to_be_bytes());
    message
}

/// RFC 1071 §4.1
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;

    #[test]
    fn packets_are_read_back_as_they_were_meant() {
        for (from, to) in [("10.244.1.2", "10.244.1.3"), ("fd00::2", "fd00::3")] {
            let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let bytes = packet(from, to, 17, &udp(67, 68, b"offer"));
            let read = Packet::parse(&bytes, false).unwrap();
            assert_eq!((read.source, read.destination), (from, to));
            assert_eq!((read.source_port, read.destination_port), (67, 68));
            assert_eq!(read.length, bytes.len());
        }
    }

    #[test]
    fn the_checksum_of_a_whole_header_is_zero() {
        let bytes = packet([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, &[]);
        assert_eq!(checksum(&bytes), 0);
    }
}
