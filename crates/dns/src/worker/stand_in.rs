//! Stands in for a keeper that was killed, until the next one comes for the sockets.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio_util::sync::CancellationToken;

use crate::keeper::{Purpose, Sockets, give, has_taken_over};

/// Enough for a few calls.
const STACK_BYTES: usize = 128 << 10;

/// Waits for the keeper's end on a thread of its own; `drain` is cancelled when another one has taken over.
///
/// Only one worker may stand in, or the next keeper would relieve one of several: one that does not answer yet
/// ends with its keeper, and one that ends anyway does so.
///
/// # Errors
/// When there is no such socket, or no thread.
pub fn start(
    life: OwnedFd,
    sockets: Sockets,
    answers: Arc<AtomicBool>,
    drain: CancellationToken,
) -> anyhow::Result<()> {
    let control = sockets.get(Purpose::Control).context("find dns.sock")?;
    let listener = UnixListener::from(control.try_clone_to_owned()?);
    let thread = thread::Builder::new().stack_size(STACK_BYTES);
    let work = move || {
        if !wait_for(&life, PollFlags::empty()) || drain.is_cancelled() {
            return;
        }
        if !answers.load(Ordering::Acquire) {
            tracing::warn!("the keeper is gone before this worker answers");
            std::process::exit(1);
        }
        tracing::warn!("the keeper is gone; this worker answers on, and waits for another");
        hand_over(&listener, &sockets, &drain);
        drain.cancel();
    };
    let thread = thread.name("dns-stand-in".into()).spawn(work);
    thread.context("start a thread")?;
    Ok(())
}

/// Returns when somebody has taken over.
fn hand_over(listener: &UnixListener, sockets: &Sockets, drain: &CancellationToken) {
    loop {
        // The keeper's listener does not block, and this is the same.
        if !wait_for(listener, PollFlags::POLLIN) || drain.is_cancelled() {
            return;
        }
        let Ok((stream, _)) = listener.accept() else {
            continue;
        };
        match give(stream, sockets) {
            Ok(newcomer) if has_taken_over(&newcomer) => return,
            Ok(_) => tracing::info!("a newcomer took the sockets, and failed"),
            Err(error) => tracing::debug!("hand the sockets over: {error}"),
        }
    }
}

/// Waits until it is readable, or its other end is closed; `false` when that cannot be waited for.
fn wait_for(fd: &impl AsFd, events: PollFlags) -> bool {
    loop {
        let mut fds = [PollFd::new(fd.as_fd(), events)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => return true,
            Err(Errno::EINTR) => {}
            Err(errno) => {
                tracing::error!("wait for the keeper: {errno}");
                return false;
            }
        }
    }
}
