//! Transactions of others on tables of ours.
//!
//! The kernel tells all who listen what each transaction has changed, object
//! by object. What counts is whose table it was and that we did not do it; what
//! is wrong now is found by looking.

use std::io;

use futures::stream::{BoxStream, StreamExt, unfold};
use rtnetlink::sys::{Socket, protocols::NETLINK_NETFILTER};
use sealane_net::names;
use tokio::io::unix::AsyncFd;

use super::answer::{edited_table, messages};
use super::ports::is_own;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::netlink::Netlink;

/// `NFNLGRP_NFTABLES`
const GROUP: u32 = 7;

impl Netlink {
    /// [`Event::Tables`] for each transaction of another process that has changed a table whose name is like ours.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub(crate) fn table_events(&self) -> Result<BoxStream<'static, Event>> {
        let failed = |error| Error::system(format!("listen to nftables{}", self.place), error);
        let socket = self.place.run(open)?.map_err(failed)?;
        // SAFETY: the descriptor belongs to the socket, which closes it when it is dropped and
        // never gives another one.
        let listener = unsafe { AsyncFd::register(socket) };
        let listener = listener.map_err(|error| failed(error.into()))?;
        let events = unfold(listener, async |listener| {
            let event = next(&listener).await?;
            Some((event, listener))
        });
        Ok(events.boxed())
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    socket.add_membership(GROUP)?;
    Ok(socket)
}

/// The next event; `None` when the socket is of no use any more.
async fn next(listener: &AsyncFd<Socket>) -> Option<Event> {
    loop {
        let mut ready = listener.readable().await.ok()?;
        let received = ready.try_io(|listener| listener.get_ref().recv_from_full());
        match received {
            Err(_would_block) => {}
            Ok(Ok((datagram, _))) if is_news(&datagram) => return Some(Event::Tables),
            Ok(Ok(_)) => {}
            // More than there was room for, as with a large transaction of our own.
            Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {
                return Some(Event::Missed);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(_)) => return None,
        }
    }
}

fn is_news(datagram: &[u8]) -> bool {
    messages(datagram).any(|message| {
        edited_table(message)
            .is_some_and(|(port, table)| table.starts_with(names::NFT_TABLE) && !is_own(port))
    })
}
