//! The keeper: has the rights, holds the sockets, and reads no packet.
//!
//! ```text
//!                      ┌─ keeper (sealane dns) ── addresses and rules ──► kernel
//!  dns.sock ──────────►│    │ sockets, inherited
//!  SIGHUP, SIGTERM ───►│    ▼
//!  bell of the kernel ►│  worker, an ordinary user ◄── questions
//! ```
//!
//! What a hostile packet could reach has no rights, and what has rights sees
//! no packet. The sockets outlive each worker: questions wait in them until
//! the next one reads. So a worker that dies takes along only what it had read,
//! and one that is replaced takes nothing along, since it finishes what it has.
//! When the keeper itself is killed, its worker answers on, and hands the
//! sockets to the next keeper.
//!
//! One thread, one `poll`, no runtime: it is there for as long as the node is,
//! and has next to nothing to do.

mod crew;
mod handover;
mod privileges;
mod sockets;
mod spawn;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid as UnixPid, pipe2};

use crate::kernel::Kernel;
use crate::options::Settings;
use crate::state::Folder;
use crew::{Act, Crew, Event, Pid};

pub use handover::{give, has_taken_over};
pub use privileges::WORKER;
pub use sockets::{Inherited, Purpose, Sockets};
use spawn::Outfit;

/// How often the kernel is looked at although no bell has rung, and memory is given back.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Somebody who takes away again and again what is ours does not keep us busy.
const MEND_PAUSE: Duration = Duration::from_millis(100);
/// When what belongs to the start is over.
const STARTED: Duration = Duration::from_secs(1);

/// Keeps this node's DNS server until SIGTERM or SIGINT, or until a newer process has taken over.
///
/// `args` is the command line behind the program's name, for workers.
///
/// # Errors
/// Rights that are missing, addresses that somebody else listens at.
pub fn run(settings: &Settings, args: Vec<OsString>) -> anyhow::Result<()> {
    let signals = signals()?;
    fs::create_dir_all(&settings.run_dir)
        .with_context(|| format!("make folder {}", settings.run_dir.display()))?;
    let kernel = Kernel::open(&settings.addresses)?;
    let path = settings.control_socket();
    let taken = handover::take(&path)
        .with_context(|| format!("take the sockets of the process at {}", path.display()))?;
    let (before, mut sockets) = match taken {
        Some((stream, sockets)) => (Some(stream), sockets),
        None => (None, Sockets::default()),
    };
    sockets.complete(settings)?;
    // Giving it to another user needs a right that is given up with the others.
    let state = Folder::make(&settings.state_dir, WORKER)
        .inspect_err(|error| {
            tracing::warn!("{error:#}; without the API server a new worker knows no names");
        })
        .ok();
    privileges::keep_few()?;
    let (life, _ends_with_us) = pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
    let now = Instant::now();
    let mut keeper = Keeper {
        control: control(&sockets)?,
        args,
        sockets,
        kernel,
        signals,
        outfit: Outfit { life, state },
        before,
        newcomers: Vec::new(),
        crew: Crew::new(now),
        ready: BTreeMap::new(),
        mend_at: None,
        shrink_at: now + STARTED,
        handed_over: false,
        panics: 0,
    };
    if settings.at_once || keeper.kernel.is_set_up()? {
        keeper.mend(now);
    }
    keeper.serve()?;
    if !keeper.handed_over {
        for path in [settings.control_socket(), settings.debug_socket()] {
            // Already gone is as good; anything else is found at the next start.
            _ = fs::remove_file(path);
        }
    }
    Ok(())
}

fn signals() -> anyhow::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ] {
        mask.add(signal);
    }
    mask.thread_block().context("block signals")?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&mask, flags).context("listen for signals")
}

