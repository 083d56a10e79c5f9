//! ARP and neighbour discovery by hand, on all links of a namespace: packet(7).
//!
//! Opening needs `CAP_NET_RAW`, everything else does not, so a process may
//! open these and then give the capability up. While nobody listens a socket is
//! bound to the loopback, which has no such packets: nobody is woken for nothing,
//! and it need not be closed, which waits for the kernel's readers.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use sealane_net::Mac;

use crate::error::{Error, Result};
use crate::filter::{self, ALL, JUMP_IF_EQUAL, LOAD_BYTE, RETURN, step};

/// The loopback is the first link of every namespace.
const LOOPBACK: u32 = 1;
/// ICMPv6, and its neighbour advertisement (RFC 4861 §4.4).
const NEXT_HEADER: (u32, u32) = (6, 58);
const TYPE: (u32, u32) = (40, 136);

/// What one link's neighbours say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// ARP, RFC 826.
    Arp,
    /// Neighbour advertisements; the packet begins with its IPv6 header.
    Advertisement,
}

/// A packet that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The link, by index.
    pub link: u32,
    /// Whose frame it was in.
    pub from: Mac,
    /// Without the Ethernet header.
    pub packet: Vec<u8>,
}

/// Sockets for both.
#[derive(Debug)]
pub struct Ears {
    arp: OwnedFd,
    advertisements: OwnedFd,
}

impl Ears {
    /// Opens them in the namespace of the calling thread; they take nothing yet.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`.
    pub fn open() -> Result<Self> {
        let open = || -> io::Result<Self> {
            let ears = Self {
                arp: open_one()?,
                advertisements: open_one()?,
            };
            filter::attach(&ears.advertisements, &mut only_advertisements())?;
            Ok(ears)
        };
        open().map_err(|error| Error::system("open sockets for ARP and neighbour discovery", error))
    }

    /// Takes what arrives on all links from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn listen(&self) -> Result<()> {
        self.bind(0)
    }

    /// Takes nothing any more. Waits for the kernel's readers, some milliseconds.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn rest(&self) -> Result<()> {
        let resting = self.bind(LOOPBACK);
        while self.take(Told::Arp).is_some() || self.take(Told::Advertisement).is_some() {}
        resting
    }

    fn bind(&self, link: u32) -> Result<()> {
        for told in [Told::Arp, Told::Advertisement] {
            let address = address_of(told, link, None);
            // SAFETY: the pointer is to a sockaddr_ll and the length is its own.
            let bound = unsafe {
                libc::bind(
                    self.socket(told).as_raw_fd(),
                    (&raw const address).cast(),
                    size_of::<libc::sockaddr_ll>() as libc::socklen_t,
                )
            };
            nix::errno::Errno::result(bound)
                .map_err(|error| Error::system("listen to neighbours", error))?;
        }
        Ok(())
    }

    /// Sends a packet out of a link.
    ///
    /// # Errors
    /// When the kernel refuses: the link is down or gone.
    pub fn send(&self, told: Told, link: u32, to: Mac, packet: &[u8]) -> Result<()> {
        let address = address_of(told, link, Some(to));
        // SAFETY: both pointers are to as many bytes as their lengths say.
        let sent = unsafe {
            libc::sendto(
                self.socket(told).as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        nix::errno::Errno::result(sent)
            .map_err(|error| Error::system(format!("send to neighbours on link {link}"), error))?;
        Ok(())
    }

    /// The next packet that has arrived, waiting for it until `deadline`.
    pub fn next(&self, deadline: Instant) -> Option<(Told, Heard)> {
        loop {
            for told in [Told::Arp, Told::Advertisement] {
                if let Some(heard) = self.take(told) {
                    return Some((told, heard));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let mut both = [&self.arp, &self.advertisements]
                .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
            let wait = left.min(Duration::from_secs(1)).as_millis() as u16 + 1;
            // Interrupted or not, what has arrived is looked for.
            let _ = poll(&mut both, wait);
        }
    }

    /// What has arrived, but what this machine has sent itself.
    fn take(&self, told: Told) -> Option<Heard> {
        let mut bytes = [0; 128];
        loop {
            let mut from = address_of(told, 0, None);
            let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            // SAFETY: both pointers are to as many bytes as their lengths say.
            let received = unsafe {
                libc::recvfrom(
                    self.socket(told).as_raw_fd(),
                    bytes.as_mut_ptr().cast(),
                    bytes.len(),
                    libc::MSG_DONTWAIT,
                    (&raw mut from).cast(),
                    &raw mut length,
                )
            };
            let received = usize::try_from(received).ok()?;
            if from.sll_pkttype == libc::PACKET_OUTGOING || from.sll_halen != 6 {
                continue;
            }
            let mut mac = [0; 6];
            mac.copy_from_slice(&from.sll_addr[..6]);
            return Some(Heard {
                link: from.sll_ifindex.cast_unsigned(),
                from: Mac(mac),
                packet: bytes[..received.min(bytes.len())].to_vec(),
            });
        }
    }

    fn socket(&self, told: Told) -> &OwnedFd {
        match told {
            Told::Arp => &self.arp,
            Told::Advertisement => &self.advertisements,
        }
    }
}

/// With no protocol, which is no packets.
fn open_one() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(
        AddressFamily::Packet,
        SockType::Datagram,
        flags,
        None,
    )?)
}

fn address_of(told: Told, link: u32, to: Option<Mac>) -> libc::sockaddr_ll {
    let protocol = match told {
        Told::Arp => libc::ETH_P_ARP,
        Told::Advertisement => libc::ETH_P_IPV6,
    };
    // SAFETY: all zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (protocol as u16).to_be();
    address.sll_ifindex = link.cast_signed();
    if let Some(Mac(to)) = to {
        address.sll_halen = 6;
        address.sll_addr[..6].copy_from_slice(&to);
    }
    address
}

/// All other IPv6 of the machine wakes nobody.
fn only_advertisements() -> [libc::sock_filter; 6] {
    [
        step(LOAD_BYTE, 0, 0, NEXT_HEADER.0),
        step(JUMP_IF_EQUAL, 0, 3, NEXT_HEADER.1),
        step(LOAD_BYTE, 0, 0, TYPE.0),
        step(JUMP_IF_EQUAL, 0, 1, TYPE.1),
        step(RETURN, 0, 0, ALL),
        step(RETURN, 0, 0, 0),
    ]
}
