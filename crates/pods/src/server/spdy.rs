//! The server's side of a SPDY/3.1 connection: many streams over one pair of bytes.
//!
//! ```text
//! io ──> reader task ──mpsc 16──> Stream (input) …       new streams ──mpsc 16──> whoever serves
//!    <── writer task <──mpsc 16── Output of each stream, answers of the reader
//! ```
//!
//! A stream whose input is not taken fills its channel (16 parts of at most 32 KiB), and then
//! holds up the reader and so all streams: SPDY's windows would prevent it, but the peer keeps
//! none (see `sealane_spdy`), and a kubelet behaves the same way. Input for a stream that has been
//! dropped is thrown away.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sealane_spdy::{Decoder, Encoder, Frame, Headers, StreamId, status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Parts of a stream, or frames to be written, that may wait.
const QUEUE: usize = 16;
/// Bytes that are read at once.
const PIECE: usize = 32 << 10;
/// Streams that may be open at once: a thousand forwarded connections.
const STREAMS: usize = 2000;
/// How long a client may take to close its end after we have closed ours.
const LINGER: Duration = Duration::from_secs(5);

/// A connection. Dropping it cuts it.
pub struct Connection {
    /// Streams that the client opens.
    pub streams: mpsc::Receiver<Stream>,
    frames: mpsc::Sender<Out>,
    over: CancellationToken,
    reader: AbortOnDropHandle<()>,
    _writer: AbortOnDropHandle<()>,
}

/// What the writer is asked to do.
enum Out {
    Frame(Frame),
    End,
}

/// A stream that the client has opened.
pub struct Stream {
    /// What the client says of it.
    pub headers: Headers,
    /// What the client sends.
    pub input: mpsc::Receiver<Bytes>,
    /// What is sent to the client.
    pub output: Output,
    /// The client does not want it any more, or has gone.
    pub reset: CancellationToken,
    _place: Place,
}

/// Sends to one stream.
pub struct Output {
    id: StreamId,
    frames: mpsc::Sender<Out>,
}

/// The client has gone.
#[derive(Debug, thiserror::Error)]
#[error("the client has gone")]
pub struct Gone;

impl Output {
    /// The stream's number.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Sends bytes; waits for a slow client.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        let id = self.id;
        self.say(Frame::Data {
            id,
            bytes,
            fin: false,
        })
        .await
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn finish(&self) -> Result<(), Gone> {
        let id = self.id;
        self.say(Frame::Data {
            id,
            bytes: Bytes::new(),
            fin: true,
        })
        .await
    }

    /// Ends the stream in both directions.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn reset(&self) -> Result<(), Gone> {
        let id = self.id;
        self.say(Frame::RstStream {
            id,
            status: status::CANCEL,
        })
        .await
    }

    async fn say(&self, frame: Frame) -> Result<(), Gone> {
        self.frames.send(Out::Frame(frame)).await.map_err(|_| Gone)
    }
}

impl Connection {
    /// Serves streams over `io`.
    pub fn new<S>(io: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (far_read, far_write) = tokio::io::split(io);
        let (frames, queue) = mpsc::channel(QUEUE);
        let (opened, streams) = mpsc::channel(QUEUE);
        let over = CancellationToken::new();
        let reader = Reader {
            table: Table::default(),
            opened,
            frames: frames.clone(),
            last: 0,
        };
        let end = over.clone();
        let reader = spawn(async move {
            if let Err(error) = reader.run(far_read).await {
                tracing::debug!("a SPDY connection ended: {error}");
            }
            end.cancel();
        });
        let end = over.clone();
        let writer = spawn(async move {
            if let Err(error) = write(far_write, queue).await {
                tracing::debug!("write to a SPDY connection: {error}");
                end.cancel();
            }
        });
        Self {
            streams,
            frames,
            over,
            reader,
            _writer: writer,
        }
    }

    /// Done when the client has gone.
    pub fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    /// Sends all that waits, and lets the client close.
    pub async fn close(self) {
        let Self {
            streams,
            frames,
            reader,
            _writer,
            ..
        } = self;
        // Streams that are opened now are refused.
        drop(streams);
        if frames.send(Out::End).await.is_ok() {
            // What it still sends is read, or the end would reach it as a broken connection.
            let _silent = tokio::time::timeout(LINGER, reader).await.is_err();
        }
    }
}

