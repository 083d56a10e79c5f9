//! The streams of one `exec`, between a WebSocket and the command's descriptors.
//!
//! ```text
//! WebSocket ──0,4,255──> input loop ──> stdin pipe / terminal
//!           <──1,2,3──── sender <──mpsc 4── stdout, stderr readers; the exit code last
//! ```
//!
//! A client that does not read fills the channel, then the pipe, and so holds
//! the command up, as a terminal would. A client that goes away ends the
//! command, since dropping its handle kills it.

use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use sealane_runtime::{Error, ExecSpec, Shim};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

use super::answer::Refusal;
use super::descriptor::Descriptor;
use super::exec::ExecOptions;
use super::exec_start::{StartError, Streams, start};

const STDIN: u8 = 0;
pub const STDOUT: u8 = 1;
pub const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Messages that may wait for a slow client.
const QUEUE: usize = 4;
/// A client that answers no ping gets its output all the same.
const GREETING: Duration = Duration::from_secs(1);
/// Messages that are kept meanwhile.
const EARLY: usize = 16;
/// Bytes of one message.
const PIECE: usize = 32 << 10;
/// A command's children may keep its output open for ever; they are not waited for longer.
const DRAIN: Duration = Duration::from_millis(500);
/// What comes from the client.
type Said = Result<Message, tungstenite::Error>;

/// What was agreed with the client.
pub struct Session {
    /// What was asked for.
    pub options: ExecOptions,
    /// The client may close channels (v5).
    pub closes_channels: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

/// Runs a command and its conversation to the end.
pub async fn run<S>(socket: WebSocketStream<S>, session: Session, shim: &Shim, spec: &ExecSpec)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut source) = socket.split();
    let (early, started) = tokio::join!(
        greet(&mut sink, &mut source),
        start(&session.options, shim, spec)
    );
    let mut source = futures::stream::iter(early).chain(source);
    let status = match started {
        Ok(streams) => match converse(streams, &session, &mut sink, &mut source).await {
            Some(code) => status_of(code),
            None => return,
        },
        Err(error) => {
            let text = format!("{error}\n");
            if session.options.stderr && say(&mut sink, STDERR, text.as_bytes()).await.is_err() {
                return;
            }
            status_of_error(&error)
        }
    };
    end(sink, source, &status).await;
}

/// Says that there is nothing to run.
pub async fn refuse<S>(socket: WebSocketStream<S>, refusal: &Refusal)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut source) = socket.split();
    let early = greet(&mut sink, &mut source).await;
    end(
        sink,
        futures::stream::iter(early).chain(source),
        &refusal.status(),
    )
    .await;
}

/// Waits until the client listens; returns what it said before.
///
/// kubectl reads before it has made its streams, and drops what comes for one
/// that it has not made. Its answer to a ping comes from that reader, so by
/// then the streams are (all but certainly) there, however busy its machine is.
async fn greet<W, R>(sink: &mut W, source: &mut R) -> Vec<Said>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
    R: Stream<Item = Said> + Unpin,
{
    let mut early = Vec::new();
    if sink.send(Message::Ping(Bytes::new())).await.is_err() {
        return early;
    }
    let pong = async {
        while early.len() < EARLY
            && let Some(message) = source.next().await
        {
            if matches!(message, Ok(Message::Pong(_)) | Err(_)) {
                return;
            }
            early.push(message);
        }
    };
    let _silent = tokio::time::timeout(GREETING, pong).await.is_err();
    early
}

/// The last words, and the end of the conversation.
async fn end<W, R>(mut sink: W, mut source: R, status: &Value)
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
    R: Stream<Item = Said> + Unpin,
{
    let said = say(&mut sink, STATUS, status.to_string().as_bytes()).await;
    if said.is_ok() && sink.send(farewell()).await.is_ok() {
        // The client answers the close; whatever else it still says does not matter.
        while let Ok(Some(Ok(_))) = tokio::time::timeout(DRAIN, source.next()).await {}
    }
}

