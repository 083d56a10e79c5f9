//! What changes in a namespace, whoever changes it.

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::sys::{AsyncSocketExt, TokioSocket};
use sealane_net::Route;

use crate::error::{Error, Result};
use crate::link::{self, Link};
use crate::multicast;
use crate::netlink::Netlink;
use crate::route;

/// One change, told by the kernel after it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is new or not what it was.
    Link(Link),
    /// A link is gone.
    LinkGone(Link),
    /// An address of the link with this index came or went.
    Address(u32),
    /// A route of the main table came. Its link is not named.
    Route(Route),
    /// A route of the main table went. Its link is not named. Linux does not tell of IPv4
    /// routes that go because their link is set down.
    RouteGone(Route),
    /// Another process has changed an nft table whose name is like ours, and which is not that of Services.
    Tables,
    /// Another process has changed the nft table of Services, which many elements make large.
    Services(Edit),
    /// Changes came faster than they were taken, and some are lost: look at everything.
    Missed,
}

/// What was changed of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edit {
    /// Elements of maps and sets.
    Elements,
    /// Rules, chains, maps, or all of it.
    Rules,
}

impl Netlink {
    /// The changes of links, addresses, routes and our nft tables from now on.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn events(&self) -> Result<BoxStream<'static, Event>> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let socket = multicast::listen(&self.place, &groups)?;
        let listener = Listener {
            socket,
            datagram: Vec::with_capacity(multicast::DATAGRAM),
            events: VecDeque::new(),
        };
        let events = stream::unfold(listener, Listener::next);
        Ok(stream::select(events, self.table_events()?).boxed())
    }
}

struct Listener {
    socket: TokioSocket,
    datagram: Vec<u8>,
    /// Of the last datagram, not handed out yet.
    events: VecDeque<Event>,
}

impl Listener {
    async fn next(mut self) -> Option<(Event, Self)> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some((event, self));
            }
            self.datagram.clear();
            match self.socket.recv(&mut self.datagram).await {
                Ok(()) => self
                    .events
                    .extend(multicast::messages(&self.datagram).filter_map(read)),
                Err(error) if multicast::is_overrun(&error) => {
                    self.events.push_back(Event::Missed);
                }
                Err(error) => {
                    let error = Error::system("listen to netlink", error);
                    tracing::warn!("{error}; changes by others are seen late from now on");
                    return None;
                }
            }
        }
    }
}

/// What one message tells; nothing when it cannot be read or is no concern of ours.
fn read(message: &[u8]) -> Option<Event> {
    if link::is_of_port(message) {
        return None;
    }
    let message = NetlinkMessage::deserialize(&link::slim(message)).ok()?;
    let message = match message.payload {
        NetlinkPayload::InnerMessage(message) => message,
        NetlinkPayload::Overrun(_) => return Some(Event::Missed),
        _ => return None,
    };
    match message {
        RouteNetlinkMessage::NewLink(_) => link::read_link(message).map(Event::Link),
        RouteNetlinkMessage::DelLink(message) => {
            link::read_link(RouteNetlinkMessage::NewLink(message)).map(Event::LinkGone)
        }
        RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message) => {
            Some(Event::Address(link_of(&message)))
        }
        RouteNetlinkMessage::NewRoute(_) => route::read_alone(message).map(Event::Route),
        RouteNetlinkMessage::DelRoute(message) => {
            route::read_alone(RouteNetlinkMessage::NewRoute(message)).map(Event::RouteGone)
        }
        _ => None,
    }
}

fn link_of(message: &AddressMessage) -> u32 {
    message.header.index
}
