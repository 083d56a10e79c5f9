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
    /// A neighbour entry of the link with this index went, or a forwarding entry.
    NeighbourGone {
        /// The link.
        link: u32,
        /// It was a forwarding entry.
        forwarding: bool,
    },
    /// A rule that leads to a table of routes went.
    RuleGone,
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
    /// The changes of links, addresses, routes and our nft tables from now on, and of neighbours and rules
    /// which of them go: neighbours come and change too often to be woken for it.
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
        let going = [
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let going = multicast::listen_for(&self.place, &going, &[RTM_DELNEIGH, RTM_DELRULE])?;
        let sockets = [socket, going].map(Listener::events);
        let tables = self.table_events()?;
        Ok(stream::select(stream::select_all(sockets), tables).boxed())
    }
}

const RTM_DELNEIGH: u16 = 29;
const RTM_DELRULE: u16 = 33;

struct Listener {
    socket: TokioSocket,
    datagram: Vec<u8>,
    /// Of the last datagram, not handed out yet.
    events: VecDeque<Event>,
}

impl Listener {
    fn events(socket: TokioSocket) -> BoxStream<'static, Event> {
        let listener = Self {
            socket,
            datagram: Vec::with_capacity(multicast::DATAGRAM),
            events: VecDeque::new(),
        };
        stream::unfold(listener, Self::next).boxed()
    }

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
    match kind_of(message)? {
        RTM_DELNEIGH => return neighbour_gone(message),
        RTM_DELRULE => return Some(Event::RuleGone),
        _ => {}
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

/// `nlmsg_type` in `struct nlmsghdr`.
fn kind_of(message: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*message.get(4..)?.first_chunk()?))
}

/// `ndm_family` and `ndm_ifindex` in `struct ndmsg`, behind the header.
fn neighbour_gone(message: &[u8]) -> Option<Event> {
    const AF_BRIDGE: u8 = 7;
    let body = message.get(16..)?;
    Some(Event::NeighbourGone {
        link: u32::from_ne_bytes(*body.get(4..)?.first_chunk()?),
        forwarding: *body.first()? == AF_BRIDGE,
    })
}

fn link_of(message: &AddressMessage) -> u32 {
    message.header.index
}
