//! What is to be done for a Job.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use sealane_kube::events::Severity;

use super::backoff;
use super::end::{self, End, FAILURE, SUCCESS};
use super::spec::{Job, Status, Uncounted};
pub use super::tally::Known;
use super::tally::{Entry, Tally};
use crate::view::PodView;
use crate::workloads::replica_set::by_rank;

/// A pod to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct New {
    pub index: Option<u32>,
    /// Failures of its index so far, where they are counted by it, and those that did not count.
    pub failures: Option<(u32, u32)>,
}

/// What is to be done.
pub struct Plan<'a> {
    pub create: Vec<New>,
    pub delete: Vec<&'a PodView>,
    /// Uids of pods whose finalizer goes.
    pub untrack: Vec<&'a str>,
    pub status: Status,
    /// Events about the change of the status.
    pub tell: Vec<(Severity, &'static str, String)>,
    /// Its time after the end is over.
    pub expired: bool,
    pub wake_in: Option<Duration>,
}

/// Decides for one Job.
pub fn plan<'a>(job: &Job, known: &Known<'a>, now: Timestamp) -> Plan<'a> {
    if let Some((_, since)) = job.end() {
        return finished(job, known, since, now);
    }
    let decided = end::decided(job);
    let mut tally = Tally::of(job, known, decided.is_some());
    let is_said = decided.is_some();
    let end = decided.or_else(|| end::decide(job, &tally, now));
    if end.is_some() {
        tally = Tally::of(job, known, true);
    }
    let mut plan = Plan {
        create: Vec::new(),
        delete: Vec::new(),
        untrack: tally.untrack.clone(),
        status: counts(job, known, &tally),
        tell: Vec::new(),
        expired: false,
        wake_in: None,
    };
    if job.head.deleting {
        // It is collected, with its pods.
        let tracked = tally.entries.iter().filter(|entry| entry.facts.tracked);
        plan.untrack = tracked.map(|entry| &*entry.pod.uid).collect();
        plan.status = job.status.clone();
        return plan;
    }
    match end {
        Some(end) => {
            // Not before it is written down why: what it was decided from goes with them.
            if is_said {
                plan.delete = tally.active().map(|entry| entry.pod).collect();
            }
            plan.close(&end, is_quiet(known, &tally), now);
        }
        None => {
            plan.suspend_or_resume(job, now);
            plan.wake_in = end::time_left(job, now);
            plan.adjust(job, known, &tally, now);
        }
    }
    plan
}

/// After the end: it is kept as long as it asks to be.
fn finished<'a>(job: &Job, known: &Known<'a>, since: Timestamp, now: Timestamp) -> Plan<'a> {
    let tracked = known.pods.iter().filter(|(_, pod)| {
        let facts = pod.facts.job.as_ref();
        facts.is_some_and(|facts| facts.tracked)
    });
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let left = job.ttl.map(|ttl| ttl.saturating_sub(passed));
    let expired = left == Some(Duration::ZERO) && !job.head.deleting;
    Plan {
        create: Vec::new(),
        delete: Vec::new(),
        untrack: tracked.map(|(_, pod)| &*pod.uid).collect(),
        status: job.status.clone(),
        tell: Vec::new(),
        expired,
        wake_in: left.filter(|left| !left.is_zero()),
    }
}

/// Nothing of it runs or will, and everything is counted.
fn is_quiet(known: &Known<'_>, tally: &Tally<'_>) -> bool {
    let runs = tally.active().count() + tally.leaving().count() + tally.terminating();
    runs == 0 && known.creating.is_empty() && tally.uncounted.is_empty() && tally.tracked() == 0
}

/// The status as far as it counts pods.
fn counts(job: &Job, known: &Known<'_>, tally: &Tally<'_>) -> Status {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let ready = tally.active().filter(|entry| entry.pod.facts.is_ready());
    let by_index = job.limit_per_index.is_some();
    Status {
        active: number(tally.active().count() + known.creating.len()),
        ready: Some(number(ready.count())),
        terminating: Some(number(tally.terminating())),
        succeeded: tally.counted.0,
        failed: tally.counted.1,
        completed_indexes: tally.completed.to_string(),
        failed_indexes: by_index.then(|| tally.failed_indexes.to_string()),
        uncounted_terminated_pods: Some(tally.uncounted.clone()),
        ..job.status.clone()
    }
}

impl<'a> Plan<'a> {
    /// Says how it will end, and when nothing of it runs any more, that it has.
    fn close(&mut self, end: &End, quiet: bool, now: Timestamp) {
        let [target, last] = if end.succeeds { SUCCESS } else { FAILURE };
        let why = (&*end.reason, &*end.message);
        let status = &mut self.status;
        status.start_time.get_or_insert(Time(now));
        status.say((target, true), why, now);
        if !quiet {
            return;
        }
        status.uncounted_terminated_pods = Some(Uncounted::default());
        status.say((last, true), why, now);
        let event = if end.succeeds {
            status.completion_time = Some(Time(now));
            (Severity::Normal, "Completed", "Job completed".to_owned())
        } else {
            (Severity::Warning, reason(end), end.message.clone())
        };
        self.tell.push(event);
    }

