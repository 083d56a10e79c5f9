//! Queries in, replies out.
//!
//! ```text
//! sockets      UDP: threads, epoll ─> recvmmsg ─┐          TCP: a task for each connection
//!                                               v                  v
//! desk                    bytes ─> Request, or a refusal; ANY, AXFR, CHAOS answered
//!                                               v
//! Answering                     (ask, what was looked up, writer)
//!                                   │                  │
//!                                 Done               Wanted ──> a task, if the client's share allows,
//!                                   v                  ^  │     looks it up and asks again
//! sockets          sendmmsg, or the connection's queue  └──┘
//! ```
//!
//! What is known at once is answered in the thread that read it, without a task, an allocation or a
//! look at anybody else's work: names of the cluster and what is in the cache. A thread reads up to
//! 32 datagrams with one call and sends their replies with another.
//!
//! [`Answering`] is a function: when something is missing, it says what, and is asked again with
//! it. So it keeps no state of questions that are half answered, and may be replaced between.
//!
//! **Limits.** What a client can take away from others is bounded:
//!
//! * lookups that wait and connections: each client may hold at most as many as are still free
//!   for others ([`share`]), so one alone may have half of all, and many still leave room;
//! * the thread's time: while it does not keep up and more than one client is asking, each has a
//!   rate ([`fair`]), and what is above it is dropped unread;
//! * a connection: queries that wait, bytes of replies that are not taken, time for the next query.
//!
//! **Drain.** Nothing more is read. What was read is answered; connections have a moment to
//! send what is on the way, since others read the sockets by then.

mod ask;
mod desk;
mod fair;
mod share;
mod tcp;
mod udp;

use std::{io, net, sync::Arc, time::Duration};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time};

pub use ask::{Answering, Ask, Sent, Tag, Transport, Verdict};
use desk::Desk;
use share::Shares;

/// Connections and lookups get this long to end in a drain.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// The sockets that queries come from: bound, and not blocking.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For datagrams.
    pub udp: Vec<net::UdpSocket>,
    /// For connections.
    pub tcp: Vec<net::TcpListener>,
}

/// How much is taken on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that read datagrams.
    pub udp_threads: usize,
    /// Lookups of names of others that may be under way at once.
    pub lookups: usize,
    /// Connections at once.
    pub connections: usize,
    /// Datagrams of one client in a second, while there are more than can be read.
    pub rate: u32,
    /// How long a connection may be without a query.
    pub idle: Duration,
    /// What `hostname.bind` and `id.server` tell: which node answers.
    pub identity: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            udp_threads: 1,
            lookups: 4096,
            connections: 1024,
            rate: 10_000,
            idle: Duration::from_secs(10),
            identity: "sealane".into(),
        }
    }
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket cannot be used as it was handed over.
    #[error("serve DNS on {socket}: {source}")]
    Socket {
        /// Which.
        socket: String,
        /// Why.
        source: io::Error,
    },
    /// No thread for datagrams.
    #[error("start a thread for datagrams: {0}; check the limit of processes")]
    Thread(io::Error),
}

/// Serves until it is dropped or drained.
#[derive(Debug)]
pub struct Serving {
    stop: Arc<EventFd>,
    threads: Vec<std::thread::JoinHandle<()>>,
    draining: watch::Sender<bool>,
    accepting: Vec<JoinHandle<()>>,
    lookups: Arc<Shares>,
    connections: Arc<Shares>,
}

/// Serves `sockets` with what `answering` knows. Must be called in a tokio runtime.
///
/// # Errors
///
/// A socket that cannot be used, or no thread.
pub fn start<A: Answering>(
    sockets: Sockets,
    settings: &Settings,
    answering: A,
) -> Result<Serving, ServeError> {
    let desk = Arc::new(Desk::new(answering, settings));
    let connections = Arc::new(Shares::new(settings.connections));
    let (draining, drained) = watch::channel(false);
    let mut accepting = Vec::new();
    for listener in sockets.tcp {
        let desk = Arc::clone(&desk);
        let limits = tcp::Limits {
            connections: Arc::clone(&connections),
            idle: settings.idle,
        };
        accepting.push(tcp::accept(listener, desk, limits, drained.clone())?);
    }
    let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .map_err(|errno| ServeError::Thread(errno.into()))?;
    let mut serving = Serving {
        stop: Arc::new(stop),
        threads: Vec::new(),
        draining,
        accepting,
        lookups: Arc::clone(desk.lookups()),
        connections,
    };
    if !sockets.udp.is_empty() {
        let sockets = udp::sockets(sockets.udp)?;
        for _ in 0..settings.udp_threads.max(1) {
            let reader = udp::Reader::new(&sockets, &serving.stop, &desk, settings)?;
            let thread = std::thread::Builder::new().name("dns-udp".into());
            let runtime = Handle::current();
            let thread = thread.spawn(move || reader.run(&runtime));
            serving.threads.push(thread.map_err(ServeError::Thread)?);
        }
    }
    Ok(serving)
}

impl Serving {
    /// Reads nothing more: when this is over, whatever comes is for others to read.
    pub async fn stop(&mut self) {
        self.stop_reading();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread for datagrams had failed");
                }
            }
        });
        if joined.await.is_err() {
            tracing::error!("the threads for datagrams could not be waited for");
        }
    }

    /// Reads nothing more, answers what was read, and ends.
    pub async fn drain(mut self) {
        self.stop().await;
        let ended = async {
            self.connections.all_free().await;
            self.lookups.all_free().await;
        };
        if time::timeout(DRAIN_LIMIT, ended).await.is_err() {
            tracing::warn!(
                connections = self.connections.held(),
                lookups = self.lookups.held(),
                "not all ended within {} s",
                DRAIN_LIMIT.as_secs()
            );
        }
    }

    fn stop_reading(&mut self) {
        // The counter of an eventfd is full after 2^64 - 2 of these.
        let _always = self.stop.write(1);
        for task in self.accepting.drain(..) {
            task.abort();
        }
        self.draining.send_replace(true);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop_reading();
    }
}
