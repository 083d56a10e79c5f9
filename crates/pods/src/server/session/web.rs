//! A session over WebSocket: `v5.channel.k8s.io` and `v4.channel.k8s.io` (KEP-4006).
//!
//! Binary messages whose first byte is the channel: 0 standard input, 1 output, 2 error output,
//! 3 the final `Status`, 4 the terminal's size; with v5, `255 N` closes channel N.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{self, Message};

use super::{Client, Gone, Heard, Output, Wanted};

/// The protocol in which a client may close a channel.
pub const CLOSES_CHANNELS: &str = "v5.channel.k8s.io";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// A client that answers no ping gets its output all the same.
const GREETING: Duration = Duration::from_secs(1);
/// Messages that are kept meanwhile.
const EARLY: usize = 16;
/// How long a client may take to answer the end.
const FAREWELL: Duration = Duration::from_millis(500);

type Socket = WebSocketStream<TokioIo<Upgraded>>;
type Said = Result<Message, tungstenite::Error>;

/// Hears a client.
pub struct Ear {
    source: SplitStream<Socket>,
    early: VecDeque<Said>,
    closes_channels: bool,
    wanted: Wanted,
}

/// Speaks to a client.
pub struct Mouth {
    sink: SplitSink<Socket, Message>,
}

/// A client with this protocol.
pub async fn client(io: TokioIo<Upgraded>, protocol: &str, wanted: Wanted) -> Client {
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    let (sink, source) = socket.split();
    Client {
        ear: super::Ear::Web(Ear {
            source,
            early: VecDeque::new(),
            closes_channels: protocol == CLOSES_CHANNELS,
            wanted,
        }),
        mouth: super::Mouth::Web(Mouth { sink }),
    }
}

/// Waits until the client listens, and keeps what it says before.
///
/// kubectl reads before it has made its streams, and drops what comes for one
/// that it has not made. Its answer to a ping comes from that reader, so by
/// then the streams are (all but certainly) there, however busy its machine is.
pub async fn greet(ear: &mut Ear, mouth: &mut Mouth) {
    if mouth.sink.send(Message::Ping(Bytes::new())).await.is_err() {
        return;
    }
    let pong = async {
        while ear.early.len() < EARLY
            && let Some(message) = ear.source.next().await
        {
            if matches!(message, Ok(Message::Pong(_))) {
                return;
            }
            let broken = message.is_err();
            ear.early.push_back(message);
            if broken {
                return;
            }
        }
    };
    let _silent = tokio::time::timeout(GREETING, pong).await.is_err();
}

impl Ear {
    /// See [`super::Ear::hear`].
    pub async fn hear(&mut self) -> Option<Heard> {
        loop {
            let said = match self.early.pop_front() {
                Some(said) => said,
                None => self.source.next().await?,
            };
            let bytes = match said.ok()? {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => text.into(),
                Message::Close(_) => return None,
                _ => continue,
            };
            if let Some(heard) = self.understand(bytes) {
                return Some(heard);
            }
        }
    }

    fn understand(&self, message: Bytes) -> Option<Heard> {
        match message.as_ref() {
            [STDIN, ..] if self.wanted.stdin => Some(Heard::Input(message.slice(1..))),
            [RESIZE, size @ ..] if self.wanted.tty => {
                Some(Heard::Resize(serde_json::from_slice(size).ok()?))
            }
            [CLOSE, STDIN] if self.closes_channels => Some(Heard::InputEnd),
            _ => None,
        }
    }
}

impl Mouth {
    /// See [`super::Mouth::say`].
    pub async fn say(&mut self, output: Output, bytes: &[u8]) -> Result<(), Gone> {
        let channel = match output {
            Output::Stdout => STDOUT,
            Output::Stderr => STDERR,
        };
        self.send(channel, bytes).await
    }

    async fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), Gone> {
        let mut message = Vec::with_capacity(bytes.len() + 1);
        message.push(channel);
        message.extend_from_slice(bytes);
        let sent = self.sink.send(Message::Binary(message.into())).await;
        sent.map_err(|_| Gone)
    }
}

/// See [`super::Client::end`].
pub async fn end(mut ear: Ear, mut mouth: Mouth, status: &Value) {
    let said = mouth.send(STATUS, status.to_string().as_bytes()).await;
    if said.is_ok() && mouth.sink.send(farewell()).await.is_ok() {
        // The client answers the close; whatever else it still says does not matter.
        while let Ok(Some(Ok(_))) = tokio::time::timeout(FAREWELL, ear.source.next()).await {}
    }
}

/// Clients take any other code than this for a broken connection.
pub fn farewell() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }))
}
