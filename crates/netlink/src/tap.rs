//! Frames as they pass the links of a namespace, both ways: packet(7).

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt,
};

use crate::error::{Error, Result};
use crate::netns;

/// How much of a frame is kept: all headers, also those of a tunnel around it.
const KEPT: usize = 256;
/// What may wait to be read, in bytes.
const ROOM: usize = 4 << 20;

/// A frame that has passed a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The link's name.
    pub link: String,
    /// It left by the link; else it came.
    pub outgoing: bool,
    /// Its beginning, from the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// Keeps what passes all links of a namespace, for as long as it exists.
pub struct Tap {
    socket: OwnedFd,
    netns: OwnedFd,
}

impl Tap {
    /// Begins in a namespace.
    ///
    /// # Errors
    /// When it cannot be entered, or without the right to see frames (`CAP_NET_RAW`).
    pub fn begin(netns: impl AsFd) -> Result<Self> {
        let place = netns::describe(netns.as_fd());
        let failed = |error| Error::system(format!("open a packet socket in netns {place}"), error);
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        // With a protocol from its beginning, it is bound to all links at once.
        let open = || {
            socket(
                AddressFamily::Packet,
                SockType::Raw,
                flags,
                SockProtocol::EthAll,
            )
        };
        let socket = netns::run_in(&netns, open)?.map_err(|errno| failed(errno.into()))?;
        // With less room a busy node loses frames, and that is all.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &ROOM);
        let netns = netns.as_fd().try_clone_to_owned().map_err(failed)?;
        Ok(Self { socket, netns })
    }

    /// Frames since the last call that are `wanted`, in their order.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn frames(&self, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Frame>> {
        let mut bytes = [0; KEPT];
        let mut found = Vec::new();
        while let Some((length, from)) = self.receive(&mut bytes) {
            if wanted(&bytes[..length]) {
                let outgoing = from.sll_pkttype == libc::PACKET_OUTGOING;
                found.push((from.sll_ifindex, outgoing, bytes[..length].to_vec()));
            }
        }
        let indices = found.iter().map(|(index, ..)| *index);
        let names: BTreeMap<i32, String> = indices.map(|index| (index, String::new())).collect();
        let name = |index: i32| (index, link_name(index.cast_unsigned()));
        let names: BTreeMap<i32, String> =
            netns::run_in(&self.netns, || names.into_keys().map(name).collect())?;
        let frame = |(index, outgoing, bytes)| Frame {
            link: names.get(&index).cloned().unwrap_or_default(),
            outgoing,
            bytes,
        };
        Ok(found.into_iter().map(frame).collect())
    }

    fn receive(&self, bytes: &mut [u8]) -> Option<(usize, libc::sockaddr_ll)> {
        // SAFETY: all zero bytes are a valid sockaddr_ll.
        let mut from: libc::sockaddr_ll = unsafe { zeroed() };
        let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        loop {
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
            if let Ok(received) = usize::try_from(received) {
                return Some((received, from));
            }
            if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return None;
            }
        }
    }
}

/// The name of a link of this thread's namespace; its number if it is gone.
fn link_name(index: u32) -> String {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the call asks for.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return format!("link {index}");
    }
    // SAFETY: the call has written a name with a zero byte behind it.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    name.to_string_lossy().into_owned()
}
