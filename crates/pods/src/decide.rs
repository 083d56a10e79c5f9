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
use k8s_openapi::api::core::v1::Container as Spec;

use crate::desired::{Desired, RestartPolicy, Restarts};
use crate::images::is_pull_failure;
use crate::record::{Container, Exit, Record, Sandbox, State, Stop};

/// How long `ErrImagePull` is shown before it becomes `ImagePullBackOff`.
const SHOW_PULL_ERROR: Duration = Duration::from_secs(1);
/// What a preStop hook leaves of the grace period at least, as in the kubelet.
const AFTER_HOOK: Duration = Duration::from_secs(2);

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
    /// The pod has run for as long as it may.
    Expire,
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
        return stop_all(pod, record, now).unwrap_or_else(|| match record.sandbox {
            Sandbox::Absent => step(Step::Finish),
            Sandbox::Partial | Sandbox::Ready => tear_down(live, now),
        });
    }
    if record.ended_before || record.refused.is_some() {
        return wait(None);
    }
    if outcome(pod, record).is_some() {
        return stop_all(pod, record, now).unwrap_or_else(|| match record.sandbox {
            Sandbox::Absent => wait(None),
            Sandbox::Partial | Sandbox::Ready => tear_down(live, now),
        });
    }
    let deadline = pod.deadline(record.seen_at);
    if deadline.is_some_and(|deadline| deadline <= now) {
        return step(Step::Expire);
    }
    let next = match record.sandbox {
        Sandbox::Absent => build(pod, record, live, now),
        _ => run(pod, record, live, now),
    };
    next.no_later_than(deadline)
}

