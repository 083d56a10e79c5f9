//! What is known of one pod on this node, and nothing else: the state of its worker.
//!
//! The record is written to the pod's folder before each step whose loss would
//! cost something (an attempt number, a sandbox that needs a CNI DEL, a grace
//! period that has begun), so a `sealane node` that is killed at any point reads
//! it back, asks the shim for what happened meanwhile, and goes on. It is not
//! synced to disk: after a power failure the shims are gone as well, and a folder
//! without a readable record is torn down and built again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container as Spec;
use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;

/// Exit code reported for a container whose real one died with its shim.
pub const LOST: i32 = 137;

/// Pause after a sandbox could not be made for the first time; doubles.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// An address may become free, an agent may come back: never wait for long.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One pod's state on this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When this node first saw the pod (`status.startTime`).
    pub seen_at: Timestamp,
    /// Number of the newest sandbox, from 1; part of its CNI container id.
    pub sandbox_attempt: u32,
    /// How much of a sandbox exists.
    pub sandbox: Sandbox,
    /// Addresses of the newest sandbox; kept after it is gone, as the API keeps them.
    pub ips: Vec<IpAddr>,
    /// Why the newest sandbox could not be made, until one is.
    pub failure: Option<Failure>,
    /// Why this pod will never run here, in a sentence.
    pub refused: Option<String>,
    /// When containers are killed that have not stopped by themselves.
    pub kill_at: Option<Timestamp>,
    /// Every init container has done its part in this sandbox.
    #[serde(default)]
    pub initialized: bool,
    /// Why the pod was ended before its containers ended themselves.
    #[serde(default)]
    pub end: Option<End>,
    /// The API already said that this pod has ended, and nothing of it was found here.
    pub ended_before: bool,
    /// Containers by name, init containers included.
    pub containers: BTreeMap<String, Container>,
}

/// Why a pod was ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// `DeadlineExceeded`, `Evicted`, `SysctlForbidden`.
    pub reason: String,
    /// The reason in a sentence.
    pub message: String,
}

/// How much of a pod's sandbox exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sandbox {
    /// Nothing: neither a shim, nor an address.
    Absent,
    /// Anything between nothing and everything: must be torn down.
    Partial,
    /// A shim with its network.
    Ready,
}

/// A sandbox that could not be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub message: String,
    /// When it is tried again.
    pub retry_at: Timestamp,
    /// How often it was tried in vain.
    pub tries: u32,
}

/// One container's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Number of the newest start, from 0; also the restart count.
    pub attempt: u32,
    /// What the newest attempt is doing.
    pub state: State,
    /// How the attempt before it ended.
    pub last: Option<Exit>,
    /// What keeps it from being started, apart from a crash.
    pub hold: Option<Hold>,
    /// Delay between crashes.
    pub backoff: Backoff,
    /// Failures to get the image, for their own growing delay.
    pub image_backoff: Backoff,
    /// The image that the newest attempt ran.
    pub image_id: String,
    /// What the pod said it should be.
    #[serde(default)]
    pub image: String,
    /// Asks it to end, unless SIGTERM does.
    #[serde(default)]
    pub stop_signal: Option<i32>,
    /// The strongest thing done to end the newest attempt.
    pub stopping: Option<Stop>,
    /// Its startup probe has passed.
    #[serde(default)]
    pub startup_passed: bool,
    /// Its readiness probe says so.
    #[serde(default)]
    pub readiness_passed: bool,
    /// Its postStart hook runs.
    #[serde(default)]
    pub post_start: bool,
    /// When its preStop hook came to an end, by itself or not.
    #[serde(default)]
    pub hook_ended: Option<Timestamp>,
    /// Why the newest attempt is ended although the pod is wanted.
    #[serde(default)]
    pub doom: Option<Doom>,
    /// `CrashLoopBackOff` was announced for the newest exit.
    pub backoff_announced: bool,
}

/// A container that is ended to be started again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Doom {
    /// Why, in the kubelet's words.
    pub message: String,
    /// When it is killed.
    pub kill_at: Timestamp,
    /// It is to run something else, so it is started again whatever the restart policy says.
    #[serde(default)]
    pub changed: bool,
}

