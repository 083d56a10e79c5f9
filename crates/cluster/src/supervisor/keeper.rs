//! One process, kept running.
//!
//! ```text
//!            adopt, or start
//!   ┌───────────────────────────► running ──────┐ ended
//!   │ pause over                                ▼
//!   └─────────────── waiting ◄── pause: 10 ms, doubled up to 5 s while it dies young
//!                                stop: SIGTERM, and SIGKILL when that is not heeded
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use sealane_kube::Backoff;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Event;
use super::listeners::Listeners;
use super::role::Role;
use super::running::Running;
use super::snapshot::ProcessState;
use super::spawn::spawn;
use crate::layout::Layout;
use crate::plan::Plan;
use crate::process::Identity;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A process that lived this long has worked: its next end starts a new count. What cannot work ends before that, and
/// whoever is killed every second must be back at once: while an agent is away, Services lead to pods that have gone.
const LIVED: Duration = Duration::from_millis(500);
/// How long a process may take to stop.
const STOP: Duration = Duration::from_secs(2);

/// Looks after one process until it is stopped.
pub struct Keeper {
    layout: Layout,
    plan: Plan,
    role: Role,
    index: usize,
    events: mpsc::Sender<Event>,
    listeners: Listeners,
    backoff: Backoff,
    state: ProcessState,
}

impl Keeper {
    /// A keeper that tells of its process as number `index`.
    pub fn new(
        layout: Layout,
        plan: Plan,
        role: Role,
        index: usize,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let state = ProcessState {
            role: role.name.clone(),
            ..ProcessState::default()
        };
        Self {
            layout,
            plan,
            role,
            index,
            events,
            listeners: Listeners::default(),
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            state,
        }
    }

    /// Keeps the process running until `stop`, then ends it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut adopted = self.adopt();
        loop {
            match adopted.take().map_or_else(|| self.start(), Ok) {
                Ok(mut running) => {
                    self.tell_running(&running).await;
                    tokio::select! {
                        how = running.ended() => self.note_end(&running, &how),
                        () = stop.cancelled() => return self.stop(running).await,
                    }
                }
                Err(error) => {
                    tracing::error!("start {}: {error}", self.role.name);
                    self.state.last_end = Some(error.to_string());
                }
            }
            self.tell_stopped().await;
            tokio::select! {
                () = sleep(self.backoff.next_delay()) => self.state.restarts += 1,
                () = stop.cancelled() => return,
            }
        }
    }

    /// The process that an earlier supervisor has started and that still runs.
    fn adopt(&self) -> Option<Running> {
        let identity = Identity::read(&self.layout.pid_file(&self.role.name))?;
        let running = Running::adopted(identity).ok().flatten();
        if running.is_some() {
            tracing::info!("adopt {}, process {}", self.role.name, identity.pid);
        }
        running
    }

    fn start(&mut self) -> anyhow::Result<Running> {
        if self.role.serves_api {
            self.listeners.ensure(&self.plan)?;
        }
        let child = spawn(&self.layout, &self.role, &self.listeners.descriptors())?;
        let running = Running::started(child)?;
        running
            .identity
            .write(&self.layout.pid_file(&self.role.name))?;
        tracing::info!(
            "started {}, process {}",
            self.role.name,
            running.identity.pid
        );
        Ok(running)
    }

    fn note_end(&mut self, running: &Running, how: &str) {
        tracing::warn!(
            "{}, process {}: {how}",
            self.role.name,
            running.identity.pid
        );
        self.state.last_end = Some(how.to_owned());
        if running.since.elapsed() >= LIVED {
            self.backoff.reset();
        }
    }

    async fn stop(self, mut running: Running) {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if let Err(error) = running.signal(signal) {
                tracing::warn!("stop {} with {signal}: {error}", self.role.name);
            }
            if timeout(STOP, running.ended()).await.is_ok() {
                break;
            }
            tracing::warn!("{} does not heed {signal}", self.role.name);
        }
        _ = std::fs::remove_file(self.layout.pid_file(&self.role.name));
    }

    async fn tell_running(&mut self, running: &Running) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.state.pid = Some(running.identity.pid);
        self.state.started_ms = u64::try_from(now.as_millis()).ok();
        self.tell().await;
    }

    async fn tell_stopped(&mut self) {
        self.state.pid = None;
        self.state.started_ms = None;
        self.tell().await;
    }

    async fn tell(&self) {
        // Nobody listens any more only while everything stops.
        _ = self
            .events
            .send(Event::Process(self.index, self.state.clone()))
            .await;
    }
}
