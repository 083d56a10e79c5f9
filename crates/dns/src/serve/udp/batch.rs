//! Many datagrams with one system call (recvmmsg(2), sendmmsg(2)).

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    ops::Range,
    os::fd::{AsFd, AsRawFd, RawFd},
    ptr,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::local::{Control, Local, turn_round};

/// Datagrams in a batch.
pub const SIZE: usize = 32;
/// Longest query: one is below 300 bytes, and options of EDNS rarely are more.
const QUERY_BYTES: usize = 2048;
/// How long a full queue is waited for, in milliseconds; then its replies are lost.
const SEND_PATIENCE_MS: u8 = 20;

/// Datagrams that were received, and the replies to them.
#[derive(Default)]
pub struct Batch {
    pub queries: Queries,
    pub replies: Replies,
}

/// Datagrams that were received.
pub struct Queries {
    bytes: Box<[[u8; QUERY_BYTES]; SIZE]>,
    clients: Box<[libc::sockaddr_storage; SIZE]>,
    controls: Box<[Control; SIZE]>,
    locals: [Option<Local>; SIZE],
    headers: Box<[libc::mmsghdr; SIZE]>,
}

// SAFETY: the pointers in the headers are set before each call and read by none in between.
unsafe impl Send for Queries {}

/// Replies, one behind another.
#[derive(Default)]
pub struct Replies {
    bytes: Vec<u8>,
    /// To which query, and where.
    parts: Vec<(usize, Range<usize>)>,
}

impl Replies {
    /// Where to append a reply, and where that is.
    pub fn begin(&mut self) -> (&mut Vec<u8>, usize) {
        let start = self.bytes.len();
        (&mut self.bytes, start)
    }

    /// What stands behind `start` replies to query `index`.
    pub fn end(&mut self, index: usize, start: usize) {
        self.parts.push((index, start..self.bytes.len()));
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.parts.clear();
    }
}

impl Default for Queries {
    fn default() -> Self {
        // SAFETY: a plain C structure of numbers, for which zero means "unspecified".
        let nobody: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        Self {
            bytes: Box::new([[0; QUERY_BYTES]; SIZE]),
            clients: Box::new([nobody; SIZE]),
            controls: Box::new([Control::EMPTY; SIZE]),
            locals: [None; SIZE],
            headers: Box::new([no_header(); SIZE]),
        }
    }
}

impl Queries {
    fn receive(&mut self, fd: RawFd, anywhere: bool) -> io::Result<usize> {
        let mut parts = [NO_PART; SIZE];
        for (index, header) in self.headers.iter_mut().enumerate() {
            parts[index] = part_mut(&mut self.bytes[index]);
            let header = &mut header.msg_hdr;
            header.msg_name = ptr::from_mut(&mut self.clients[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &mut parts[index];
            header.msg_iovlen = 1;
            if anywhere {
                header.msg_control = ptr::from_mut(&mut self.controls[index]).cast();
                header.msg_controllen = Control::BYTES;
            } else {
                header.msg_control = ptr::null_mut();
                header.msg_controllen = 0;
            }
        }
        let (headers, flags) = (self.headers.as_mut_ptr(), libc::MSG_DONTWAIT);
        // SAFETY: as many headers as are told, whose buffers are alive and as long as they say.
        let count = unsafe { libc::recvmmsg(fd, headers, SIZE as u32, flags, ptr::null_mut()) };
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_) => return nothing_yet(io::Error::last_os_error()),
        };
        for index in 0..count {
            self.locals[index] = match anywhere {
                true => turn_round(&self.headers[index].msg_hdr, &mut self.controls[index]),
                false => None,
            };
        }
        Ok(count)
    }

    /// The datagram of this number, and who sent it.
    pub fn message(&self, index: usize) -> Option<(&[u8], SocketAddr)> {
        let client = address(&self.clients[index])?;
        let length = self.headers[index].msg_len as usize;
        Some((&self.bytes[index][..length.min(QUERY_BYTES)], client))
    }

    /// Where the datagram of this number came to, if the socket does not say it.
    pub fn local(&self, index: usize) -> Option<Local> {
        self.locals[index]
    }
}

impl Batch {
    /// Takes the datagrams that wait, at most [`SIZE`]; none is no error.
    pub fn receive(&mut self, fd: RawFd, anywhere: bool) -> io::Result<usize> {
        self.replies.clear();
        self.queries.receive(fd, anywhere)
    }

    /// Sends the replies that there are.
    pub fn send(&mut self, socket: &UdpSocket) {
        let queries = &self.queries;
        let mut parts = [NO_PART; SIZE];
        let mut headers = [no_header(); SIZE];
        let count = self.replies.parts.len();
        for (at, (index, range)) in self.replies.parts.iter().enumerate() {
            parts[at] = part(&self.replies.bytes[range.clone()]);
            // The client's address and where its query came to, as they were received.
            headers[at].msg_hdr = queries.headers[*index].msg_hdr;
            headers[at].msg_hdr.msg_flags = 0;
            headers[at].msg_hdr.msg_iov = &mut parts[at];
            if queries.locals[*index].is_none() {
                headers[at].msg_hdr.msg_control = ptr::null_mut();
                headers[at].msg_hdr.msg_controllen = 0;
            }
        }
        send_all(socket, &mut headers[..count]);
    }
}

fn send_all(socket: &UdpSocket, mut headers: &mut [libc::mmsghdr]) {
    while !headers.is_empty() {
        let (first, count) = (headers.as_mut_ptr(), headers.len() as u32);
        // SAFETY: as many headers as are told, whose buffers are alive and as long as they say.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), first, count, libc::MSG_DONTWAIT) };
        let done = match usize::try_from(sent) {
            Ok(sent) => sent,
            Err(_) if wait_for_room(socket) => 0,
            // Not to be delivered, for whatever reason: the others may be.
            Err(_) => 1,
        };
        headers = &mut headers[done..];
    }
}

/// After a failure: whether it was a full queue, and there is room now.
fn wait_for_room(socket: &UdpSocket) -> bool {
    if io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock {
        return false;
    }
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::from(SEND_PATIENCE_MS)).is_ok_and(|ready| ready > 0)
}

/// A header of nothing.
pub fn no_header() -> libc::mmsghdr {
    // SAFETY: a plain C structure of numbers and pointers, for which zero means "none".
    unsafe { std::mem::zeroed() }
}

const NO_PART: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

/// `bytes` for the kernel to write to.
fn part_mut(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

/// `bytes` for the kernel to read.
pub fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

fn nothing_yet(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}

fn address(from: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(from.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel wrote an address of this family, and the storage fits any.
            let from = unsafe { &*ptr::from_ref(from).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr));
            Some((address, u16::from_be(from.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let from = unsafe { &*ptr::from_ref(from).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(from.sin6_addr.s6_addr);
            let port = u16::from_be(from.sin6_port);
            Some(SocketAddrV6::new(address, port, from.sin6_flowinfo, from.sin6_scope_id).into())
        }
        _ => None,
    }
}
