//! UDP sockets that tell what a path carries.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// From now on a datagram to an address of this family that does not fit the path is refused instead
/// of cut up (ip(7) `IP_MTU_DISCOVER`, ipv6(7) `IPV6_MTU_DISCOVER`).
#[track_caller]
pub fn forbid_fragments(socket: &UdpSocket, to: IpAddr) {
    let (level, name, value) = match to {
        IpAddr::V4(_) => (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DO,
        ),
        IpAddr::V6(_) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DO,
        ),
    };
    // SAFETY: the pointer is to an int and the length is an int's.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as u32,
        )
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}
