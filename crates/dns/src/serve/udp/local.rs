//! The address that a datagram came to, where the socket itself has none: ip(7), ipv6(7).

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    ptr,
};

use socket2::SockAddr;

use super::batch::{no_header, part};

/// Control messages of a datagram: where it came to, and so where its reply goes from.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Control {
    bytes: [u8; Control::BYTES],
}

/// A [`Control`] that the kernel has filled in, with its length.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    control: Control,
    length: usize,
}

impl Control {
    pub const BYTES: usize = 64;
    pub const EMPTY: Self = Self {
        bytes: [0; Self::BYTES],
    };
}

/// Makes the socket tell where its datagrams came to.
pub fn tell(socket: &UdpSocket) -> io::Result<()> {
    let (level, option) = match socket.local_addr()? {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let yes: libc::c_int = 1;
    let length = size_of_val(&yes) as libc::socklen_t;
    let value = ptr::from_ref(&yes).cast();
    // SAFETY: the value is alive and as long as it says.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends one datagram.
pub fn send(
    socket: &UdpSocket,
    reply: &[u8],
    client: SocketAddr,
    local: Option<Local>,
) -> io::Result<()> {
    let client = SockAddr::from(client);
    let mut part = part(reply);
    let mut header = no_header().msg_hdr;
    // The kernel does not write to what is sent.
    header.msg_name = client.as_ptr().cast_mut().cast();
    header.msg_namelen = client.len();
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    if let Some(local) = &local {
        header.msg_control = ptr::from_ref(&local.control).cast_mut().cast();
        header.msg_controllen = local.length;
    }
    // SAFETY: the buffers that the header names are alive and as long as it says.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT) };
    match sent {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Turns the control messages of a datagram that was received, which `header` points to, into
/// those of its reply: from the address that it came to, by whichever link leads back.
pub fn turn_round(header: &libc::msghdr, control: &mut Control) -> Option<Local> {
    let length = header.msg_controllen;
    // SAFETY: the kernel filled in the header, and its buffer is `control`, or it has none.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    let mut found = false;
    while !next.is_null() {
        // SAFETY: the macros gave a header that lies within the control buffer.
        let (level, kind) = unsafe { ((*next).cmsg_level, (*next).cmsg_type) };
        // SAFETY: as above; the data of a control message follow its header.
        let data = unsafe { libc::CMSG_DATA(next) };
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let info = data.cast::<libc::in_pktinfo>();
                // SAFETY: the kernel's data of this kind, within the control buffer.
                unsafe { ptr::addr_of_mut!((*info).ipi_ifindex).write_unaligned(0) };
                found = true;
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let info = data.cast::<libc::in6_pktinfo>();
                // SAFETY: the kernel's data of this kind, within the control buffer.
                let address = unsafe { ptr::addr_of!((*info).ipi6_addr.s6_addr).read_unaligned() };
                // A link-local address means nothing without its link.
                if address[..2] != [0xFE, 0x80] {
                    // SAFETY: as above.
                    unsafe { ptr::addr_of_mut!((*info).ipi6_ifindex).write_unaligned(0) };
                }
                found = true;
            }
            _ => {}
        }
        // SAFETY: as for the first.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    found.then_some(Local {
        control: *control,
        length,
    })
}
