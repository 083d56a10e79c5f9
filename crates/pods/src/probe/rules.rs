//! Which probes a pod needs now, and what their verdicts change (pure).
//!
//! - Startup comes first: liveness and readiness are not asked before it has passed.
//! - A container that is on its way out is asked for its readiness only: whoever sends to it has to
//!   know, and it ends anyway.
//! - A verdict is about one attempt. A container that is started again begins anew: not started, not
//!   ready, alive; what is said of the attempt before does not count.
//!
//! Source: the kubelet's `prober/worker.go`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, Probe};

use super::Purpose;
use super::run::Verdict;
use crate::decide::outcome;
use crate::desired::{Desired, RestartPolicy, SHORTEST_GRACE};
use crate::record::{Container, Doom, Record, State};

/// One probe of one attempt of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The container.
    pub container: String,
    /// Which attempt.
    pub attempt: u32,
    /// Which probe.
    pub purpose: Purpose,
}

/// A probe that is needed.
#[derive(Clone, Debug)]
pub struct Needed<'a> {
    /// Which one.
    pub key: Key,
    /// The container.
    pub spec: &'a Spec,
    /// What is asked, and when.
    pub probe: &'a Probe,
    /// Since when this attempt runs.
    pub since: Timestamp,
    /// What holds until it is answered.
    pub verdict: bool,
}

/// The probes that a pod needs now.
pub fn needed<'a>(pod: &'a Desired, record: &Record) -> Vec<Needed<'a>> {
    let leaving = pod.grace().is_some() || outcome(pod, record).is_some();
    let mut needed = Vec::new();
    for spec in pod.sidecars().chain(pod.main()) {
        let container = record.container(&spec.name);
        let State::Running(since) = container.state else {
            continue;
        };
        for &purpose in purposes(spec, container, leaving) {
            needed.extend(purpose.of(spec).map(|probe| Needed {
                key: Key {
                    container: spec.name.clone(),
                    attempt: container.attempt,
                    purpose,
                },
                spec,
                probe,
                since,
                verdict: match purpose {
                    Purpose::Startup => false,
                    Purpose::Liveness => true,
                    Purpose::Readiness => container.readiness_passed,
                },
            }));
        }
    }
    needed
}

/// What a running container is asked for.
fn purposes(spec: &Spec, container: &Container, leaving: bool) -> &'static [Purpose] {
    let ending = leaving || container.doom.is_some() || container.stopping.is_some();
    let starting = spec.startup_probe.is_some() && !container.startup_passed;
    match (starting, ending) {
        (true, true) => &[],
        (true, false) => &[Purpose::Startup],
        (false, true) => &[Purpose::Readiness],
        (false, false) => &[Purpose::Liveness, Purpose::Readiness],
    }
}

/// Enters a verdict.
pub fn enter(verdict: &Verdict, pod: &Desired, record: &mut Record, now: Timestamp) {
    let Some(container) = record.containers.get_mut(&verdict.container) else {
        return;
    };
    let running = matches!(container.state, State::Running(_));
    if container.attempt != verdict.attempt || !running {
        return;
    }
    match (verdict.purpose, verdict.good) {
        (Purpose::Startup, true) => container.startup_passed = true,
        (Purpose::Readiness, good) => container.readiness_passed = good,
        (Purpose::Liveness, true) => {}
        (Purpose::Startup | Purpose::Liveness, false) => {
            let doom = doom(pod, verdict, now);
            container.doom.get_or_insert(doom);
        }
    }
}

/// What follows from a probe that failed for good.
fn doom(pod: &Desired, verdict: &Verdict, now: Timestamp) -> Doom {
    let (name, word) = (&verdict.container, verdict.purpose.word());
    let spec = pod.container(name);
    let again = spec.is_some_and(|spec| pod.restarts(spec).policy != RestartPolicy::Never);
    let ending = if again { ", will be restarted" } else { "" };
    let probe = spec.and_then(|spec| verdict.purpose.of(spec));
    let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
    let grace = own.and_then(|seconds| u64::try_from(seconds).ok());
    let grace = grace.map_or(pod.own_grace(), Duration::from_secs);
    Doom {
        message: format!("Container {name} failed {word} probe{ending}"),
        kill_at: now + grace.max(SHORTEST_GRACE),
        changed: false,
    }
}