    fn suspend_or_resume(&mut self, job: &Job, now: Timestamp) {
        let status = &mut self.status;
        let condition = ("Suspended", job.suspended);
        if job.suspended {
            if status.say(condition, ("JobSuspended", "Job suspended"), now) {
                let event = (Severity::Normal, "Suspended", "Job suspended".to_owned());
                self.tell.push(event);
            }
            return;
        }
        if status.say(condition, ("JobResumed", "Job resumed"), now) {
            // Its time begins anew.
            status.start_time = Some(Time(now));
            let event = (Severity::Normal, "Resumed", "Job resumed".to_owned());
            self.tell.push(event);
        }
        status.start_time.get_or_insert(Time(now));
    }

    /// As many pods as it should have now.
    fn adjust(&mut self, job: &Job, known: &Known<'a>, tally: &Tally<'a>, now: Timestamp) {
        let active: Vec<&Entry<'a>> = tally.active().collect();
        let there = active.len() + known.creating.len();
        let wanted = if job.suspended {
            0
        } else {
            wanted(job, tally, there)
        };
        let useless = if job.indexed {
            without_use(job, tally)
        } else {
            Vec::new()
        };
        let surplus = there.saturating_sub(wanted).max(useless.len());
        if surplus > 0 {
            self.delete = surplus_pods(job, &active, useless, surplus, now);
            return;
        }
        let awaited = if job.replaces_only_failed {
            tally.leaving().count()
        } else {
            0
        };
        let missing = wanted.saturating_sub(there + awaited);
        if missing == 0 {
            return;
        }
        if job.limit_per_index.is_none() {
            let pause = backoff::after(&tally.ends(), now);
            if !pause.is_zero() {
                return self.wake_within(pause);
            }
        }
        if job.indexed {
            self.create = self.indexes(job, known, tally, missing, now);
        } else {
            self.create = vec![New::default(); missing];
        }
    }

    /// The first indexes that nobody works on, and whose pause is over.
    fn indexes(
        &mut self,
        job: &Job,
        known: &Known<'a>,
        tally: &Tally<'a>,
        missing: usize,
        now: Timestamp,
    ) -> Vec<New> {
        let awaited = tally.leaving().filter(|_| job.replaces_only_failed);
        let at_work = tally.active().chain(awaited);
        let at_work = at_work.filter_map(|entry| entry.facts.index);
        let creating = known.creating.iter().copied().flatten();
        let busy: BTreeSet<u32> = at_work.chain(creating).collect();
        let open = (0..job.completions.unwrap_or(0)).filter(|index| {
            let done = tally.completed.contains(*index) || tally.failed_indexes.contains(*index);
            !done && !busy.contains(index)
        });
        let mut new = Vec::new();
        for index in open {
            if new.len() == missing {
                break;
            }
            let newest = tally.newest.get(&index).copied();
            let before = newest.map_or((0, 0), |newest| (newest.failures, newest.ignored));
            if let Some(last) = newest.and_then(|newest| newest.failed) {
                let pause = backoff::remaining(before.0 + before.1, last, now);
                if !pause.is_zero() {
                    self.wake_within(pause);
                    continue;
                }
            }
            new.push(New {
                index: Some(index),
                failures: job.limit_per_index.map(|_| before),
            });
        }
        new
    }

    fn wake_within(&mut self, pause: Duration) {
        self.wake_in = Some(self.wake_in.map_or(pause, |other| other.min(pause)));
    }
}

/// How many pods should run now.
fn wanted(job: &Job, tally: &Tally<'_>, there: usize) -> usize {
    let most = usize::try_from(job.parallelism).unwrap_or(usize::MAX);
    let Some(completions) = job.completions else {
        return if tally.succeeded > 0 {
            there.min(most)
        } else {
            most
        };
    };
    let left = completions.saturating_sub(tally.succeeded + tally.failed_indexes.count());
    most.min(usize::try_from(left).unwrap_or(usize::MAX))
}

/// Pods of no index, or of one that another works on, or that is done.
fn without_use<'a>(job: &Job, tally: &Tally<'a>) -> Vec<&'a PodView> {
    let limit = job.completions.unwrap_or(0);
    let mut taken = BTreeSet::new();
    let useless = tally.active().filter(|entry| {
        let index = entry.facts.index.filter(|index| *index < limit);
        index.is_none_or(|index| tally.completed.contains(index) || !taken.insert(index))
    });
    useless.map(|entry| entry.pod).collect()
}

/// Those without use first, then of an indexed Job those of the highest indexes, else as for any set of pods.
fn surplus_pods<'a>(
    job: &Job,
    active: &[&Entry<'a>],
    useless: Vec<&'a PodView>,
    count: usize,
    now: Timestamp,
) -> Vec<&'a PodView> {
    let is_useless = |pod: &PodView| useless.iter().any(|other| other.uid == pod.uid);
    let mut others: Vec<_> = active
        .iter()
        .filter(|entry| !is_useless(entry.pod))
        .collect();
    if job.indexed {
        others.sort_by_key(|entry| std::cmp::Reverse(entry.facts.index));
    } else {
        others.sort_by(|a, b| by_rank(a.pod, b.pod, now));
    }
    let others = others.into_iter().map(|entry| entry.pod);
    useless.iter().copied().chain(others).take(count).collect()
}

/// Reasons of events are words of the program.
fn reason(end: &End) -> &'static str {
    let known = [
        "PodFailurePolicy",
        "BackoffLimitExceeded",
        "DeadlineExceeded",
        "MaxFailedIndexesExceeded",
        "FailedIndexes",
    ];
    let found = known.into_iter().find(|known| *known == end.reason);
    found.unwrap_or("JobFailed")
}
