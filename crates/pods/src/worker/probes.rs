//! The worker's part in probes: which ones run, and what their verdicts change.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container as Spec;
use sealane_kube::events::Severity;
use tokio::sync::mpsc;

use super::Worker;
use crate::decide::outcome;
use crate::desired::{Desired, RestartPolicy};
use crate::probe::ask::{Question, Target};
use crate::probe::run::{Probing, Running, Verdict};
use crate::probe::{Prober, Purpose, Rhythm};
use crate::record::{Container, Doom, State};

/// The probes of one pod: each of one attempt of a container.
pub(super) struct Probes {
    running: BTreeMap<(String, u32, Purpose), Running>,
    sender: mpsc::UnboundedSender<Verdict>,
    verdicts: mpsc::UnboundedReceiver<Verdict>,
}

impl Default for Probes {
    fn default() -> Self {
        let (sender, verdicts) = mpsc::unbounded_channel();
        Self {
            running: BTreeMap::new(),
            sender,
            verdicts,
        }
    }
}

impl Probes {
    /// The next verdict; never, while there are no probes.
    pub(super) async fn next(&mut self) -> Verdict {
        match self.verdicts.recv().await {
            Some(verdict) => verdict,
            None => std::future::pending().await,
        }
    }
}

/// The probes that a running container needs now.
fn due(spec: &Spec, container: &Container, leaving: bool) -> Vec<Purpose> {
    let has = |purpose: &Purpose| purpose.of(spec).is_some();
    let ending = leaving || container.doom.is_some() || container.stopping.is_some();
    let startup = spec.startup_probe.is_some() && !container.startup_passed;
    let purposes: &[Purpose] = match (startup, ending) {
        (true, true) => &[],
        (true, false) => &[Purpose::Startup],
        (false, true) => &[Purpose::Readiness],
        (false, false) => &[Purpose::Liveness, Purpose::Readiness],
    };
    purposes.iter().copied().filter(has).collect()
}

impl Worker {
    /// Starts the probes that are due, and ends the others.
    pub(super) fn supervise(&mut self, pod: &Desired) {
        if self.shim.is_none() {
            self.probes.running.clear();
            return;
        }
        let leaving = pod.grace().is_some() || outcome(pod, &self.record).is_some();
        let mut wanted = Vec::new();
        for spec in pod.sidecars().chain(pod.main()) {
            let container = self.record.container(&spec.name);
            let State::Running(since) = container.state else {
                continue;
            };
            for purpose in due(spec, container, leaving) {
                let key = (spec.name.clone(), container.attempt, purpose);
                wanted.push((key, spec, since));
            }
        }
        let is_wanted = |key: &_| wanted.iter().any(|(wanted, _, _)| wanted == key);
        self.probes.running.retain(|key, _| is_wanted(key));
        for (key, spec, since) in wanted {
            if !self.probes.running.contains_key(&key)
                && let Some(running) = self.probing(pod, spec, key.2, since)
            {
                self.probes.running.insert(key, running);
            }
        }
    }

    fn probing(
        &self,
        pod: &Desired,
        spec: &Spec,
        purpose: Purpose,
        since: Timestamp,
    ) -> Option<Running> {
        let probe = purpose.of(spec)?;
        let container = self.record.container(&spec.name);
        let verdict = match purpose {
            Purpose::Startup => false,
            Purpose::Liveness => true,
            Purpose::Readiness => container.readiness_passed,
        };
        let target = self.target(pod, &spec.name)?;
        let rhythm = Rhythm::of(probe);
        let (node, about, name) = (self.node.clone(), pod.clone(), spec.name.clone());
        let probing = Probing {
            prober: Prober::new(purpose, rhythm, since, verdict),
            question: Question::of_probe(probe, spec, target.ip),
            target,
            timeout: rhythm.timeout,
            attempt: container.attempt,
            purpose,
            verdicts: self.probes.sender.clone(),
            tell: move |message| {
                node.tell_of(&about, &name, Severity::Warning, "Unhealthy", message);
            },
        };
        Some(probing.start())
    }

    /// A container as it is asked.
    pub(super) fn target(&self, pod: &Desired, name: &str) -> Option<Target> {
        let ips = match pod.host_network() {
            true => &self.node.ips,
            false => &self.record.ips,
        };
        Some(Target {
            ip: ips.first().copied(),
            shim: self.shim.clone()?,
            container: name.to_owned(),
        })
    }

    /// Enters a verdict; one about an older attempt is ignored.
    pub(super) fn judge(&mut self, verdict: &Verdict) {
        let pod = self.desired.borrow().clone();
        let Some(container) = self.record.containers.get_mut(&verdict.container) else {
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
                let doom = doom(&pod, verdict, Timestamp::now());
                container.doom.get_or_insert(doom);
            }
        }
    }
}

/// What follows from a probe that failed for good.
fn doom(pod: &Desired, verdict: &Verdict, now: Timestamp) -> Doom {
    let (name, word) = (&verdict.container, verdict.purpose.word());
    let sidecar = pod.sidecars().any(|sidecar| sidecar.name == *name);
    let again = sidecar || pod.restart_policy() != RestartPolicy::Never;
    let ending = if again { ", will be restarted" } else { "" };
    let probe = pod
        .container(name)
        .and_then(|spec| verdict.purpose.of(spec));
    let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
    let grace = own.and_then(|seconds| u64::try_from(seconds).ok());
    let grace = grace.map_or(pod.own_grace(), std::time::Duration::from_secs);
    Doom {
        message: format!("Container {name} failed {word} probe{ending}"),
        kill_at: now + grace,
    }
}
