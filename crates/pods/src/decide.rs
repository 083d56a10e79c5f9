//! What to do next for one pod: pure, so that every case is a line in a table.
//!
//! ```text
//!            build            start(init…)    start(app…)
//!   Absent ─────────> Ready ───────────────────────────────> running
//!     ^   ^             │  shim dead: tear down, build again      │ exit: back-off, start
//!     │   └──failure────┘                                         │
//!     └───────────── tear down <── all ended, or the pod leaves ──┘
//!                        │             (TERM, grace period, KILL)
//!                        └─> finish: folder removed, API told
//! ```
//!
//! One step is returned at a time, the first that is due; after the executor has taken it,
//! the record has changed and the question is asked again. So a pod that is
//! deleted half-way through its start needs no rule of its own.

use std::time::Duration;

use jiff::Timestamp;

use crate::desired::{Desired, RestartPolicy};
use crate::record::{Container, Record, Sandbox, State, Stop};

/// How long `ErrImagePull` is shown before it becomes `ImagePullBackOff`.
const SHOW_PULL_ERROR: Duration = Duration::from_secs(1);

/// What lives outside the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// The shim of the newest sandbox answers.
    pub shim: bool,
    /// A CNI configuration exists.
    pub network: bool,
    /// The API has been asked whether the pod is still wanted: a pod read from
    /// disk may have been deleted while this node was down.
    pub confirmed: bool,
    /// The moment before which a tear-down that failed is not tried again.
    pub rest_until: Option<Timestamp>,
    /// The moment before which nothing is started, since the API has not told all that the pod
    /// refers to.
    pub unread_until: Option<Timestamp>,
    /// When the files of volumes are brought up to date.
    pub refresh_at: Option<Timestamp>,
}

/// The next thing to do, and when to ask again if nothing happens before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The thing to do.
    pub step: Step,
    /// When to ask again; only with [`Step::Wait`].
    pub wake: Option<Timestamp>,
}

/// One thing to do for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until something changes.
    Wait,
    /// Make volumes, shim and network.
    Build,
    /// Remove whatever exists of the sandbox: shim, network, cgroups.
    TearDown,
    /// Bring the files of volumes up to date.
    Refresh,
    /// Start a container.
    Start(String),
    /// Say that an image is not tried again for a while.
    ShelveImage(String),
    /// Say that a crashed container is not started again for a while.
    AnnounceBackOff(String),
    /// Ask a container to end.
    Stop(String, Stop),
    /// Remove the folder and tell the API that the pod is gone.
    Finish,
}

/// How a pod ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every container ended with 0 and none will run again.
    Succeeded,
    /// At least one ended otherwise and none will run again.
    Failed,
}

/// The next step for a pod.
pub fn decide(pod: &Desired, record: &Record, live: Live, now: Timestamp) -> Decision {
    let broken = match record.sandbox {
        Sandbox::Absent => false,
        Sandbox::Partial => true,
        Sandbox::Ready => !live.shim,
    };
    if broken {
        return tear_down(live, now);
    }
    if pod.grace().is_some() {
        return leave(record, live, now);
    }
    if record.ended_before || record.refused.is_some() {
        return wait(None);
    }
    match (outcome(pod, record), record.sandbox) {
        (Some(_), Sandbox::Absent) => wait(None),
        (Some(_), _) => tear_down(live, now),
        (None, Sandbox::Absent) => build(pod, record, live, now),
        (None, _) => run(pod, record, live, now),
    }
}

/// How the pod ended, if it has.
pub fn outcome(pod: &Desired, record: &Record) -> Option<Outcome> {
    let policy = pod.restart_policy();
    let init_failed = pod.init().iter().any(|container| {
        let exit = record.container(&container.name).exit();
        exit.is_some_and(|exit| exit.code != 0 && !policy.for_init().restarts(exit.code))
    });
    if init_failed {
        return Some(Outcome::Failed);
    }
    let mut failed = false;
    for container in pod.main() {
        let exit = record.container(&container.name).exit()?;
        if policy.restarts(exit.code) {
            return None;
        }
        failed |= exit.code != 0;
    }
    Some(if failed {
        Outcome::Failed
    } else {
        Outcome::Succeeded
    })
}

