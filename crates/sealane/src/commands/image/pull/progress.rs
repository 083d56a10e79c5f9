//! How far a pull is, on a terminal.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sealane_image::{Digest, Progress};

use super::size;

/// How often a line is drawn anew.
const INTERVAL: Duration = Duration::from_millis(100);

/// One line, which is drawn over itself.
pub struct Display {
    state: Option<Mutex<State>>,
}

struct State {
    blobs: HashMap<Digest, (u64, u64)>,
    drawn: Option<Instant>,
}

impl Display {
    /// Shows something only where somebody sees it.
    pub fn new(wanted: bool) -> Self {
        let state = State {
            blobs: HashMap::new(),
            drawn: None,
        };
        Self {
            state: (wanted && std::io::stderr().is_terminal()).then(|| Mutex::new(state)),
        }
    }

    /// Takes over how far a blob is.
    pub fn show(&self, progress: Progress) {
        let Some(state) = &self.state else {
            return;
        };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .blobs
            .insert(progress.digest, (progress.done, progress.total));
        if state.drawn.is_none_or(|drawn| drawn.elapsed() >= INTERVAL) {
            state.drawn = Some(Instant::now());
            draw(&line(&state.blobs));
        }
    }

    /// Takes the line away.
    pub fn end(&self) {
        if self.state.is_some() {
            draw("");
        }
    }
}

fn line(blobs: &HashMap<Digest, (u64, u64)>) -> String {
    let done: u64 = blobs.values().map(|(done, _)| done).sum();
    let total: u64 = blobs.values().map(|(_, total)| total).sum();
    let whole = blobs.values().filter(|(done, total)| done == total).count();
    format!(
        "  {} of {}, {whole} of {} layers begun",
        size::bytes(done),
        size::bytes(total),
        blobs.len()
    )
}

fn draw(text: &str) {
    let mut out = std::io::stderr().lock();
    // A terminal that has gone away needs no progress.
    let _ = write!(out, "\r\x1b[K{text}").and_then(|()| out.flush());
}