fn control(sockets: &Sockets) -> anyhow::Result<UnixListener> {
    let control = sockets.get(Purpose::Control).context("find dns.sock")?;
    let listener = UnixListener::from(control.try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

struct Keeper {
    args: Vec<OsString>,
    sockets: Sockets,
    control: UnixListener,
    kernel: Kernel,
    signals: SignalFd,
    outfit: Outfit,
    /// The process whose sockets these were, until a worker of ours answers.
    before: Option<UnixStream>,
    /// Processes that have our sockets, and no worker that answers yet.
    newcomers: Vec<UnixStream>,
    crew: Crew,
    /// What tells that a worker answers.
    ready: BTreeMap<Pid, OwnedFd>,
    /// Once it is ours: when to look at the kernel.
    mend_at: Option<Instant>,
    shrink_at: Instant,
    handed_over: bool,
    /// Workers that have panicked.
    panics: u64,
}

/// What a descriptor stands for.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Bell,
    Control,
    Newcomer(usize),
    Ready(Pid),
}

impl Keeper {
    fn serve(&mut self) -> anyhow::Result<()> {
        loop {
            self.pass_time();
            if self.crew.is_gone() {
                return Ok(());
            }
            let mut sources = self.wait()?;
            // From the back, so that numbers of newcomers stay true when one goes.
            sources.reverse();
            for source in sources {
                self.hear(source)?;
            }
        }
    }

    fn pass_time(&mut self) {
        let now = Instant::now();
        self.step(Event::Tick);
        if self.mend_at.is_some_and(|at| at <= now) {
            self.mend(now);
        }
        if self.shrink_at <= now {
            sealane_introspect::let_go();
            self.shrink_at = now + LOOK_AGAIN;
        }
    }

    fn wait(&self) -> anyhow::Result<Vec<Source>> {
        let mut sources = vec![Source::Signals, Source::Bell, Source::Bell, Source::Control];
        let mut fds = vec![self.signals.as_fd()];
        fds.extend(self.kernel.bell());
        fds.push(self.control.as_fd());
        sources.extend((0..self.newcomers.len()).map(Source::Newcomer));
        fds.extend(self.newcomers.iter().map(AsFd::as_fd));
        sources.extend(self.ready.keys().copied().map(Source::Ready));
        fds.extend(self.ready.values().map(AsFd::as_fd));
        let mut fds: Vec<PollFd> = (fds.into_iter())
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut fds, self.timeout()) {
            Err(Errno::EINTR) => return Ok(Vec::new()),
            other => other.context("wait for signals")?,
        };
        let heard = |fd: &PollFd| fd.any().unwrap_or(true);
        Ok(sources
            .into_iter()
            .zip(&fds)
            .filter(|(_, fd)| heard(fd))
            .map(|(source, _)| source)
            .collect())
    }

    fn timeout(&self) -> PollTimeout {
        let due = [self.crew.due(), self.mend_at, Some(self.shrink_at)];
        let Some(next) = due.into_iter().flatten().min() else {
            return PollTimeout::NONE;
        };
        // Rounded up: a poll that ends too early would be followed by another one at once.
        let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    fn hear(&mut self, source: Source) -> anyhow::Result<()> {
        match source {
            Source::Signals => self.take_signals()?,
            Source::Bell => {
                if self.kernel.rang()
                    && let Some(at) = &mut self.mend_at
                {
                    *at = (*at).min(Instant::now() + MEND_PAUSE);
                }
            }
            Source::Control => self.greet(),
            Source::Newcomer(index) => {
                let newcomer = self.newcomers.swap_remove(index);
                if handover::has_taken_over(&newcomer) {
                    tracing::info!("another process has taken over");
                    self.handed_over = true;
                    self.step(Event::End);
                }
            }
            Source::Ready(pid) => {
                let mut byte = [0];
                let fd = self.ready.remove(&pid);
                let told = fd.is_some_and(|fd| nix::unistd::read(fd, &mut byte) == Ok(1));
                // Otherwise it has ended, which a signal tells.
                if told {
                    self.step(Event::Ready(pid));
                }
            }
        }
        Ok(())
    }

    fn take_signals(&mut self) -> anyhow::Result<()> {
        while let Some(signal) = self.signals.read_signal().context("read a signal")? {
            match Signal::try_from(signal.ssi_signo as i32) {
                Ok(Signal::SIGCHLD) => self.reap(),
                Ok(Signal::SIGHUP) => {
                    tracing::info!("a new worker takes the place of the one that answers");
                    self.step(Event::Restart);
                }
                Ok(signal) => {
                    tracing::info!("ending after {signal}; addresses and rules stay");
                    self.step(Event::End);
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn reap(&mut self) {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::EINTR) => continue,
                Err(_) | Ok(WaitStatus::StillAlive) => return,
                Ok(status) => status,
            };
            let Some(pid) = status.pid() else { continue };
            let pid = pid.as_raw();
            self.panics += u64::from(matches!(
                status,
                WaitStatus::Signaled(_, Signal::SIGABRT, _)
            ));
            if self.crew.has(pid) {
                tracing::warn!("worker {pid}: {}", ending(status));
            }
            self.ready.remove(&pid);
            self.step(Event::Ended(pid));
        }
    }

    fn greet(&mut self) {
        let stream = match self.control.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                tracing::warn!("accept a connection at dns.sock: {error}");
                return;
            }
        };
        match handover::give(stream, &self.sockets) {
            Ok(newcomer) => self.newcomers.push(newcomer),
            Err(error) => tracing::debug!("hand the sockets over: {error}"),
        }
    }

    fn step(&mut self, event: Event) {
        let now = Instant::now();
        if event != Event::Tick {
            self.shrink_at = self.shrink_at.min(now + STARTED);
        }
        for act in self.crew.step(event, now) {
            match act {
                Act::Start => self.start(now),
                Act::Drain(pid) => signal(pid, Signal::SIGTERM),
                Act::Kill(pid) => {
                    tracing::warn!("worker {pid} does not finish: killed");
                    signal(pid, Signal::SIGKILL);
                }
                Act::Established => self.established(now),
            }
        }
    }

    fn start(&mut self, now: Instant) {
        match spawn::start(&self.args, &self.sockets, &self.outfit, self.panics) {
            Ok(started) => {
                tracing::info!("started worker {}", started.pid);
                self.ready.insert(started.pid, started.ready);
                self.crew.started(started.pid, now);
            }
            Err(error) => {
                tracing::error!("start a worker: {error}; trying again");
                self.step(Event::NotStarted);
            }
        }
    }

    /// Somebody answers: questions may come here, and whoever answered before may go.
    fn established(&mut self, now: Instant) {
        self.mend(now);
        if let Some(before) = self.before.take()
            && let Err(error) = handover::done(before)
        {
            tracing::info!("the process whose sockets these were is gone: {error}");
        }
    }

    fn mend(&mut self, now: Instant) {
        let first = self.mend_at.is_none();
        self.mend_at = Some(now + LOOK_AGAIN);
        match self.kernel.mend() {
            Ok(mended) if !mended.anything() => {}
            Ok(mended) if first => tracing::info!("addresses and rules are there: {mended}"),
            Ok(mended) => tracing::warn!("mended what somebody has changed: {mended}"),
            Err(error) => {
                tracing::error!("{error}; trying again");
                self.mend_at = Some(now + STARTED);
            }
        }
        // What this did itself.
        self.kernel.rang();
        self.shrink_at = self.shrink_at.min(now + STARTED);
    }
}

fn signal(pid: Pid, signal: Signal) {
    match kill(UnixPid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => tracing::error!("send {signal} to worker {pid}: {errno}"),
    }
}

fn ending(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exited with code {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("ended by {signal}"),
        other => format!("{other:?}"),
    }
}
