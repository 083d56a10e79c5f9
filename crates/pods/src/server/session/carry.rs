//! Between a client and the descriptors of a command or a container.
//!
//! ```text
//! client ── Ear ──> input loop ──> stdin pipe / terminal
//!        <─ Mouth <──mpsc 4── stdout, stderr readers
//! ```
//!
//! A client that does not read fills the channel, then the pipe, and so holds the command up, as a
//! terminal would. (For a container that is attached to, the shim leaves output out instead.)

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Client, Ear, Heard, Output};
use crate::server::descriptor::Descriptor;
use crate::server::idle::Idle;

/// Pieces that may wait for a slow client.
const QUEUE: usize = 4;
/// Bytes of one piece.
const PIECE: usize = 32 << 10;
/// A command's children may keep its output open for ever; they are not waited for longer.
const DRAIN: Duration = Duration::from_millis(500);

/// Our ends of the streams.
pub struct Ends {
    /// Where input goes, if it is wanted.
    pub input: Option<Input>,
    /// The terminal, to set its size.
    pub terminal: Option<Descriptor>,
    /// What is read for the client.
    pub outputs: Vec<(Output, Descriptor)>,
}

/// Where input goes.
pub struct Input {
    /// A pipe, or a terminal.
    pub descriptor: Descriptor,
    /// Told when the client has no more.
    pub ended: Option<oneshot::Sender<()>>,
}

impl Input {
    /// Input that ends when its descriptor is closed.
    ///
    /// # Errors
    /// When the descriptor cannot be waited for.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            descriptor: Descriptor::new(fd)?,
            ended: None,
        })
    }
}

/// Carries the streams until `ended` and all output has been sent; `None` when the client has
/// gone, or when nothing has been said for hours.
pub async fn carry<T>(
    ends: Ends,
    client: &mut Client,
    ended: impl Future<Output = T>,
) -> Option<T> {
    let Client { ear, mouth } = client;
    let idle = Idle::new();
    let (pieces, mut queue) = mpsc::channel(QUEUE);
    let mut readers = JoinSet::new();
    for (output, descriptor) in ends.outputs {
        readers.spawn(read(output, descriptor, pieces.clone()));
    }
    drop(pieces);
    let mut input = std::pin::pin!(take_input(ends.input, ends.terminal, ear, &idle));
    let mut ended = std::pin::pin!(ended);
    let mut outcome = None;
    let mut listening = true;
    loop {
        tokio::select! {
            piece = queue.recv() => match piece {
                Some((output, bytes)) => {
                    idle.touch();
                    mouth.say(output, bytes).await.ok()?;
                }
                // All output has been sent: only the end is missing.
                None => return match outcome {
                    Some(outcome) => Some(outcome),
                    None => tokio::select! {
                        outcome = ended => Some(outcome),
                        // A client that goes away now ends the command as well.
                        Left = &mut input, if listening => None,
                        () = idle.expired() => None,
                    },
                },
            },
            end = &mut ended, if outcome.is_none() => outcome = Some(end),
            Left = &mut input, if listening => {
                // Before the end: the command goes with its client.
                outcome.as_ref()?;
                listening = false;
            }
            () = tokio::time::sleep(DRAIN), if outcome.is_some() => return outcome,
            () = idle.expired() => return None,
        }
    }
}

/// The client has gone.
struct Left;

/// Reads one output to its end.
async fn read(output: Output, descriptor: Descriptor, pieces: mpsc::Sender<(Output, Bytes)>) {
    let mut buffer = vec![0; PIECE];
    loop {
        match descriptor.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                let piece = Bytes::copy_from_slice(&buffer[..count]);
                if pieces.send((output, piece)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Passes on what the client says, until it goes away.
async fn take_input(
    mut input: Option<Input>,
    terminal: Option<Descriptor>,
    ear: &mut Ear,
    idle: &Idle,
) -> Left {
    while let Some(heard) = ear.hear().await {
        idle.touch();
        match heard {
            Heard::Input(bytes) => {
                let Some(Input { descriptor, .. }) = &input else {
                    continue;
                };
                if descriptor.write_all(&bytes).await.is_err() && terminal.is_none() {
                    // The command has closed its input: it does not want more.
                    end(&mut input);
                }
            }
            // The end of a terminal's input is a key that is typed.
            Heard::InputEnd if terminal.is_none() => end(&mut input),
            Heard::InputEnd => {}
            Heard::Resize(size) => {
                if let Some(terminal) = &terminal {
                    // A terminal that has just closed has no size to set.
                    let _closed = terminal.resize(size.height, size.width);
                }
            }
        }
    }
    Left
}

fn end(input: &mut Option<Input>) {
    if let Some(Input { descriptor, ended }) = input.take() {
        drop(descriptor);
        if let Some(ended) = ended {
            // Nobody listens once the container has ended.
            let _late = ended.send(());
        }
    }
}