/// Clients take any other code than this for a broken connection.
fn farewell() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }))
}

/// Carries the streams until the command has ended; `None` when the client has gone.
async fn converse<W, R>(
    streams: Streams,
    session: &Session,
    sink: &mut W,
    source: &mut R,
) -> Option<i32>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
    R: Stream<Item = Said> + Unpin,
{
    let Streams {
        mut exec,
        stdin,
        outputs,
    } = streams;
    let (pieces, mut queue) = mpsc::channel(QUEUE);
    let mut readers = tokio::task::JoinSet::new();
    for (channel, output) in outputs {
        readers.spawn(read(channel, output, pieces.clone()));
    }
    drop(pieces);
    let mut input = std::pin::pin!(take_input(stdin, session, source));
    let mut wait = std::pin::pin!(exec.wait());
    let mut code = None;
    let mut listening = true;
    loop {
        tokio::select! {
            piece = queue.recv() => match piece {
                Some((channel, bytes)) => say(sink, channel, &bytes).await.ok()?,
                // All output has been sent: only the exit code is missing.
                None => return Some(match code {
                    Some(code) => code,
                    None => tokio::select! {
                        ended = wait => ended.unwrap_or(-1),
                        // A client that goes away now ends the command as well.
                        Left = &mut input, if listening => return None,
                    },
                }),
            },
            ended = &mut wait, if code.is_none() => code = Some(ended.unwrap_or(-1)),
            Left = &mut input, if listening => {
                // Before the end: the command goes with its client.
                code?;
                listening = false;
            }
            () = tokio::time::sleep(DRAIN), if code.is_some() => return code,
        }
    }
}

/// The client has gone.
struct Left;

/// Reads one output to its end.
async fn read(channel: u8, output: Descriptor, pieces: mpsc::Sender<(u8, Bytes)>) {
    let mut buffer = vec![0; PIECE];
    loop {
        match output.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                let piece = Bytes::copy_from_slice(&buffer[..count]);
                if pieces.send((channel, piece)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Passes on what the client says, until it goes away.
async fn take_input<R>(mut stdin: Option<Descriptor>, session: &Session, source: &mut R) -> Left
where
    R: Stream<Item = Said> + Unpin,
{
    while let Some(Ok(message)) = source.next().await {
        let bytes = match &message {
            Message::Binary(bytes) => bytes.as_ref(),
            Message::Text(text) => text.as_bytes(),
            Message::Close(_) => return Left,
            _ => continue,
        };
        match bytes {
            [STDIN, input @ ..] if session.options.stdin => {
                let Some(descriptor) = &stdin else { continue };
                if descriptor.write_all(input).await.is_err() && !session.options.tty {
                    // The command has closed its input: it does not want more.
                    stdin = None;
                }
            }
            [RESIZE, size @ ..] if session.options.tty => {
                if let (Some(descriptor), Ok(size)) = (&stdin, serde_json::from_slice::<Size>(size))
                {
                    // A terminal that has just closed has no size to set.
                    let _closed = descriptor.resize(size.height, size.width);
                }
            }
            [CLOSE, STDIN] if session.closes_channels && !session.options.tty => stdin = None,
            _ => {}
        }
    }
    Left
}

async fn say<W>(sink: &mut W, channel: u8, bytes: &[u8]) -> Result<(), tungstenite::Error>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
{
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    sink.send(Message::Binary(message.into())).await
}

/// What kubectl makes its own exit code from (`k8s.io/apimachinery` `metav1.Status`).
fn status_of(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    failure(
        code,
        format!("command terminated with non-zero exit code: exit code {code}"),
    )
}

fn status_of_error(error: &StartError) -> Value {
    match error {
        StartError::Shim(Error::Exec { code, .. }) => failure(*code, error.to_string()),
        _ => json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": error.to_string(),
        }),
    }
}

fn failure(code: i32, message: String) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": message,
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}
