//! The streams of one `exec`, between a WebSocket and the command's descriptors.
//!
//! ```text
//! WebSocket ──0,4,255──> input loop ──> stdin pipe / terminal
//!           <──1,2,3──── sender <──mpsc 4── stdout, stderr readers; the exit code last
//! ```
//!
//! A client that does not read fills the channel, then the pipe, and so holds
//! the command up, as a terminal would. A client that goes away ends the
//! command, since dropping [`Exec`] kills it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use sealane_runtime::{Error, Exec, ExecIo, ExecSpec, Shim};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

use super::answer::Refusal;
use super::descriptor::{Descriptor, pipe};
use super::exec::ExecOptions;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Messages that may wait for a slow client.
const QUEUE: usize = 4;
/// Bytes of one message.
const PIECE: usize = 32 << 10;
/// A command's children may keep its output open for ever; they are not waited for longer.
const DRAIN: Duration = Duration::from_millis(500);
/// The terminal's size until the client says otherwise.
const SIZE: (u16, u16) = (24, 80);

/// What was agreed with the client.
pub struct Session {
    /// What was asked for.
    pub options: ExecOptions,
    /// The client may close channels (v5).
    pub closes_channels: bool,
}

/// Our ends of the command's streams.
struct Streams {
    exec: Exec,
    stdin: Option<Descriptor>,
    outputs: Vec<(u8, Descriptor)>,
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
    // The first message tells the client that the connection stands.
    let hello = if session.options.stdout {
        STDOUT
    } else {
        STATUS
    };
    if say(&mut sink, hello, &[]).await.is_err() {
        return;
    }
    let status = match start(&session, shim, spec).await {
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
    let (sink, source) = socket.split();
    end(sink, source, &refusal.status()).await;
}

/// The last words, and the end of the conversation.
async fn end<W, R>(mut sink: W, mut source: R, status: &Value)
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
    R: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
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

/// Why a command was not run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("{0}")]
    Shim(#[from] Error),
    #[error("make pipes: {0}")]
    Pipes(#[from] io::Error),
}

async fn start(session: &Session, shim: &Shim, spec: &ExecSpec) -> Result<Streams, StartError> {
    let options = &session.options;
    if options.tty {
        let (rows, columns) = SIZE;
        let mut exec = shim.exec(spec, ExecIo::Terminal { rows, columns }).await?;
        let Some(near) = exec.terminal() else {
            return Err(io::Error::other("the shim gave no terminal").into());
        };
        // Two descriptors of one terminal, since one is written while the other is read.
        let writer = near.try_clone()?;
        let stdin = Some(Descriptor::new(writer)?);
        return Ok(Streams {
            exec,
            stdin,
            outputs: vec![(STDOUT, Descriptor::new(near)?)],
        });
    }
    let (stdin_far, stdin) = if options.stdin {
        let (far, near) = pipe()?;
        (far, Some(Descriptor::new(near)?))
    } else {
        (null()?, None)
    };
    let mut outputs = Vec::new();
    let mut far_ends = Vec::new();
    for (channel, wanted) in [(STDOUT, options.stdout), (STDERR, options.stderr)] {
        if wanted {
            let (near, far) = pipe()?;
            outputs.push((channel, Descriptor::new(near)?));
            far_ends.push(far);
        } else {
            far_ends.push(null()?);
        }
    }
    let (stderr, stdout) = (far_ends.pop(), far_ends.pop());
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        return Err(io::Error::other("two streams were made").into());
    };
    let exec = shim
        .exec(spec, ExecIo::Fds([stdin_far, stdout, stderr]))
        .await?;
    Ok(Streams {
        exec,
        stdin,
        outputs,
    })
}

fn null() -> io::Result<OwnedFd> {
    Ok(File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?
        .into())
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
    R: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
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
    R: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
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
