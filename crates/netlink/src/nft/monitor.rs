//! Transactions of others on tables of ours.
//!
//! The kernel tells all who listen what each transaction has changed, object
//! by object. What counts is whose table it was and that we did not do it; what
//! is wrong now is found by looking.

use std::collections::VecDeque;
use std::io;

use futures::stream::{BoxStream, StreamExt, unfold};
use rtnetlink::sys::{Socket, protocols::NETLINK_NETFILTER};
use sealane_net::names;
use tokio::io::unix::AsyncFd;

use super::answer::{edited, messages};
use super::ports::is_own;
use crate::error::{Error, Result};
use crate::events::{Edit, Event};
use crate::netlink::Netlink;

/// `NFNLGRP_NFTABLES`
pub(crate) const GROUP: u32 = 7;

impl Netlink {
    /// [`Event::Tables`] and [`Event::Services`] for each transaction of another process that has changed a table
    /// whose name is like ours.
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
        let state = (listener, VecDeque::new());
        let events = unfold(state, async |(listener, mut queue)| {
            if queue.is_empty() {
                queue.extend(next(&listener).await?);
            }
            let event = queue.pop_front()?;
            Some((event, (listener, queue)))
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

/// The next events; `None` when the socket is of no use any more.
async fn next(listener: &AsyncFd<Socket>) -> Option<Vec<Event>> {
    loop {
        let mut ready = listener.readable().await.ok()?;
        let received = ready.try_io(|listener| listener.get_ref().recv_from_full());
        match received {
            Err(_would_block) => {}
            Ok(Ok((datagram, _))) => {
                let news = news(&datagram);
                if !news.is_empty() {
                    return Some(news);
                }
            }
            // More than there was room for, as with a large transaction of our own.
            Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {
                return Some(vec![Event::Missed]);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(_)) => return None,
        }
    }
}

/// What a part of a transaction comes to; each event once.
fn news(datagram: &[u8]) -> Vec<Event> {
    // That of DNS is another process' to keep.
    let ours = |name: &str| name.starts_with(names::NFT_TABLE) && name != names::DNS_TABLE;
    let others = messages(datagram)
        .filter_map(edited)
        .filter(|edited| ours(&edited.table) && !is_own(edited.port));
    let mut news = Vec::new();
    for edited in others {
        let event = match (edited.table == names::SERVICES_TABLE, edited.element) {
            (false, _) => Event::Tables,
            (true, true) => Event::Services(Edit::Elements),
            (true, false) => Event::Services(Edit::Rules),
        };
        if !news.contains(&event) {
            news.push(event);
        }
    }
    news
}