fn build(pod: &Desired, record: &Record, live: Live, now: Timestamp) -> Decision {
    match &record.failure {
        Some(failure) if failure.retry_at > now => wait(Some(failure.retry_at)),
        _ if live.unread_until > Some(now) => wait(live.unread_until),
        _ if live.confirmed && (live.network || pod.host_network()) => step(Step::Build),
        _ => wait(None),
    }
}

fn tear_down(live: Live, now: Timestamp) -> Decision {
    match live.rest_until {
        Some(until) if until > now => wait(Some(until)),
        _ => step(Step::TearDown),
    }
}

/// Keeps a pod going whose sandbox is there.
fn run(pod: &Desired, record: &Record, live: Live, now: Timestamp) -> Decision {
    if live.unread_until > Some(now) {
        return wait(live.unread_until);
    }
    if live.refresh_at.is_some_and(|at| at <= now) {
        return step(Step::Refresh);
    }
    let next = start(pod, record, now);
    match next.step {
        Step::Wait => wait(next.wake.into_iter().chain(live.refresh_at).min()),
        _ => next,
    }
}

/// Starts containers: init containers one after the other, then the others, in order.
fn start(pod: &Desired, record: &Record, now: Timestamp) -> Decision {
    let policy = pod.restart_policy();
    for container in pod.init() {
        let state = record.container(&container.name);
        if state.exit().is_some_and(|exit| exit.code == 0) {
            continue;
        }
        return next_of(&container.name, state, policy.for_init(), now);
    }
    let mut wake: Option<Timestamp> = None;
    for container in pod.main() {
        let state = record.container(&container.name);
        let next = next_of(&container.name, state, policy, now);
        if next.step != Step::Wait {
            return next;
        }
        wake = wake.into_iter().chain(next.wake).min();
    }
    wait(wake)
}

/// What one container needs next.
fn next_of(name: &str, container: &Container, policy: RestartPolicy, now: Timestamp) -> Decision {
    if let Some(hold) = &container.hold {
        let shelve_at = hold.since + SHOW_PULL_ERROR;
        match hold.until {
            Some(until) if until <= now => return step(Step::Start(name.to_owned())),
            Some(_) if hold.reason == "ErrImagePull" && shelve_at <= now => {
                return step(Step::ShelveImage(name.to_owned()));
            }
            Some(until) if hold.reason == "ErrImagePull" => {
                return wait(Some(until.min(shelve_at)));
            }
            until => return wait(until),
        }
    }
    match &container.state {
        State::New => step(Step::Start(name.to_owned())),
        State::Starting | State::Running(_) => wait(None),
        State::Exited(exit) if !policy.restarts(exit.code) => wait(None),
        State::Exited(exit) => match container.backoff.until(exit.finished_at) {
            Some(until) if until > now && !container.backoff_announced => {
                step(Step::AnnounceBackOff(name.to_owned()))
            }
            Some(until) if until > now => wait(Some(until)),
            _ => step(Step::Start(name.to_owned())),
        },
    }
}

/// Ends a pod that is not wanted any more.
fn leave(record: &Record, live: Live, now: Timestamp) -> Decision {
    let mut running = record
        .containers
        .iter()
        .filter(|(_, container)| container.may_run())
        .peekable();
    if running.peek().is_none() {
        return match record.sandbox {
            Sandbox::Absent => step(Step::Finish),
            Sandbox::Partial | Sandbox::Ready => tear_down(live, now),
        };
    }
    let due = match record.kill_at {
        Some(kill_at) if kill_at <= now => Stop::Kill,
        _ => Stop::Terminate,
    };
    match running.find(|(_, container)| container.stopping < Some(due)) {
        Some((name, _)) => step(Step::Stop(name.clone(), due)),
        None => wait(record.kill_at.filter(|kill_at| *kill_at > now)),
    }
}

fn step(step: Step) -> Decision {
    Decision { step, wake: None }
}

fn wait(wake: Option<Timestamp>) -> Decision {
    Decision {
        step: Step::Wait,
        wake,
    }
}

#[cfg(test)]
mod tests;
