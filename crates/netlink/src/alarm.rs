//! A bell for whoever keeps a few addresses and a small table, without a runtime.
//!
//! It says that something may have changed, not what: who hears it looks. The
//! elements of sets and maps, of which Services have many, do not ring it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use rtnetlink::MulticastGroup;
use rtnetlink::sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use rtnetlink::sys::{Socket, SocketAddr};

use crate::error::{Error, Result};
use crate::multicast;
use crate::nft::monitor;

/// `NFT_MSG_DELTABLE`, and those about chains and rules.
const OF_TABLES: [u16; 5] = [2, 3, 5, 6, 8];
const NFNL_SUBSYS_NFTABLES: u16 = 10;

/// Two sockets that become readable when addresses come or go, or when somebody edits tables of nftables.
pub struct Alarm {
    addresses: Socket,
    tables: Socket,
}

impl Alarm {
    /// Opens the sockets in the namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> Result<Self> {
        let open = || -> io::Result<Self> {
            let ifaddr = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
            let addresses = listen(NETLINK_ROUTE, &ifaddr.map(|group| group as u32))?;
            let tables = listen(NETLINK_NETFILTER, &[monitor::GROUP])?;
            let types = OF_TABLES.map(|kind| NFNL_SUBSYS_NFTABLES << 8 | kind);
            multicast::only(&tables, &types)?;
            Ok(Self { addresses, tables })
        };
        open().map_err(|error| Error::system("listen to netlink", error))
    }

    /// What to wait for.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        // SAFETY: the sockets close their descriptors when they are dropped, and are borrowed for as long.
        [&self.addresses, &self.tables]
            .map(|socket| unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) })
    }

    /// Silences it; whether it has rung.
    pub fn rang(&self) -> bool {
        let rang = [&self.addresses, &self.tables].map(drain);
        rang.contains(&true)
    }
}

fn listen(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    Ok(socket)
}

/// Takes what is there, and what was too much.
fn drain(socket: &Socket) -> bool {
    let mut bytes = [0_u8; 64];
    let mut rang = false;
    loop {
        // SAFETY: the kernel writes at most as many bytes as the buffer has; the rest of a datagram is dropped.
        let got = unsafe {
            libc::recv(
                socket.as_raw_fd(),
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                libc::MSG_DONTWAIT,
            )
        };
        match got {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if multicast::is_overrun(&error) => rang = true,
                _ => return rang,
            },
            _ => rang = true,
        }
    }
}
