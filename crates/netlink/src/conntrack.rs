//! Connection tracking: entries of one destination, and deleting those that mislead.
//!
//! A datagram of a flow that is known goes where the first one went, whatever
//! the rules say by now. Numbers and names are those of
//! `linux/netfilter/nfnetlink_conntrack.h`.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use rtnetlink::sys::{SocketAddr as NetlinkAddr, protocols::NETLINK_NETFILTER};
use sealane_net::{Family, Protocol};

use crate::error::{Error, Result};
use crate::netlink::Failure;
use crate::nft::answer::{
    Answer, FAMILY_HEADER, MESSAGE_HEADER, find, messages, read, u16_be, u32_at,
};
use crate::nft::message::{Header, Messages};

/// `NFNL_SUBSYS_CTNETLINK`
const SUBSYSTEM: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// Which parts of the given tuple an entry must have (`CTA_FILTER_F_*`): since Linux 5.8, ignored before.
const FILTER_PORT: u32 = 1 << 3 | 1 << 5;
const FILTER_ADDRESS: u32 = 1 << 1;

/// Kernels leave out exactly the entries with the wanted IPv6 address (seen with Linux 6.18), so that it is
/// compared here alone. So are loopback addresses of IPv4, which count as one.
fn filter(called: SocketAddr) -> u32 {
    match called {
        SocketAddr::V4(at) if !at.ip().is_loopback() => FILTER_PORT | FILTER_ADDRESS,
        _ => FILTER_PORT,
    }
}

/// Whether an entry's client called there; all loopback addresses of IPv4 are one.
fn is_called(flow: &Flow, at: SocketAddr) -> bool {
    let is_loopback = |at: &SocketAddr| at.is_ipv4() && at.ip().is_loopback();
    let both = is_loopback(&flow.called) && is_loopback(&at);
    flow.called == at || both && flow.called.port() == at.port()
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Of both directions.
    pub protocol: Protocol,
    /// Who began.
    pub client: SocketAddr,
    /// Whom he called.
    pub called: SocketAddr,
    /// Who answers: where the flow was translated to, or the one called.
    pub answers: SocketAddr,
    /// To whom the answer goes: the client, or whose address the client was given.
    pub answered: SocketAddr,
    id: u32,
    zone: Option<u16>,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flow {
            protocol,
            client,
            called,
            answers,
            ..
        } = self;
        write!(f, "{protocol} {client} to {called}, answered by {answers}")
    }
}

/// The table of connections of one namespace.
pub struct Conntrack {
    socket: rtnetlink::sys::Socket,
}

impl Conntrack {
    /// Opens it for the namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> Result<Self> {
        let open = || -> io::Result<_> {
            let mut socket = rtnetlink::sys::Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.connect(&NetlinkAddr::new(0, 0))?;
            socket.set_non_blocking(true)?;
            Ok(Self { socket })
        };
        open().map_err(|error| Error::system("open netlink for conntrack", error))
    }

    /// The entries whose client called `called`, or any loopback address if that is one of IPv4: node ports answer at
    /// all of them.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn flows_to(&self, called: SocketAddr, protocol: Protocol) -> Result<Vec<Flow>> {
        let mut flows = Vec::new();
        let attributes = |m: &mut Messages| {
            put_tuple(m, None, called, protocol);
            m.nest(CTA_FILTER, |m| {
                // As tuples' own values, these are in this machine's byte order.
                m.put(CTA_FILTER_ORIG_FLAGS, &filter(called).to_ne_bytes());
                m.put(CTA_FILTER_REPLY_FLAGS, &0_u32.to_ne_bytes());
            });
        };
        let take = |message: &[u8]| {
            let found = flow(message);
            flows.extend(found.filter(|f| is_called(f, called) && f.protocol == protocol));
        };
        let family = family_of(called.ip());
        self.request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family, attributes, take)
            .map_err(|failure| failure.during(format!("list connections to {called}")))?;
        Ok(flows)
    }

    /// The entries of a protocol, as far as they are `wanted` by whom their client called.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn flows(
        &self,
        family: Family,
        protocol: Protocol,
        wanted: impl Fn(SocketAddr) -> bool,
    ) -> Result<Vec<Flow>> {
        let mut flows = Vec::new();
        let take = |message: &[u8]| {
            let found = flow(message);
            flows.extend(found.filter(|f| f.protocol == protocol && wanted(f.called)));
        };
        let family = number_of(family);
        self.request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family, |_| {}, take)
            .map_err(|failure| failure.during(format!("list connections by {protocol}")))?;
        Ok(flows)
    }

    /// Deletes an entry; whether it was there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn delete(&self, flow: &Flow) -> Result<bool> {
        let attributes = |m: &mut Messages| {
            put_tuple(m, Some(flow.client), flow.called, flow.protocol);
            if let Some(zone) = flow.zone {
                m.put(CTA_ZONE, &zone.to_be_bytes());
            }
            // Another flow may have come in its place.
            m.put_u32(CTA_ID, flow.id);
        };
        let family = family_of(flow.called.ip());
        match self.request(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, family, attributes, |_| {}) {
            Ok(()) => Ok(true),
            Err(failure) => failure
                .unless_absent()
                .map_err(|failure| failure.during(format!("delete connection {flow}"))),
        }
    }

    fn request(
        &self,
        kind: u16,
        flags: u16,
        family: u8,
        attributes: impl FnOnce(&mut Messages),
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Failure> {
        let mut request = Messages::default();
        let header = Header {
            kind: SUBSYSTEM << 8 | kind,
            flags: NLM_F_REQUEST | flags,
            sequence: 0,
            family,
            resource: 0,
        };
        request.message(header, attributes);
        // What an earlier call may have left unread.
        while self.socket.recv_from_full().is_ok() {}
        let sent = self.socket.send(request.as_bytes(), 0);
        sent.map_err(|error| Failure::of_io(&error))?;
        loop {
            let datagram = match self.socket.recv_from_full() {
                Ok((datagram, _)) => datagram,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::of_io(&error)),
            };
            for message in messages(&datagram) {
                match read(message) {
                    Answer::Refused(_, refusal) => return Err(Failure::Refused(refusal)),
                    Answer::Done { .. } | Answer::Acknowledged(_) => return Ok(()),
                    _ => take(message),
                }
            }
        }
    }
}

