//! The worker's part in probes: which ones run, and what their verdicts change.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use jiff::Timestamp;
use sealane_kube::events::Severity;
use tokio::sync::mpsc;

use super::Worker;
use crate::desired::Desired;
use crate::probe::ask::{Question, Target};
use crate::probe::rules::{self, Key, Needed};
use crate::probe::run::{Probing, Running, Verdict};
use crate::probe::{Prober, Rhythm};

/// The probes of one pod: each of one attempt of a container.
pub(super) struct Probes {
    running: BTreeMap<Key, Running>,
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

impl Worker {
    /// Starts the probes that are due, and ends the others.
    pub(super) fn supervise(&mut self, pod: &Desired) {
        if self.shim.is_none() {
            self.probes.running.clear();
            return;
        }
        let wanted = rules::needed(pod, &self.record);
        let is_wanted = |key: &Key| wanted.iter().any(|needed| needed.key == *key);
        self.probes.running.retain(|key, _| is_wanted(key));
        for needed in wanted {
            if !self.probes.running.contains_key(&needed.key)
                && let Some(running) = self.probing(pod, &needed)
            {
                self.probes.running.insert(needed.key, running);
            }
        }
    }

    fn probing(&self, pod: &Desired, needed: &Needed<'_>) -> Option<Running> {
        let Needed {
            key,
            spec,
            probe,
            since,
            verdict,
        } = needed;
        let target = self.target(pod, &spec.name)?;
        let rhythm = Rhythm::of(probe);
        let (node, about, name) = (self.node.clone(), pod.clone(), spec.name.clone());
        let resumed = *since < self.node.started_at;
        let probing = Probing {
            prober: Prober::new(key.purpose, rhythm, *since, *verdict),
            question: Question::of_probe(probe, spec, target.ip),
            target,
            timeout: rhythm.timeout,
            attempt: key.attempt,
            purpose: key.purpose,
            verdicts: self.probes.sender.clone(),
            share: resumed.then(random_share),
            tell: move |reason, message| {
                node.tell_of(&about, &name, Severity::Warning, reason, message);
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

    /// Enters a verdict.
    pub(super) fn judge(&mut self, verdict: &Verdict) {
        let pod = self.desired.borrow().clone();
        rules::enter(verdict, &pod, &mut self.record, Timestamp::now());
    }
}

/// Any number from 0 to 1.
fn random_share() -> f64 {
    let number = RandomState::new().hash_one(0) >> 32;
    number as f64 / f64::from(u32::MAX)
}
