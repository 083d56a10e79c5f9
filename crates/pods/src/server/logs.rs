//! A container's log as the body of an answer, followed with inotify.
//!
//! The shim completes the log before it tells of a container's end, so a
//! follower that reads to the end of the file after it has seen the end of the container has
//! everything. A log that has become too long goes on in another file: once that exists, the one
//! before is complete, and is read to its end first.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::answer::{self, Body, Refusal};
use super::target::{Target, attempt};
use crate::inotify::Changes;
use crate::logs::files::{LogFiles, tail_of_all};
use crate::logs::{BLOCK, Filter, LogOptions};
use crate::record::{Container, State};
use crate::worker::View;

/// Blocks that may wait for a slow client.
const QUEUE: usize = 8;
/// Between two looks at a file that cannot be watched.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers with a container's log.
///
/// # Errors
/// When the options are wrong, or the container has no log yet.
pub fn answer(target: Target, query: &str) -> Result<Response<Body>, Refusal> {
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let options = LogOptions::parse(&pairs).map_err(Refusal::bad_request)?;
    let state = target.state();
    let attempt =
        attempt(&state, options.previous).ok_or_else(|| none(&target, &state, &options))?;
    let log = LogFiles::new(&target.view.borrow().dir, &target.container, attempt);
    let path = log.current();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => none(&target, &state, &options),
        _ => Refusal::internal(format!("read log {}: {error}", path.display())),
    };
    let files = log.open().map_err(failed)?;
    let (pieces, receiver) = mpsc::channel(QUEUE);
    let reader = Reader {
        files,
        log,
        attempt,
        container: target.container.clone(),
        view: target.view.clone(),
        filter: Filter::new(&options, Timestamp::now()),
        options,
        pieces,
    };
    tokio::spawn(async move {
        if let Err(error) = reader.run().await {
            tracing::warn!("read log {}: {error}", path.display());
        }
    });
    Ok(answer::stream(receiver))
}

/// Why there is no log, in the kubelet's words.
fn none(target: &Target, state: &Container, options: &LogOptions) -> Refusal {
    let (container, pod) = (&target.container, &target.pod);
    if options.previous {
        let message =
            format!("previous terminated container \"{container}\" in pod \"{pod}\" not found");
        return Refusal::bad_request(message);
    }
    let view = target.view.borrow();
    let hold = state.hold.as_ref().filter(|hold| hold.is_shown());
    let reason = match (hold, &view.record.refused) {
        (Some(hold), _) => hold.reason.as_str(),
        (None, Some(_)) => "CreateContainerConfigError",
        (None, None) if view.desired.init().is_empty() => "ContainerCreating",
        (None, None) => "PodInitializing",
    };
    let what = match reason {
        "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" => {
            format!("trying and failing to pull image: {reason}")
        }
        _ => reason.to_owned(),
    };
    Refusal::bad_request(format!(
        "container \"{container}\" in pod \"{pod}\" is waiting to start: {what}"
    ))
}

/// Tells when there may be more to read.
enum Waker {
    Changes(Changes),
    /// The kernel has no watches left (fs.inotify.max_user_instances).
    Clock,
}

impl Waker {
    /// The file may have another name by now, so it is watched by its descriptor.
    fn new(file: &File, name: &Path) -> Self {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        Changes::of_file(Path::new(&path)).map_or_else(
            |error| {
                tracing::warn!("watch {}: {error}; looking every {PAUSE:?}", name.display());
                Self::Clock
            },
            Self::Changes,
        )
    }

    async fn wait(&mut self) -> io::Result<()> {
        match self {
            Self::Changes(changes) => changes.changed().await,
            Self::Clock => {
                tokio::time::sleep(PAUSE).await;
                Ok(())
            }
        }
    }
}

/// Reads one log to its end, or for as long as its container runs.
struct Reader {
    /// Those that have not been read, oldest first.
    files: VecDeque<File>,
    log: LogFiles,
    attempt: u32,
    container: String,
    view: watch::Receiver<Arc<View>>,
    filter: Filter,
    options: LogOptions,
    pieces: mpsc::Sender<Bytes>,
}

impl Reader {
    async fn run(mut self) -> io::Result<()> {
        let (first, mut position) = match self.options.tail_lines {
            Some(lines) => tail_of_all(&self.files, lines)?,
            None => (0, 0),
        };
        self.files.drain(..first);
        while let Some(file) = self.files.pop_front() {
            match self.read(&file, position).await? {
                Some(next) => self.files.push_front(next),
                None if self.files.is_empty() => return Ok(()),
                None => {}
            }
            position = 0;
        }
        Ok(())
    }

    /// Reads a file to its end. Returns the one that followed meanwhile, if it was the last.
    async fn read(&mut self, file: &File, mut position: u64) -> io::Result<Option<File>> {
        let last = self.files.is_empty();
        let follow = self.options.follow && last;
        let mut changes = follow.then(|| Waker::new(file, &self.log.current()));
        let mut block = vec![0; BLOCK];
        let mut next = None;
        loop {
            // Asked before reading: what is read after the end is all there is.
            let ended = !follow || self.has_ended();
            let read = file.read_at(&mut block, position)?;
            position += read as u64;
            if !self.send(&block[..read]).await || self.filter.is_full() {
                self.files.clear();
                return Ok(None);
            }
            if read > 0 {
                continue;
            }
            if next.is_some() {
                return Ok(next);
            }
            next = if follow { self.log.after(file)? } else { None };
            match &mut changes {
                // The rest of this one first.
                _ if next.is_some() => {}
                Some(changes) if !ended => {
                    tokio::select! {
                        changed = changes.wait() => changed?,
                        // An error means that the worker has ended, and the pod with it.
                        _ended = self.view.changed() => {}
                        () = self.pieces.closed() => return Ok(None),
                    }
                }
                _ => return Ok(None),
            }
        }
    }

    /// Sends what the client wants of a block; `false` when it has gone.
    async fn send(&mut self, block: &[u8]) -> bool {
        let mut wanted = Vec::new();
        self.filter.feed(block, &mut wanted);
        wanted.is_empty() || self.pieces.send(wanted.into()).await.is_ok()
    }

    fn has_ended(&mut self) -> bool {
        if self.view.has_changed().is_err() {
            return true;
        }
        let view = self.view.borrow_and_update();
        let container = view.record.container(&self.container);
        container.attempt != self.attempt
            || matches!(container.state, State::Exited(_) | State::New)
    }
}
