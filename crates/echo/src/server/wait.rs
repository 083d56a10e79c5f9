//! Waiting for signals, as process 1 of a container has to: it gets no default actions.

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::AsFd;

/// The signals that ask a server to end.
pub(super) fn signals() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.add(Signal::SIGINT);
    mask.thread_block()?;
    Ok(SignalFd::with_flags(
        &mask,
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?)
}

/// `pause` and `sleep`: ends with a signal, or when the time is over.
pub(super) fn main(time: Option<Duration>) -> ExitCode {
    let signals = match signals() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("wait for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let end = time.and_then(|time| Instant::now().checked_add(time));
    loop {
        let timeout = match end.map(|end| end.saturating_duration_since(Instant::now())) {
            None => PollTimeout::NONE,
            Some(left) if left.is_zero() => return ExitCode::SUCCESS,
            // Rounded up, so that the end has come when the wait is over.
            Some(left) => {
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(
            &mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)],
            timeout,
        ) {
            // As a shell would tell of a sleep that SIGTERM has ended; pause ends well.
            Ok(count) if count > 0 => {
                return match time {
                    Some(_) => ExitCode::from(143),
                    None => ExitCode::SUCCESS,
                };
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                eprintln!("wait for signals: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
}
