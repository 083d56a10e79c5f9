//! Requests of rtnetlink without a runtime, several in one system call, for a thread that may wait.
//!
//! The kernel works through all requests of a datagram before `sendmsg`
//! returns, one after the other and whatever became of those before. So a
//! [`Batch`] costs one switch into the kernel and no hop between tasks, and
//! its answers are already there when they are read.

use std::io;
use std::marker::PhantomData;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use sealane_net::{IpNet, Mac, Route};

use crate::error::{Error, Refusal, Result};
use crate::link::{self, Bridge, Link, LinkChange, LinkRef, Veth};
use crate::netlink::Failure;
use crate::shaping::{self, Rate};
use crate::{Address, address, multicast, neighbour, netns, route};

/// Room for the largest answer; a link without statistics has two kilobytes.
const ANSWER: usize = 1 << 15;

/// Requests in the order in which the kernel is to do them.
///
/// Lives no longer than the namespaces that its veths lead to.
#[derive(Default)]
pub struct Batch<'a> {
    requests: Vec<Request>,
    namespaces: PhantomData<BorrowedFd<'a>>,
}

struct Request {
    /// Verb, object and value, for the error.
    action: String,
    message: NetlinkMessage<RouteNetlinkMessage>,
    /// A refusal is as good.
    may_fail: bool,
}

impl<'a> Batch<'a> {
    /// A batch without requests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a bridge; an error when the name is taken.
    pub fn add_bridge(&mut self, bridge: &Bridge<'_>) -> &mut Self {
        let message = RouteNetlinkMessage::NewLink(link::new_bridge(bridge));
        let action = format!("add bridge {}", bridge.name);
        self.push(action, message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a veth pair, see [`crate::Netlink::add_veth`].
    pub fn add_veth(&mut self, veth: &Veth<'a>) -> &mut Self {
        let message = RouteNetlinkMessage::NewLink(link::new_veth(veth));
        self.push(format!("add {veth}"), message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Changes a link; renaming takes its index.
    pub fn set_link<'l>(
        &mut self,
        link: impl Into<LinkRef<'l>>,
        change: LinkChange<'_>,
    ) -> &mut Self {
        let link = link.into();
        let message = RouteNetlinkMessage::SetLink(link::changed(link, &change));
        self.push(format!("set link {link} {change}"), message, 0)
    }

    /// Lets the kernel give a link no IPv6 address of its own accord (`addrgenmode none`).
    /// That a kernel without IPv6 refuses is no failure.
    pub fn try_no_own_ipv6<'l>(&mut self, link: impl Into<LinkRef<'l>>) -> &mut Self {
        let link = link.into();
        let message = RouteNetlinkMessage::SetLink(link::without_own_ipv6(link));
        self.push(format!("set link {link} addrgenmode none"), message, 0);
        if let Some(request) = self.requests.last_mut() {
            request.may_fail = true;
        }
        self
    }

    /// Lets a port of a bridge get its own packets back: a pod that calls itself by a Service's address, which the
    /// bridge then translates, is reached through the port by which the packet came.
    pub fn reflect<'l>(&mut self, port: impl Into<LinkRef<'l>>) -> &mut Self {
        let port = port.into();
        let message = RouteNetlinkMessage::NewLink(link::reflecting(port));
        self.push(format!("set bridge port {port} hairpin on"), message, 0)
    }

    /// Deletes a link, with a veth its other end too.
    pub fn delete_link<'l>(&mut self, link: impl Into<LinkRef<'l>>) -> &mut Self {
        let link = link.into();
        let message = RouteNetlinkMessage::DelLink(link::named(link));
        self.push(format!("delete link {link}"), message, 0)
    }

    /// Deletes all links of a group, with veths their other ends too.
    pub(crate) fn delete_group(&mut self, group: u32) -> &mut Self {
        let message = RouteNetlinkMessage::DelLink(link::of_group(group));
        self.push(format!("delete links of group {group}"), message, 0)
    }