fn spawn(work: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    let handle: JoinHandle<()> = tokio::spawn(work);
    AbortOnDropHandle::new(handle)
}

async fn write<W>(mut io: W, mut queue: mpsc::Receiver<Out>) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let (mut encoder, mut buffer) = (Encoder::new(), BytesMut::new());
    while let Some(out) = queue.recv().await {
        let Out::Frame(frame) = out else {
            return io.shutdown().await;
        };
        let encoded = encoder.encode(&frame, &mut buffer);
        encoded.map_err(io::Error::other)?;
        io.write_all(&buffer).await?;
        buffer.clear();
        if queue.is_empty() {
            io.flush().await?;
        }
    }
    Ok(())
}

/// The streams that the client has opened and that are served.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<HashMap<StreamId, Entry>>>);

struct Entry {
    /// Until the client has sent all.
    input: Option<mpsc::Sender<Bytes>>,
    reset: CancellationToken,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves the table when the stream is dropped.
struct Place {
    id: StreamId,
    table: Table,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id);
    }
}

/// Takes frames in.
struct Reader {
    table: Table,
    opened: mpsc::Sender<Stream>,
    frames: mpsc::Sender<Out>,
    /// The number of the last stream.
    last: StreamId,
}

impl Drop for Reader {
    /// Nothing more comes, and nobody reads what is sent.
    fn drop(&mut self) {
        for (_, entry) in self.table.lock().drain() {
            entry.reset.cancel();
        }
    }
}

impl Reader {
    async fn run<R>(mut self, mut io: R) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
    {
        let (mut decoder, mut piece) = (Decoder::new(), vec![0; PIECE]);
        loop {
            let count = io.read(&mut piece).await?;
            if count == 0 {
                return Ok(());
            }
            decoder.push(&piece[..count]);
            while let Some(frame) = decoder.next().map_err(io::Error::other)? {
                self.take(frame).await?;
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::SynStream { id, headers, fin } => self.open(id, headers, fin).await,
            Frame::Data { id, bytes, fin } => {
                self.hand_on(id, bytes, fin).await;
                Ok(())
            }
            Frame::RstStream { id, .. } => {
                if let Some(entry) = self.table.lock().remove(&id) {
                    entry.reset.cancel();
                }
                Ok(())
            }
            // An even one answers a ping of ours, and there are none.
            Frame::Ping { id } if !id.is_multiple_of(2) => self.answer(Frame::Ping { id }).await,
            Frame::Headers { id, fin: true, .. } => {
                self.hand_on(id, Bytes::new(), true).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn answer(&self, frame: Frame) -> io::Result<()> {
        let sent = self.frames.send(Out::Frame(frame)).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn open(&mut self, id: StreamId, headers: Headers, fin: bool) -> io::Result<()> {
        let refuse = |status| Frame::RstStream { id, status };
        if id.is_multiple_of(2) || id <= self.last {
            return self.answer(refuse(status::PROTOCOL_ERROR)).await;
        }
        self.last = id;
        if self.table.lock().len() >= STREAMS {
            return self.answer(refuse(status::REFUSED_STREAM)).await;
        }
        let (sender, input) = mpsc::channel(QUEUE);
        let reset = CancellationToken::new();
        let entry = Entry {
            input: (!fin).then_some(sender),
            reset: reset.clone(),
        };
        self.table.lock().insert(id, entry);
        let stream = Stream {
            headers,
            input,
            output: Output {
                id,
                frames: self.frames.clone(),
            },
            reset,
            _place: Place {
                id,
                table: self.table.clone(),
            },
        };
        // The answer first: what is served may speak at once.
        let reply = Frame::SynReply {
            id,
            headers: Headers::default(),
            fin: false,
        };
        self.answer(reply).await?;
        match self.opened.send(stream).await {
            Ok(()) => Ok(()),
            Err(_) => self.answer(refuse(status::REFUSED_STREAM)).await,
        }
    }

    async fn hand_on(&self, id: StreamId, bytes: Bytes, fin: bool) {
        let input = {
            let mut table = self.table.lock();
            let Some(entry) = table.get_mut(&id) else {
                return;
            };
            match fin {
                true => entry.input.take(),
                false => entry.input.clone(),
            }
        };
        if let Some(input) = input
            && !bytes.is_empty()
        {
            // One that does not listen any more misses nothing.
            let _dropped = input.send(bytes).await.is_err();
        }
    }
}
