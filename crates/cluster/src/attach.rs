//! Listening to a supervisor.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::layout::Layout;
use crate::supervisor::snapshot::Snapshot;

/// How long a supervisor may take to answer a single question.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection to a supervisor.
#[derive(Debug)]
pub struct Listening {
    lines: Lines<BufReader<UnixStream>>,
    /// What it has said and nobody has taken.
    first: Option<Snapshot>,
}

impl Listening {
    /// Connects to the supervisor behind a socket.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn to(socket: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket).await?;
        let lines = BufReader::new(stream).lines();
        Ok(Self { lines, first: None })
    }

    /// The same, once the supervisor has said a word; `None` when it has ended without one.
    ///
    /// The kernel connects to the socket of a process that is being killed, too.
    pub async fn greeted(mut self) -> Option<Self> {
        self.first = Some(self.next().await?);
        Some(self)
    }

    /// The status now, at the first call, and then whenever it has changed;
    /// `None` when the supervisor has ended.
    pub async fn next(&mut self) -> Option<Snapshot> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let line = self.lines.next_line().await.ok().flatten()?;
        serde_json::from_str(&line).ok()
    }
}

/// The status of a cluster's supervisor; `None` when there is none, or it does
/// not answer.
pub async fn ask_of(layout: &Layout) -> Option<Snapshot> {
    let socket = layout.supervisor_socket();
    let answer = async { Listening::to(&socket).await.ok()?.next().await };
    timeout(PATIENCE, answer).await.ok().flatten()
}