    /// Asks for a link.
    pub fn link<'l>(&mut self, link: impl Into<LinkRef<'l>>) -> &mut Self {
        let link = link.into();
        let message = RouteNetlinkMessage::GetLink(link::asked(link));
        self.push(format!("get link {link}"), message, 0)
    }

    /// Gives a link an address, see [`crate::Netlink::add_address`].
    pub fn add_address(&mut self, index: u32, address: IpNet) -> &mut Self {
        let message = RouteNetlinkMessage::NewAddress(address::usable_at_once(index, address));
        let action = format!("add address {address} to #{index}");
        self.push(action, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// The same, with the number of whoever makes it, and without a route besides that of the address itself.
    pub fn add_numbered_address(&mut self, index: u32, address: IpNet, number: u8) -> &mut Self {
        let message = RouteNetlinkMessage::NewAddress(address::alone(index, address, number));
        let action = format!("add address {address} to #{index}");
        self.push(action, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Takes an address from a link.
    pub fn delete_address(&mut self, index: u32, address: IpNet) -> &mut Self {
        let message = RouteNetlinkMessage::DelAddress(address::message(index, address));
        self.push(
            format!("delete address {address} from #{index}"),
            message,
            0,
        )
    }

    /// Sets a route; its `device` is not looked at, the link's index is given beside.
    pub fn set_route(&mut self, route: &Route, index: Option<u32>) -> &mut Self {
        let message = RouteNetlinkMessage::NewRoute(route::settable(route, index));
        let action = format!("set route {route}");
        self.push(action, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Sets a permanent neighbour entry, see [`crate::Netlink::set_neighbour`].
    pub fn set_neighbour(&mut self, index: u32, address: IpAddr, mac: Mac) -> &mut Self {
        let message = RouteNetlinkMessage::NewNeighbour(neighbour::permanent(index, address, mac));
        let action = format!("set neighbour {address} to {mac} on #{index}");
        self.push(action, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Puts a limit in the place of a link's queue.
    pub fn set_rate(&mut self, index: u32, rate: Rate) -> &mut Self {
        let message = RouteNetlinkMessage::NewQueueDiscipline(shaping::bucket(index, rate));
        let action = format!("limit #{index} to {} bits a second", rate.bits);
        self.push(action, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn push(&mut self, action: String, message: RouteNetlinkMessage, flags: u16) -> &mut Self {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        self.requests.push(Request {
            action,
            message,
            may_fail: false,
        });
        self
    }
}

/// A socket of rtnetlink that is asked and waited for.
pub struct Direct {
    socket: Socket,
    sequence: u32,
    place: String,
    buffer: Vec<u8>,
}

impl Direct {
    /// Opens the socket in the namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> Result<Self> {
        Self::open_as(String::new())
    }

    /// Opens the socket in `netns`; the calling thread enters it for a moment and goes back to `home`.
    ///
    /// Nothing else may run on the thread meanwhile. When it cannot go back,
    /// which takes a `home` that is no namespace, it stays where the socket is.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel refuses.
    pub fn open_in(netns: impl AsFd, home: impl AsFd) -> Result<Self> {
        let netns = netns.as_fd();
        let place = format!(" in netns {}", netns::describe(netns));
        setns(netns, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::system(format!("enter{place}"), errno))?;
        let opened = Self::open_as(place);
        setns(home, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::system("go back to the netns of before", errno))?;
        opened
    }

    fn open_as(place: String) -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|e| Error::system(format!("open netlink{place}"), e))?;
        Ok(Self {
            socket,
            sequence: 0,
            place,
            buffer: Vec::with_capacity(ANSWER),
        })
    }

    /// Does a batch: for each request what became of it, with the link that was asked for.
    ///
    /// # Errors
    /// When the socket itself fails; what was done is then unknown.
    pub fn run(&mut self, batch: Batch<'_>) -> Result<Vec<Result<Option<Link>>>> {
        let first = self.sequence.wrapping_add(1);
        let (actions, messages): (Vec<_>, Vec<_>) = (batch.requests.into_iter())
            .map(|r| ((r.action, r.may_fail), r.message))
            .unzip();
        let outcomes = self.exchange(messages).map_err(|failure| {
            failure.during(format!("talk to the kernel (from #{first}){}", self.place))
        })?;
        let told = actions.into_iter().zip(outcomes);
        let place = &self.place;
        Ok(told
            .map(|((action, may_fail), outcome)| match outcome {
                Ok(answer) => Ok(answer.and_then(link::read_link)),
                Err(_) if may_fail => Ok(None),
                Err(failure) => Err(failure.during(format!("{action}{place}"))),
            })
            .collect())
    }

    /// Does a batch that has to succeed as a whole: the links that were asked for, in order.
    ///
    /// # Errors
    /// The first request that failed; those behind it were tried all the same.
    pub fn run_all(&mut self, batch: Batch<'_>) -> Result<Vec<Link>> {
        let outcomes = self.run(batch)?;
        let links: Vec<Option<Link>> = outcomes.into_iter().collect::<Result<_>>()?;
        Ok(links.into_iter().flatten().collect())
    }

    /// Whether there is a link of this name. Does not take the kernel's lock on links, for which a
    /// hundred other requests may wait.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn has_link(&self, name: &str) -> Result<bool> {
        let found = self
            .find(name)
            .map_or_else(Failure::unless_absent, |_| Ok(true));
        found.map_err(|failure| failure.during(format!("find link {name}{}", self.place)))
    }

    /// The index of a link, without that lock either. A question about the link itself makes the
    /// kernel look after its state first.
    ///
    /// # Errors
    /// [`Error::is_absent`] when there is no such link.
    pub fn index_of(&self, name: &str) -> Result<u32> {
        let found = self.find(name);
        found.map_err(|failure| failure.during(format!("find link {name}{}", self.place)))
    }

    /// As [`Direct::index_of`], for callers who word their own errors.
    pub(crate) fn find(&self, name: &str) -> Result<u32, Failure> {
        // SAFETY: all-zero bytes are an `ifreq` without a name.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        // The last byte stays zero, which ends the name.
        let room = libc::IFNAMSIZ - 1;
        if name.is_empty() || name.len() > room {
            return Err(Failure::Refused(Refusal::of(Errno::ENODEV)));
        }
        for (to, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = byte as libc::c_char;
        }
        let socket = self.socket.as_raw_fd();
        // SAFETY: the kernel reads and writes one `ifreq`, in the namespace of the socket.
        Errno::result(unsafe { libc::ioctl(socket, libc::SIOCGIFINDEX as _, &raw mut request) })
            .map_err(|errno| Failure::of_io(&errno.into()))?;
        // SAFETY: the request was granted, so this is the field that was filled in.
        let index = unsafe { request.ifr_ifru.ifru_ifindex };
        u32::try_from(index).map_err(|error| Failure::Unexpected(error.to_string()))
    }

    /// All links, in the order of their index.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let message = RouteNetlinkMessage::GetLink(link::all());
        let answers = self.dump(message);
        let answers = answers.map_err(|f| f.during(format!("list links{}", self.place)))?;
        Ok(answers.into_iter().filter_map(link::read_link).collect())
    }

    /// All addresses of all links.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn addresses(&mut self) -> Result<Vec<Address>> {
        let message = RouteNetlinkMessage::GetAddress(Default::default());
        let answers = self.dump(message);
        let answers = answers.map_err(|f| f.during(format!("list addresses{}", self.place)))?;
        Ok(answers.into_iter().filter_map(address::read).collect())
    }

    /// The unicast routes of all tables, of both families; without the names of their links.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for message in route::asked() {
            let answers = self.dump(RouteNetlinkMessage::GetRoute(message));
            let answers = answers.map_err(|f| f.during(format!("list routes{}", self.place)))?;
            routes.extend(answers.into_iter().filter_map(route::read_alone));
        }
        Ok(routes)
    }

    /// Everything of a kind.
    fn dump(&mut self, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Failure> {
        let mut request = NetlinkMessage::from(message);
        self.sequence = self.sequence.wrapping_add(1);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut datagram = vec![0; request.buffer_len()];
        request.serialize(&mut datagram);
        let io = |error: io::Error| Failure::of_io(&error);
        self.socket.send(&datagram, 0).map_err(io)?;
        let mut all = Vec::new();
        loop {
            self.receive()?;
            for message in multicast::messages(&self.buffer) {
                let message = read(message)?;
                match message.payload {
                    _ if message.header.sequence_number != self.sequence => {}
                    NetlinkPayload::InnerMessage(answer) => all.push(answer),
                    NetlinkPayload::Done(_) => return Ok(all),
                    NetlinkPayload::Error(error) => {
                        return Err(Failure::Refused(Refusal::of_message(&error)));
                    }
                    other => return Err(Failure::Unexpected(format!("{other:?}"))),
                }
            }
        }
    }

    /// One datagram into the buffer.
    fn receive(&mut self) -> Result<(), Failure> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(0) => return Err(Failure::Closed),
                Ok(_) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
                Err(error) => return Err(Failure::of_io(&error)),
            }
        }
    }

    /// Does a batch, for callers who word their own errors.
    pub(crate) fn outcomes(&mut self, batch: Batch<'_>) -> Result<Vec<Outcome>, Failure> {
        self.exchange(batch.requests.into_iter().map(|r| r.message).collect())
    }

    fn exchange(
        &mut self,
        messages: Vec<NetlinkMessage<RouteNetlinkMessage>>,
    ) -> Result<Vec<Outcome>, Failure> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        let count = messages.len();
        for mut message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = datagram.len();
            datagram.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut datagram[start..]);
        }
        if count > 0 {
            self.socket
                .send(&datagram, 0)
                .map_err(|error| Failure::of_io(&error))?;
        }
        self.collect(first, count)
    }

    /// Reads until every request has its acknowledgement.
    fn collect(&mut self, first: u32, count: usize) -> Result<Vec<Outcome>, Failure> {
        let mut answers: Vec<Option<RouteNetlinkMessage>> = (0..count).map(|_| None).collect();
        let mut outcomes: Vec<Option<Outcome>> = (0..count).map(|_| None).collect();
        while outcomes.iter().any(Option::is_none) {
            self.receive()?;
            let message = read(&self.buffer)?;
            let index = message.header.sequence_number.wrapping_sub(first) as usize;
            // Of a batch before this one that was given up.
            if index >= count {
                continue;
            }
            match message.payload {
                NetlinkPayload::InnerMessage(answer) => answers[index] = Some(answer),
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    let refusal = Refusal::of_message(&error);
                    outcomes[index] = Some(Err(Failure::Refused(refusal)));
                }
                NetlinkPayload::Error(_) => outcomes[index] = Some(Ok(answers[index].take())),
                other => return Err(Failure::Unexpected(format!("{other:?}"))),
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }
}

fn read(message: &[u8]) -> Result<NetlinkMessage<RouteNetlinkMessage>, Failure> {
    NetlinkMessage::deserialize(&link::slim(message))
        .map_err(|error| Failure::Unexpected(error.to_string()))
}

/// What became of one request.
pub(crate) type Outcome = Result<Option<RouteNetlinkMessage>, Failure>;
