//! Sockets that the kernel sends its news to.

use std::io;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::MulticastGroup;
use rtnetlink::sys::{AsyncSocket, Socket, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};

use crate::error::{Error, Result};
use crate::filter::{self, ALL, JUMP_IF_EQUAL, LOAD_HALF_WORD, RETURN, step};
use crate::netlink::Place;

/// Room for one datagram of news, which has one message; a link with everything has four kilobytes.
pub(crate) const DATAGRAM: usize = 1 << 15;
/// Room for the news of some hundred pods that come at once; the kernel's default has that of twenty.
const WAITING: usize = 4 << 20;

/// A socket of some groups, in a namespace.
pub(crate) fn listen(place: &Place, groups: &[MulticastGroup]) -> Result<TokioSocket> {
    let open = || -> io::Result<TokioSocket> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let inner = socket.socket_mut();
        inner.bind(&SocketAddr::new(0, 0))?;
        // Refused without privileges: less then fits before news are missed, which is told.
        let _ = setsockopt(inner, sockopt::RcvBufForce, &WAITING);
        for group in groups {
            inner.add_membership(*group as u32)?;
        }
        Ok(socket)
    };
    place
        .run(open)?
        .map_err(|error| Error::system(format!("listen to netlink{place}"), error))
}

/// A socket that takes some types of messages, so that all others wake nobody.
pub(crate) fn listen_for(
    place: &Place,
    groups: &[MulticastGroup],
    types: &[u16],
) -> Result<TokioSocket> {
    let socket = listen(place, groups)?;
    only(socket.socket_ref(), types)
        .map_err(|error| Error::system(format!("filter netlink{place}"), error))?;
    Ok(socket)
}

/// Whether news came faster than they were taken, and some are lost.
pub(crate) fn is_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

pub(crate) fn only(socket: &Socket, types: &[u16]) -> io::Result<()> {
    /// Of `nlmsg_type` in `struct nlmsghdr`.
    const TYPE_AT: u32 = 4;
    let mut program = vec![step(LOAD_HALF_WORD, 0, 0, TYPE_AT)];
    for wanted in types {
        // The machine of filters reads the network's order of bytes, netlink writes this machine's.
        let wanted = u32::from(wanted.to_be());
        program.push(step(JUMP_IF_EQUAL, 0, 1, wanted));
        program.push(step(RETURN, 0, 0, ALL));
    }
    program.push(step(RETURN, 0, 0, 0));
    filter::attach(socket, &mut program)
}

/// The messages of a datagram; what is cut off is left out.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let message = rest.get(..length).filter(|message| !message.is_empty())?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_apart_and_rubbish_ends_them() {
        let message = |length: u32, bytes: usize| {
            let mut message = length.to_ne_bytes().to_vec();
            message.resize(bytes, 7);
            message
        };
        let two = [message(17, 20), message(16, 16)].concat();
        let lengths: Vec<usize> = messages(&two).map(<[u8]>::len).collect();
        assert_eq!(lengths, [17, 16]);
        for rubbish in [vec![], vec![1, 0], message(0, 8), message(90, 8)] {
            assert_eq!(messages(&rubbish).count(), 0, "{rubbish:?}");
        }
    }
}