/// What an attempt is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Not started.
    #[default]
    New,
    /// Being started; the shim knows whether it was.
    Starting,
    /// Running since.
    Running(Timestamp),
    /// Ended.
    Exited(Exit),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 + signal for a container that was killed.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError` or `ContainerStatusUnknown`.
    pub reason: String,
    /// More to say, if anything.
    pub message: Option<String>,
    /// When it was started, if it was.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Reason of a hold while the image is being pulled: nothing that is shown.
pub const PULLING: &str = "Pulling";

/// A reason for which a container waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// [`PULLING`], `ErrImagePull`, `ImagePullBackOff`, `CreateContainerConfigError` and others.
    pub reason: String,
    /// The reason in a sentence.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again; never by itself, if `None`.
    pub until: Option<Timestamp>,
}

/// How a container was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stop {
    /// Its preStop hook is run.
    Hook,
    /// SIGTERM: it may finish its work.
    Terminate,
    /// SIGKILL: the grace period is over.
    Kill,
}

impl Hold {
    /// Whether it is told: a pull is part of a container's making.
    pub fn is_shown(&self) -> bool {
        self.reason != PULLING
    }
}

impl Record {
    /// The state of a pod that this node has not seen before.
    pub fn new(now: Timestamp) -> Self {
        Self {
            seen_at: now,
            sandbox_attempt: 0,
            sandbox: Sandbox::Absent,
            ips: Vec::new(),
            failure: None,
            refused: None,
            kill_at: None,
            initialized: false,
            end: None,
            ended_before: false,
            containers: BTreeMap::new(),
        }
    }

    /// A container's state; a container that was never touched is new.
    pub fn container(&self, name: &str) -> &Container {
        static NEW: Container = Container::NEW;
        self.containers.get(name).unwrap_or(&NEW)
    }

    /// A container's state, to be changed.
    pub fn container_mut(&mut self, name: &str) -> &mut Container {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// Containers are to stop within `grace`; a later, shorter grace counts, a longer one does not.
    pub fn stop_within(&mut self, grace: Duration, now: Timestamp) {
        let end = now + grace;
        self.kill_at = Some(self.kill_at.map_or(end, |earlier| earlier.min(end)));
    }

    /// A sandbox could not be made: tried again after a growing pause.
    pub fn failed(&mut self, message: String, now: Timestamp) {
        let tries = self.failure.as_ref().map_or(0, |failure| failure.tries);
        let pause = SHORTEST_PAUSE
            .saturating_mul(1 << tries.min(10))
            .min(LONGEST_PAUSE);
        self.failure = Some(Failure {
            message,
            retry_at: now + pause,
            tries: tries + 1,
        });
    }

    /// The sandbox died or was taken down: nothing runs any more.
    ///
    /// `init` names the init containers: those run again in the next sandbox,
    /// since what they prepared in its network is gone.
    pub fn sandbox_gone(&mut self, init: &[&str], again: bool, now: Timestamp) {
        self.sandbox = Sandbox::Absent;
        self.initialized = false;
        for container in self.containers.values_mut() {
            container.lose(now);
        }
        if !again {
            return;
        }
        for name in init {
            if let Some(container) = self.containers.get_mut(*name) {
                container.forget_exit();
            }
        }
    }
}

impl Container {
    const NEW: Self = Self {
        attempt: 0,
        state: State::New,
        last: None,
        hold: None,
        backoff: Backoff::NEW,
        image_backoff: Backoff::NEW,
        image_id: String::new(),
        image: String::new(),
        stop_signal: None,
        stopping: None,
        startup_passed: false,
        readiness_passed: false,
        post_start: false,
        hook_ended: None,
        doom: None,
        backoff_announced: false,
    };

    /// Whether a process of it may exist.
    pub fn may_run(&self) -> bool {
        matches!(self.state, State::Starting | State::Running(_))
    }

    /// How the newest attempt ended, if it has.
    pub fn exit(&self) -> Option<&Exit> {
        match &self.state {
            State::Exited(exit) => Some(exit),
            _ => None,
        }
    }

    /// Takes the next attempt's number; a crash raises the back-off.
    pub fn begin(&mut self, now: Timestamp) {
        if let State::Exited(exit) = std::mem::take(&mut self.state) {
            self.backoff.raise(exit.finished_at, now);
            self.last = Some(exit);
            self.attempt += 1;
        }
        self.state = State::Starting;
        self.hold = None;
        self.stopping = None;
        self.startup_passed = false;
        self.readiness_passed = false;
        self.post_start = false;
        self.hook_ended = None;
        self.doom = None;
        self.backoff_announced = false;
    }

    /// Whether it runs, and its startup probe and postStart hook are behind it.
    pub fn is_started(&self, spec: &Spec) -> bool {
        let passed = spec.startup_probe.is_none() || self.startup_passed;
        matches!(self.state, State::Running(_)) && !self.post_start && passed
    }

    /// Whether it serves.
    pub fn is_ready(&self, spec: &Spec) -> bool {
        let passed = spec.readiness_probe.is_none() || self.readiness_passed;
        self.is_started(spec) && passed
    }

    /// A start that did not reach the shim is taken back: its number is used again.
    pub fn not_begun(&mut self) {
        self.state = State::New;
    }

    /// Ends an attempt whose exit code died with the shim.
    pub fn lose(&mut self, now: Timestamp) {
        let started_at = match self.state {
            State::Running(since) => Some(since),
            State::Starting => None,
            State::New | State::Exited(_) => return,
        };
        self.state = State::Exited(Exit {
            code: LOST,
            reason: "ContainerStatusUnknown".to_owned(),
            message: Some("the pod's sandbox died and took the container with it".to_owned()),
            started_at,
            finished_at: now,
        });
    }

    /// Makes an ended container startable as if for the first time, without a back-off.
    fn forget_exit(&mut self) {
        if let State::Exited(exit) = std::mem::take(&mut self.state) {
            self.last = Some(exit);
            self.attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn exited(code: i32) -> State {
        State::Exited(Exit {
            code,
            reason: "Error".to_owned(),
            message: None,
            started_at: None,
            finished_at: at(5),
        })
    }

    #[test]
    fn a_first_start_has_number_zero_and_a_restart_counts() {
        let mut container = Container::default();
        container.begin(at(0));
        assert_eq!((container.attempt, &container.state), (0, &State::Starting));
        container.state = exited(1);
        container.begin(at(6));
        assert_eq!(container.attempt, 1);
        assert_eq!(container.last.map(|exit| exit.code), Some(1));
        assert_eq!(container.backoff.until(at(7)), Some(at(17)));
    }

    #[test]
    fn a_start_that_did_not_happen_costs_no_number() {
        let mut container = Container::default();
        container.begin(at(0));
        container.not_begun();
        container.begin(at(1));
        assert_eq!(container.attempt, 0);
    }

    #[test]
    fn a_dead_sandbox_ends_what_ran_and_repeats_init_containers() {
        let mut record = Record::new(at(0));
        record.sandbox = Sandbox::Ready;
        record.container_mut("init").state = exited(0);
        record.container_mut("app").state = State::Running(at(3));
        record.container_mut("done").state = exited(0);
        record.sandbox_gone(&["init"], true, at(9));
        assert_eq!(record.sandbox, Sandbox::Absent);
        assert_eq!(record.container("init").state, State::New);
        assert_eq!(record.container("init").attempt, 1);
        assert_eq!(
            record.container("app").exit().map(|exit| exit.code),
            Some(LOST)
        );
        assert_eq!(
            record.container("done").exit().map(|exit| exit.code),
            Some(0)
        );
        assert_eq!(record.container("never").state, State::New);
    }

    #[test]
    fn a_failing_sandbox_is_tried_less_and_less_often() {
        let mut record = Record::new(at(0));
        let mut pauses = Vec::new();
        for _ in 0..7 {
            record.failed("no address left".into(), at(0));
            pauses.push(record.failure.as_ref().unwrap().retry_at.as_second());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_grace_period_never_grows() {
        let mut record = Record::new(at(0));
        for (now, grace, expected) in [(0, 30, 30), (5, 30, 30), (6, 2, 8)] {
            record.stop_within(Duration::from_secs(grace), at(now));
            assert_eq!(record.kill_at, Some(at(expected)));
        }
    }

    #[test]
    fn records_survive_the_way_through_json() {
        let mut record = Record::new(at(0));
        record.container_mut("app").state = exited(3);
        record.container_mut("app").backoff.raise(at(1), at(2));
        record.ips = vec!["10.244.1.2".parse().unwrap()];
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
