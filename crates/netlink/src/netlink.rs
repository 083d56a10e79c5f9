use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use nix::errno::Errno;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::AsyncSocket;

use crate::error::{Error, Refusal, Result};
use crate::netns;
use crate::nft;
use crate::removal::Removals;

/// The netlink sockets of one network namespace. Clones share them; the last one closes them.
#[derive(Clone)]
pub struct Netlink {
    pub(crate) place: Arc<Place>,
    handle: rtnetlink::Handle,
    nft: Arc<Mutex<nft::Socket>>,
    /// The kernel lists one thing at a time on a socket, and refuses a second (`EBUSY`).
    listing: Arc<tokio::sync::Mutex<()>>,
    pub(crate) removals: Arc<Removals>,
}

/// Which namespace, and how messages call it.
pub(crate) struct Place {
    /// `None`: the namespace of this process.
    netns: Option<OwnedFd>,
}

/// Why a request gave no answer; becomes an [`Error`] once the caller has said what it tried.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Refused(Refusal),
    Closed,
    Unexpected(String),
}

impl Netlink {
    /// Opens the sockets in the namespace of the calling thread, which must be the one of the process.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the sockets cannot be opened.
    pub fn in_current() -> Result<Self> {
        Self::open(Place { netns: None })
    }

    /// Opens the sockets in another namespace and keeps a duplicate of its descriptor.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the sockets cannot be opened.
    pub fn in_netns(netns: &impl AsFd) -> Result<Self> {
        let netns = netns
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Error::system("keep a netns open", error))?;
        Self::open(Place { netns: Some(netns) })
    }

    /// Opens the sockets in a namespace below `/run/netns`.
    ///
    /// # Errors
    /// As [`netns::open_named`] and [`Netlink::in_netns`].
    pub fn in_named(name: &str) -> Result<Self> {
        Self::in_netns(&netns::open_named(name)?)
    }

    fn open(place: Place) -> Result<Self> {
        let opened = place.run(|| -> std::io::Result<_> {
            let (mut connection, handle, _) = rtnetlink::new_connection()?;
            connection.set_forward_ack(true);
            connection.set_forward_done(true);
            let socket = connection.socket_mut().socket_mut();
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            Ok((connection, handle, nft::Socket::open()?))
        })?;
        let (connection, handle, nft) =
            opened.map_err(|error| Error::system(format!("open netlink{place}"), error))?;
        tokio::spawn(connection);
        let place = Arc::new(place);
        Ok(Self {
            removals: Arc::new(Removals::new(Arc::clone(&place))),
            place,
            handle,
            nft: Arc::new(Mutex::new(nft)),
            listing: Arc::default(),
        })
    }

    /// The namespace's descriptor; `None` for the namespace of this process.
    pub fn netns(&self) -> Option<BorrowedFd<'_>> {
        self.place.netns()
    }

    /// Runs `work` on a thread inside the namespace, see [`netns::run_in`].
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.place.run(work)
    }

    /// The socket of nftables, for one question or transaction at a time.
    pub(crate) fn nft(&self) -> MutexGuard<'_, nft::Socket> {
        // The socket holds no state that a panic could leave half changed.
        self.nft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One change, answered by an acknowledgement.
    pub(crate) async fn change(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), Failure> {
        self.request(message, NLM_F_ACK | flags).await.map(drop)
    }

    /// One question with one answer. The acknowledgement asked for ends the wait
    /// even if the answer cannot be read.
    pub(crate) async fn get(
        &self,
        message: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, Failure> {
        let answer = self.request(message, NLM_F_ACK).await?;
        let mut messages = answer.messages.into_iter();
        messages
            .next()
            .ok_or_else(|| Failure::Unexpected("none that could be read".into()))
    }

    /// Everything of a kind. A table that changed meanwhile is read again.
    pub(crate) async fn dump(
        &self,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Failure> {
        const ATTEMPTS: usize = 8;
        let _turn = self.listing.lock().await;
        let mut answer = Answer::default();
        for _ in 0..ATTEMPTS {
            answer = self.request(message.clone(), NLM_F_DUMP).await?;
            if !answer.interrupted {
                break;
            }
        }
        Ok(answer.messages)
    }

    async fn request(&self, message: RouteNetlinkMessage, flags: u16) -> Result<Answer, Failure> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let mut stream = self
            .handle
            .clone()
            .request(request)
            .map_err(|_| Failure::Closed)?;
        let mut answer = Answer::default();
        while let Some(message) = stream.next().await {
            answer.interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::InnerMessage(message) => answer.messages.push(message),
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    return Err(Failure::Refused(Refusal::of_message(&error)));
                }
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => answer.complete = true,
                other => return Err(Failure::Unexpected(format!("{other:?}"))),
            }
        }
        // A stream that ends early means that the connection's task is gone,
        // with its runtime for instance: never mistake that for success.
        if answer.complete {
            Ok(answer)
        } else {
            Err(Failure::Closed)
        }
    }

    /// Turns a failure into an error that tells what was tried, and where.
    pub(crate) fn failed<'a, D: fmt::Display + 'a>(
        &'a self,
        action: impl FnOnce() -> D + 'a,
    ) -> impl FnOnce(Failure) -> Error + 'a {
        move |failure| failure.during(format!("{}{}", action(), self.place))
    }
}

#[derive(Default)]
struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    interrupted: bool,
    complete: bool,
}

impl Place {
    pub(crate) fn netns(&self) -> Option<BorrowedFd<'_>> {
        self.netns.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        match &self.netns {
            Some(netns) => netns::run_in(netns, work),
            None => Ok(work()),
        }
    }
}

impl fmt::Display for Place {
    /// Ends a sentence: ` in netns /run/netns/a`, or nothing for our own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.netns {
            Some(netns) => write!(f, " in netns {}", netns::describe(netns.as_fd())),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Netlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Netlink{}", self.place)
    }
}

impl Failure {
    pub(crate) fn of_io(error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Failure::Refused(Refusal::of(Errno::from_raw(number))),
            None => Failure::Unexpected(error.to_string()),
        }
    }

    /// Absence is success when something is deleted: whether it was there.
    pub(crate) fn unless_absent(self) -> Result<bool, Failure> {
        match self {
            Failure::Refused(refusal) if crate::error::is_absent(refusal.errno) => Ok(false),
            failure => Err(failure),
        }
    }

    pub(crate) fn is(&self, errno: Errno) -> bool {
        matches!(self, Failure::Refused(refusal) if refusal.errno == errno)
    }

    pub(crate) fn during(self, action: String) -> Error {
        match self {
            Failure::Refused(refusal) => Error::Refused { action, refusal },
            Failure::Closed => Error::Protocol {
                action,
                answer: "the netlink connection is closed".into(),
            },
            Failure::Unexpected(answer) => Error::Protocol { action, answer },
        }
    }
}
