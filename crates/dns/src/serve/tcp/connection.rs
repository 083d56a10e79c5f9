//! One connection (RFC 7766): queries one after another, replies as they are ready.
//!
//! ```text
//! bytes ─> input ─whole messages─> desk ─at once────────────> output ─> bytes
//!                                    └──later─> waiting ────────┘
//! ```
//!
//! One task has all of it. Nothing is read while too many lookups wait or the client does not
//! take its replies, so what a connection can hold is bounded, and TCP slows its client down. The input
//! grows with what came, not with what a length promises.
//!
//! A connection ends when no query came for a while, when a message that began does not end, when
//! replies are not taken, and when a message is longer than any query is.

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::Interest,
    net::TcpStream,
    sync::watch,
    time::{self, Instant},
};

use crate::serve::{
    ask::{Answering, Transport},
    desk::{Desk, Received},
};

/// Longest query. One is below 300 bytes, and options of EDNS rarely are more.
const QUERY_BYTES: usize = 4096;
/// Lookups that wait for one connection.
const MAX_WAITING: usize = 64;
/// Bytes of replies that are not taken, above which nothing is read.
const MAX_OUTPUT_BYTES: usize = 64 << 10;
/// What is read with one call.
const READ_BYTES: usize = 2048;
/// Progress that a slow reader has to make within the idle time.
const PROGRESS_BYTES: usize = 2048;
/// In a drain, how long a client may take to send what is on the way.
const LAST_WORDS: Duration = Duration::from_millis(500);

type Reply = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;

pub struct Connection<A: Answering> {
    stream: TcpStream,
    client: SocketAddr,
    desk: Arc<Desk<A>>,
    idle: Duration,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Bytes of the output that were written.
    written: usize,
    waiting: FuturesUnordered<Reply>,
    /// When it ends unless something happens.
    deadline: Instant,
    /// Written since the deadline was set.
    progress: usize,
    /// Nothing more is read.
    closing: bool,
}

impl<A: Answering> Connection<A> {
    pub fn new(stream: TcpStream, client: SocketAddr, desk: Arc<Desk<A>>, idle: Duration) -> Self {
        Self {
            stream,
            client,
            desk,
            idle,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            waiting: FuturesUnordered::new(),
            deadline: Instant::now() + idle,
            progress: 0,
            closing: false,
        }
    }

    /// Serves it to its end.
    pub async fn run(mut self, mut draining: watch::Receiver<bool>) {
        let mut drains = *draining.borrow_and_update();
        if drains {
            self.hurry();
        }
        while !self.is_done() {
            let interest = self.interest();
            tokio::select! {
                ready = self.stream.ready(interest.unwrap_or(Interest::ERROR)), if interest.is_some() => {
                    let moved = ready.and_then(|ready| {
                        if ready.is_writable() {
                            self.write()?;
                        }
                        if ready.is_readable() && self.reads() {
                            self.read()?;
                        }
                        Ok(())
                    });
                    if moved.is_err() {
                        return;
                    }
                }
                Some(reply) = self.waiting.next() => {
                    self.queue(reply);
                    // There is room for another query, too, which may have come already.
                    if self.write().is_err() {
                        return;
                    }
                }
                () = time::sleep_until(self.deadline) => {
                    if self.waiting.is_empty() || self.has_output() {
                        return;
                    }
                    // It waits for us.
                    self.put_off();
                }
                changed = draining.changed(), if !drains => {
                    drains = true;
                    self.hurry();
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        self.closing && self.waiting.is_empty() && !self.has_output()
    }

    fn has_output(&self) -> bool {
        self.written < self.output.len()
    }

    fn reads(&self) -> bool {
        let room = self.output.len() - self.written < MAX_OUTPUT_BYTES;
        !self.closing && room && self.waiting.len() < MAX_WAITING
    }

    fn interest(&self) -> Option<Interest> {
        match (self.reads(), self.has_output()) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        }
    }

    /// A drain has begun.
    fn hurry(&mut self) {
        self.idle = self.idle.min(LAST_WORDS);
        self.put_off();
    }

    fn put_off(&mut self) {
        self.deadline = Instant::now() + self.idle;
        self.progress = 0;
    }

    fn read(&mut self) -> io::Result<()> {
        self.input.reserve(READ_BYTES);
        match self.stream.try_read_buf(&mut self.input) {
            Ok(0) => self.closing = true,
            Ok(_) => self.take_messages(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        // Most replies leave without waiting for the socket to say that there is room.
        self.write()
    }

    /// Receives the whole messages of the input, as long as there is room for what they make.
    fn take_messages(&mut self) {
        let mut at = 0;
        while self.reads() {
            let rest = &self.input[at..];
            let Some((length, rest)) = rest.split_first_chunk() else {
                break;
            };
            let length = usize::from(u16::from_be_bytes(*length));
            if length > QUERY_BYTES {
                // Told by the header, once it is there; the rest is of no interest.
                self.closing = rest.len() >= sealane_message::HEADER_BYTES;
                let header = rest.len().min(sealane_message::HEADER_BYTES);
                if self.closing {
                    self.receive(at + 2..at + 2 + header);
                }
                break;
            }
            if rest.len() < length {
                break;
            }
            self.receive(at + 2..at + 2 + length);
            at += 2 + length;
        }
        if at > 0 {
            self.input.drain(..at);
            self.put_off();
        }
        if self.input.is_empty() {
            // An idle connection keeps no buffer.
            self.input = Vec::new();
        }
    }

    fn receive(&mut self, message: std::ops::Range<usize>) {
        let start = self.output.len();
        self.output.extend_from_slice(&[0; 2]);
        let at = std::time::Instant::now();
        let message = &self.input[message];
        let received =
            self.desk
                .receive(message, self.client, Transport::Tcp, at, &mut self.output);
        match received {
            Received::Reply => {
                let length = (self.output.len() - start - 2) as u16;
                self.output[start..start + 2].copy_from_slice(&length.to_be_bytes());
            }
            Received::Nothing => self.output.truncate(start),
            Received::Later(waiting) => {
                self.output.truncate(start);
                let desk = Arc::clone(&self.desk);
                let reply = async move { desk.reply(*waiting).await.map(|(reply, _permit)| reply) };
                self.waiting.push(Box::pin(reply));
            }
        }
    }

    fn queue(&mut self, reply: Option<Vec<u8>>) {
        if let Some(reply) = reply {
            if !self.has_output() {
                // The client has waited for us; its time to take this begins now.
                self.put_off();
            }
            self.output
                .extend_from_slice(&(reply.len() as u16).to_be_bytes());
            self.output.extend_from_slice(&reply);
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while self.has_output() {
            match self.stream.try_write(&self.output[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.progress += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if !self.has_output() {
            self.output.clear();
            self.output.shrink_to(READ_BYTES);
            self.written = 0;
        }
        if self.progress >= PROGRESS_BYTES {
            self.put_off();
        }
        // What was held back for want of room may go on.
        self.take_messages();
        Ok(())
    }
}