/// How the pod ended, if it has. Sidecars do not count: they end because the pod has.
pub fn outcome(pod: &Desired, record: &Record) -> Option<Outcome> {
    if record.end.is_some() {
        return Some(Outcome::Failed);
    }
    let mut once = pod.init().iter().filter(|init| !Desired::is_sidecar(init));
    let init_failed = once.any(|init| {
        let container = record.container(&init.name);
        let exit = container.exit().filter(|exit| exit.code != 0);
        exit.is_some_and(|exit| !runs_again(container, exit, pod.restarts(init)))
    });
    if init_failed {
        return Some(Outcome::Failed);
    }
    let mut failed = false;
    for spec in pod.main() {
        let container = record.container(&spec.name);
        let exit = container.exit()?;
        if runs_again(container, exit, pod.restarts(spec)) {
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

/// Whether a container that ended so runs again. One that was ended because of a probe does
/// unless nothing does, whatever its exit code says; one that is to be another does in any case.
pub fn runs_again(container: &Container, exit: &Exit, restarts: Restarts<'_>) -> bool {
    let doomed = container
        .doom
        .as_ref()
        .is_some_and(|doom| doom.changed || restarts.policy != RestartPolicy::Never);
    doomed || restarts.after(exit.code)
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
    start(pod, record, now).no_later_than(live.refresh_at)
}

/// Starts containers: init containers one after the other, then the others, in order. A
/// sidecar counts as done when it has started; a postStart hook holds up those after it.
fn start(pod: &Desired, record: &Record, now: Timestamp) -> Decision {
    let mut wake = None;
    for spec in pod.init() {
        let sidecar = Desired::is_sidecar(spec);
        let container = record.container(&spec.name);
        let done = match sidecar {
            true => container.is_started(spec),
            false => container.exit().is_some_and(|exit| exit.code == 0),
        };
        if !sidecar && (done || record.initialized) {
            continue;
        }
        let next = next_of(spec, container, pod.restarts(spec), now).no_later_than(wake);
        if next.step != Step::Wait || !(done || record.initialized) {
            return next;
        }
        wake = next.wake;
    }
    for spec in pod.main() {
        let container = record.container(&spec.name);
        let next = next_of(spec, container, pod.restarts(spec), now).no_later_than(wake);
        if next.step != Step::Wait || container.post_start {
            return next;
        }
        wake = next.wake;
    }
    wait(wake)
}

/// What one container needs next.
fn next_of(spec: &Spec, container: &Container, restarts: Restarts<'_>, now: Timestamp) -> Decision {
    let name = &spec.name;
    if let Some(hold) = &container.hold {
        let shelve_at = hold.since + SHOW_PULL_ERROR;
        match hold.until {
            Some(until) if until <= now => return step(Step::Start(name.to_owned())),
            Some(_) if is_pull_failure(&hold.reason) && shelve_at <= now => {
                return step(Step::ShelveImage(name.to_owned()));
            }
            Some(until) if is_pull_failure(&hold.reason) => {
                return wait(Some(until.min(shelve_at)));
            }
            until => return wait(until),
        }
    }
    match &container.state {
        State::New => step(Step::Start(name.to_owned())),
        State::Starting | State::Running(_) => match &container.doom {
            Some(doom) => stop_one(name, Some(spec), container, doom.kill_at, now),
            None => wait(None),
        },
        State::Exited(exit) if !runs_again(container, exit, restarts) => wait(None),
        State::Exited(exit) => match container.backoff.until(exit.finished_at) {
            Some(until) if until > now && !container.backoff_announced => {
                step(Step::AnnounceBackOff(name.to_owned()))
            }
            Some(until) if until > now => wait(Some(until)),
            _ => step(Step::Start(name.to_owned())),
        },
    }
}

/// Ends whatever runs of a pod; `None` when nothing does. Sidecars end last, in reverse order,
/// each after the one that was started after it.
fn stop_all(pod: &Desired, record: &Record, now: Timestamp) -> Option<Decision> {
    let kill_at = record.kill_at.unwrap_or(now);
    let is_sidecar = |name: &str| pod.sidecars().any(|sidecar| sidecar.name == name);
    let mut next: Option<Decision> = None;
    for (name, container) in &record.containers {
        if is_sidecar(name) || !container.may_run() {
            continue;
        }
        let stop = stop_one(name, pod.container(name), container, kill_at, now);
        if stop.step != Step::Wait {
            return Some(stop);
        }
        next = Some(stop.no_later_than(next.and_then(|next| next.wake)));
    }
    next.or_else(|| {
        let mut sidecars = pod.sidecars().rev();
        let last = sidecars.find(|sidecar| record.container(&sidecar.name).may_run())?;
        let container = record.container(&last.name);
        Some(stop_one(&last.name, Some(last), container, kill_at, now))
    })
}

/// What ends one container: its preStop hook, SIGTERM, SIGKILL. A hook that has used up the time
/// leaves a little for SIGTERM all the same.
fn stop_one(
    name: &str,
    spec: Option<&Spec>,
    container: &Container,
    kill_at: Timestamp,
    now: Timestamp,
) -> Decision {
    let stop = |how| step(Step::Stop(name.to_owned(), how));
    let hook = spec.and_then(|spec| spec.lifecycle.as_ref()?.pre_stop.as_ref());
    let late = container.hook_ended.map(|ended| ended + AFTER_HOOK);
    let end = late.map_or(kill_at, |late| kill_at.max(late));
    match container.stopping {
        None if hook.is_some() && kill_at > now => stop(Stop::Hook),
        None => stop(Stop::Terminate),
        Some(Stop::Hook) if container.hook_ended.is_some() || kill_at <= now => {
            stop(Stop::Terminate)
        }
        Some(Stop::Hook) => wait(Some(kill_at)),
        Some(Stop::Terminate) if end <= now => stop(Stop::Kill),
        Some(Stop::Terminate) => wait(Some(end)),
        Some(Stop::Kill) => wait(None),
    }
}

impl Decision {
    /// The same, but asking again at this moment at the latest.
    fn no_later_than(mut self, moment: Option<Timestamp>) -> Self {
        if self.step == Step::Wait {
            self.wake = self.wake.into_iter().chain(moment).min();
        }
        self
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