fn family_of(address: IpAddr) -> u8 {
    number_of(Family::from(address))
}

fn number_of(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

fn put_tuple(m: &mut Messages, from: Option<SocketAddr>, to: SocketAddr, protocol: Protocol) {
    m.nest(CTA_TUPLE_ORIG, |m| {
        m.nest(CTA_TUPLE_IP, |m| {
            if let Some(from) = from {
                put_address(m, from.ip(), CTA_IP_V4_SRC, CTA_IP_V6_SRC);
            }
            put_address(m, to.ip(), CTA_IP_V4_DST, CTA_IP_V6_DST);
        });
        m.nest(CTA_TUPLE_PROTO, |m| {
            m.put(CTA_PROTO_NUM, &[protocol.number()]);
            if let Some(from) = from {
                m.put(CTA_PROTO_SRC_PORT, &from.port().to_be_bytes());
            }
            m.put(CTA_PROTO_DST_PORT, &to.port().to_be_bytes());
        });
    });
}

fn put_address(m: &mut Messages, address: IpAddr, v4: u16, v6: u16) {
    match address {
        IpAddr::V4(address) => m.put(v4, &address.octets()),
        IpAddr::V6(address) => m.put(v6, &address.octets()),
    }
}

/// An entry out of a list; none of another protocol.
fn flow(message: &[u8]) -> Option<Flow> {
    let body = message.get(MESSAGE_HEADER + FAMILY_HEADER..)?;
    let (protocol, client, called) = tuple(find(body, CTA_TUPLE_ORIG)?)?;
    let (_, answers, answered) = tuple(find(body, CTA_TUPLE_REPLY)?)?;
    Some(Flow {
        protocol,
        client,
        called,
        answers,
        answered,
        id: u32::from_be(u32_at(find(body, CTA_ID)?, 0)?),
        zone: find(body, CTA_ZONE).and_then(u16_be),
    })
}

/// Protocol, source and destination of a direction.
fn tuple(bytes: &[u8]) -> Option<(Protocol, SocketAddr, SocketAddr)> {
    let ip = find(bytes, CTA_TUPLE_IP)?;
    let transport = find(bytes, CTA_TUPLE_PROTO)?;
    let address = |v4, v6| {
        let v4 = find(ip, v4).and_then(|b| <[u8; 4]>::try_from(b).ok());
        let v6 = || find(ip, v6).and_then(|b| <[u8; 16]>::try_from(b).ok());
        v4.map(IpAddr::from).or_else(|| v6().map(IpAddr::from))
    };
    let port = |kind| find(transport, kind).and_then(u16_be);
    let protocol = Protocol::of_number(*find(transport, CTA_PROTO_NUM)?.first()?)?;
    let source = SocketAddr::new(
        address(CTA_IP_V4_SRC, CTA_IP_V6_SRC)?,
        port(CTA_PROTO_SRC_PORT)?,
    );
    let destination = SocketAddr::new(
        address(CTA_IP_V4_DST, CTA_IP_V6_DST)?,
        port(CTA_PROTO_DST_PORT)?,
    );
    Some((protocol, source, destination))
}
