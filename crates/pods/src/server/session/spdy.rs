//! A session over SPDY: a stream for each of input, outputs, errors and sizes, which the client
//! opens and names by its header `streamType` (`v4.channel.k8s.io`).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Client, Gone, Heard, Output, Wanted};
use crate::server::spdy::{Connection, Stream};

/// How long a client may take to open its streams, as a kubelet has it.
const OPENING: Duration = Duration::from_secs(30);
/// Longest description of a window's size.
const SIZE_BYTES: usize = 1024;

/// Hears a client.
pub struct Ear {
    stdin: Option<Stream>,
    resize: Option<Stream>,
    /// The beginning of a size whose end has not come.
    partial: BytesMut,
    over: CancellationToken,
}

/// Speaks to a client.
pub struct Mouth {
    connection: Connection,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    error: Stream,
}

/// The client has not opened the streams that it asked for.
#[derive(Debug, thiserror::Error)]
#[error("the client has not opened all streams that it asked for within {OPENING:?}")]
pub struct Incomplete;

/// The streams that have been opened.
#[derive(Default)]
struct Opened {
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    error: Option<Stream>,
    resize: Option<Stream>,
}

impl Opened {
    fn take(&mut self, stream: Stream) {
        let place = match stream.headers.get("streamType") {
            Some("stdin") => &mut self.stdin,
            Some("stdout") => &mut self.stdout,
            Some("stderr") => &mut self.stderr,
            Some("error") => &mut self.error,
            Some("resize") => &mut self.resize,
            other => return tracing::debug!("a stream of type {other:?} is not wanted"),
        };
        *place = Some(stream);
    }

    fn is_complete(&self, wanted: Wanted) -> bool {
        let there = |wanted: bool, stream: &Option<Stream>| !wanted || stream.is_some();
        self.error.is_some()
            && there(wanted.stdin, &self.stdin)
            && there(wanted.stdout, &self.stdout)
            && there(wanted.stderr, &self.stderr)
            && there(wanted.tty, &self.resize)
    }
}

/// A client, once it has opened its streams.
///
/// # Errors
/// When it does not.
pub async fn client(io: TokioIo<Upgraded>, wanted: Wanted) -> Result<Client, Incomplete> {
    let mut connection = Connection::new(io);
    let mut opened = Opened::default();
    let opening = async {
        while !opened.is_complete(wanted) {
            opened.take(connection.streams.recv().await.ok_or(Incomplete)?);
        }
        Ok(())
    };
    tokio::time::timeout(OPENING, opening)
        .await
        .map_err(|_| Incomplete)??;
    Ok(Client {
        ear: super::Ear::Spdy(Ear {
            stdin: opened.stdin,
            resize: opened.resize,
            partial: BytesMut::new(),
            over: connection.over(),
        }),
        mouth: super::Mouth::Spdy(Mouth {
            connection,
            stdout: opened.stdout,
            stderr: opened.stderr,
            error: opened.error.ok_or(Incomplete)?,
        }),
    })
}

/// The next piece of a stream; for ever nothing without one.
async fn next(stream: &mut Option<Stream>) -> Option<Bytes> {
    match stream {
        Some(stream) => stream.input.recv().await,
        None => std::future::pending().await,
    }
}

impl Ear {
    /// See [`super::Ear::hear`].
    pub async fn hear(&mut self) -> Option<Heard> {
        loop {
            if let Some(size) = self.size() {
                return Some(size);
            }
            tokio::select! {
                biased;
                input = next(&mut self.stdin) => match input {
                    Some(bytes) => return Some(Heard::Input(bytes)),
                    None => {
                        self.stdin = None;
                        if !self.over.is_cancelled() {
                            return Some(Heard::InputEnd);
                        }
                    }
                },
                sizes = next(&mut self.resize) => match sizes {
                    Some(bytes) if self.partial.len() + bytes.len() <= SIZE_BYTES => {
                        self.partial.extend_from_slice(&bytes);
                    }
                    _ => self.resize = None,
                },
                () = self.over.cancelled() => return None,
            }
        }
    }

    /// Sizes are lines of JSON.
    fn size(&mut self) -> Option<Heard> {
        loop {
            let end = self.partial.iter().position(|byte| *byte == b'\n')?;
            let line = self.partial.split_to(end + 1);
            if let Ok(size) = serde_json::from_slice(&line) {
                return Some(Heard::Resize(size));
            }
        }
    }
}

impl Mouth {
    /// See [`super::Mouth::say`].
    pub async fn say(&mut self, output: Output, bytes: Bytes) -> Result<(), Gone> {
        let stream = match output {
            Output::Stdout => &self.stdout,
            Output::Stderr => &self.stderr,
        };
        match stream {
            Some(stream) => stream.output.send(bytes).await,
            None => Ok(()),
        }
    }

    /// See [`super::Client::end`].
    pub async fn end(self, status: &Value) {
        let finish = async {
            for stream in self.stdout.iter().chain(&self.stderr) {
                stream.output.finish().await?;
            }
            self.error.output.send(status.to_string().into()).await?;
            self.error.output.finish().await
        };
        if finish.await.is_ok() {
            self.connection.close().await;
        }
    }
}
