//! Probes: when a container is looked at, and what its answers mean (pure).
//!
//! ```text
//!            startup passed                 readiness: ready <──> not ready
//! running ─────────────────────> started ──┤
//!    │ startup failed                       liveness failed
//!    └──────────────> restarted <───────────────┘
//! ```
//!
//! A verdict changes after `successThreshold` good or `failureThreshold` bad answers in a row,
//! as in the kubelet's `prober/worker.go`. One thing is different: a container that has just
//! started is asked for its readiness at shorter intervals until the first period is over, so
//! that it does not wait ten seconds because it was asked a millisecond too early. Failures of
//! these extra questions are not told.
//!
//! Containers that ran before this process did are first asked after a random part of a period, so
//! that a restart does not put hundreds of questions into one moment. (The kubelet does that with
//! new containers too, while it is young; they would wait for nothing.)
//!
//! No clock is read here, and nothing is asked: [`run`] does both, and [`rules`] says what a verdict
//! changes in the pod.

pub mod ask;
mod grpc;
mod http;
pub mod rules;
pub mod run;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Probe};

/// The first interval of the extra questions; it doubles.
const EARLY: Duration = Duration::from_millis(100);

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Whether the container has started.
    Startup,
    /// Whether it must be restarted.
    Liveness,
    /// Whether it serves.
    Readiness,
}

impl Purpose {
    /// A container's probe for this.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }

    /// The purpose at the beginning of the kubelet's sentences.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// The purpose within the kubelet's sentences.
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }
}

/// The numbers of a probe, with the API's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    initial_delay: Duration,
    period: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    successes: u32,
    failures: u32,
}

impl Rhythm {
    /// Those of a probe.
    pub fn of(probe: &Probe) -> Self {
        let number = |given: Option<i32>, default: u32| {
            let given = given.and_then(|given| u32::try_from(given).ok());
            given.filter(|given| *given > 0).unwrap_or(default)
        };
        let seconds = |given, default| Duration::from_secs(number(given, default).into());
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: number(probe.success_threshold, 1),
            failures: number(probe.failure_threshold, 3),
        }
    }
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consequence {
    /// The verdict is now this, and was not before.
    pub verdict: Option<bool>,
    /// People are told of the failure.
    pub tell: bool,
}

/// One probe of one attempt of a container.
#[derive(Clone, Debug)]
pub struct Prober {
    purpose: Purpose,
    rhythm: Rhythm,
    /// The end of the initial delay.
    begin: Timestamp,
    verdict: bool,
    /// The answers that were the same, the newest last.
    run: (bool, u32),
    asked_early: u32,
}

impl Prober {
    /// A probe of a container that runs since `started_at`, with the verdict that holds so far.
    pub fn new(purpose: Purpose, rhythm: Rhythm, started_at: Timestamp, verdict: bool) -> Self {
        Self {
            purpose,
            rhythm,
            begin: started_at + rhythm.initial_delay,
            verdict,
            run: (verdict, 0),
            asked_early: 0,
        }
    }

    /// When the first question is due: after that share (0 to 1) of a period, if there is one.
    pub fn first(&self, now: Timestamp, share: Option<f64>) -> Timestamp {
        let share = share.unwrap_or(0.0).clamp(0.0, 1.0);
        self.begin.max(now + self.rhythm.period.mul_f64(share))
    }

    /// Takes an answer to the question of time `asked`; none, when it could not be asked, changes
    /// nothing and is told.
    pub fn take(&mut self, answer: Option<bool>, asked: Timestamp) -> Consequence {
        let early = self.is_early(asked);
        let Some(good) = answer else {
            return Consequence {
                verdict: None,
                tell: !early,
            };
        };
        self.run = match self.run {
            (before, count) if before == good => (good, count.saturating_add(1)),
            _ => (good, 1),
        };
        let needed = match good {
            true => self.rhythm.successes,
            false => self.rhythm.failures,
        };
        let changed = self.run.1 >= needed && self.verdict != good;
        if changed {
            self.verdict = good;
        }
        // A failure that decides is told again and again: each one asks for a restart.
        let doomed = !good && self.run.1 >= needed && self.purpose != Purpose::Readiness;
        Consequence {
            verdict: (changed || doomed).then_some(good),
            tell: !good && !early,
        }
    }

    /// When the next question is due after that of time `asked`.
    pub fn next(&mut self, asked: Timestamp) -> Timestamp {
        let regular = asked + self.rhythm.period;
        if self.verdict || !self.is_early(asked) {
            return regular;
        }
        let pause = EARLY.saturating_mul(1 << self.asked_early.min(16));
        self.asked_early += 1;
        regular.min(asked + pause)
    }

    /// Whether readiness is still to be expected any moment.
    fn is_early(&self, asked: Timestamp) -> bool {
        let over = self.begin + self.rhythm.period;
        self.purpose == Purpose::Readiness && !self.verdict && asked < over && self.asked_early < 8
    }
}

#[cfg(test)]
mod story;
#[cfg(test)]
mod tests;
