//! Datagrams.
//!
//! Each thread waits for all sockets and takes from one up to 32 datagrams with a call, answers
//! what it can, and sends those replies with another call. The sockets do not block and may be
//! read by others at the same time: by another thread, or by the process that takes over.

mod batch;
mod local;

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::Instant,
};

use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    eventfd::EventFd,
};
use tokio::runtime::Handle;

use super::{
    ServeError, Settings,
    ask::{Answering, Transport},
    desk::{Desk, Received, Waiting},
    fair::Fair,
};
use batch::Batch;
use local::Local;

/// Batches that are taken from one socket before the others get a turn.
const TURNS: usize = 16;
/// What the stop signal is called among the sockets.
const STOP: u64 = u64::MAX;

/// A socket and what is to be known of it.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    /// Bound to no address, so a reply has to say from which it goes.
    anywhere: bool,
}

/// One thread's work.
pub struct Reader<A: Answering> {
    sockets: Arc<[Arc<Socket>]>,
    epoll: Epoll,
    desk: Arc<Desk<A>>,
    batch: Batch,
    fair: Fair,
}

/// Makes `sockets` ready to be read.
pub fn sockets(sockets: Vec<UdpSocket>) -> Result<Arc<[Arc<Socket>]>, ServeError> {
    sockets.into_iter().map(prepare).collect()
}

fn prepare(socket: UdpSocket) -> Result<Arc<Socket>, ServeError> {
    let failed = |source| ServeError::Socket {
        socket: format!("{socket:?}"),
        source,
    };
    let anywhere = socket.local_addr().map_err(failed)?.ip().is_unspecified();
    socket.set_nonblocking(true).map_err(failed)?;
    if anywhere {
        local::tell(&socket).map_err(failed)?;
    }
    Ok(Arc::new(Socket { socket, anywhere }))
}

impl<A: Answering> Reader<A> {
    pub fn new(
        sockets: &Arc<[Arc<Socket>]>,
        stop: &Arc<EventFd>,
        desk: &Arc<Desk<A>>,
        settings: &Settings,
    ) -> Result<Self, ServeError> {
        let failed = |errno: nix::Error| ServeError::Socket {
            socket: "datagrams".into(),
            source: errno.into(),
        };
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let wait = |fd, token| {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
            epoll.add(fd, event).map_err(failed)
        };
        // All who wait are woken for a datagram (no EPOLLEXCLUSIVE): the one that is woken might
        // be about to stop, and then it would lie there until the next one comes.
        wait(stop.as_fd(), STOP)?;
        for (token, socket) in (0..).zip(sockets.iter()) {
            wait(socket.socket.as_fd(), token)?;
        }
        Ok(Self {
            sockets: Arc::clone(sockets),
            epoll,
            desk: Arc::clone(desk),
            batch: Batch::default(),
            fair: Fair::new(settings.rate, Instant::now()),
        })
    }

    /// Reads until it is told to stop. Whatever was read is answered before it returns, or will
    /// be by a task of `runtime`.
    pub fn run(mut self, runtime: &Handle) {
        let mut events = [EpollEvent::empty(); 16];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(nix::Error::EINTR) => continue,
                Err(errno) => {
                    tracing::error!("wait for datagrams: {errno}; this thread ends");
                    return;
                }
            };
            for event in &events[..count] {
                if event.data() == STOP {
                    return;
                }
                let sockets = Arc::clone(&self.sockets);
                if let Some(socket) = sockets.get(event.data() as usize) {
                    self.serve(socket, runtime);
                }
            }
        }
    }

    /// Takes what waits at `socket`, but leaves others a turn.
    fn serve(&mut self, socket: &Arc<Socket>, runtime: &Handle) {
        for _ in 0..TURNS {
            match self
                .batch
                .receive(socket.socket.as_raw_fd(), socket.anywhere)
            {
                Ok(0) => return,
                Ok(count) => {
                    self.answer(count, socket, runtime);
                    self.batch.send(&socket.socket);
                    if count < batch::SIZE {
                        return;
                    }
                }
                // A reply that could not be delivered is told as an error of the socket, once.
                Err(error) => {
                    tracing::debug!("receive a datagram: {error}");
                    return;
                }
            }
        }
    }

    fn answer(&mut self, count: usize, socket: &Arc<Socket>, runtime: &Handle) {
        let at = Instant::now();
        let pressed = count == batch::SIZE;
        if pressed {
            self.fair.press(at);
        }
        let Batch { queries, replies } = &mut self.batch;
        for index in 0..count {
            let Some((message, client)) = queries.message(index) else {
                continue;
            };
            if pressed && !self.fair.admits(client.ip()) {
                continue;
            }
            let (out, start) = replies.begin();
            match self.desk.receive(message, client, Transport::Udp, at, out) {
                Received::Reply => replies.end(index, start),
                Received::Nothing => {}
                Received::Later(waiting) => {
                    let local = queries.local(index);
                    runtime.spawn(reply_later(
                        Arc::clone(&self.desk),
                        Arc::clone(socket),
                        *waiting,
                        (client, local),
                    ));
                }
            }
        }
    }
}

/// Answers what had to wait, from where it was asked.
async fn reply_later<A: Answering>(
    desk: Arc<Desk<A>>,
    socket: Arc<Socket>,
    waiting: Waiting<A::Wanted>,
    (client, local): (SocketAddr, Option<Local>),
) {
    let Some((reply, _permit)) = desk.reply(waiting).await else {
        return;
    };
    // A full queue of a datagram socket empties within microseconds, and a client asks again.
    if let Err(error) = local::send(&socket.socket, &reply, client, local) {
        tracing::debug!(%client, "send a reply: {error}");
    }
}
