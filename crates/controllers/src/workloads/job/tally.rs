//! What has become of a Job's pods, and how far they have been counted.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use k8s_openapi::jiff::Timestamp;
use sealane_objects::ObjectName;

use super::indexes::Indexes;
use super::policy::Action;
use super::spec::{Job, Uncounted};
use crate::facts::Phase;
use crate::facts::job::JobPod;
use crate::view::PodView;

/// Uids that stand in a status at once, as in Kubernetes.
const MOST_UNCOUNTED: usize = 500;

/// What is known of a Job's pods.
#[derive(Default)]
pub struct Known<'a> {
    /// All that are there, ended ones among them.
    pub pods: Vec<(&'a ObjectName, &'a PodView)>,
    /// Uids of those whose deletion was asked for.
    pub leaving: HashSet<&'a str>,
    /// Indexes of those that are being made; none where the Job has no indexes.
    pub creating: Vec<Option<u32>>,
}

/// What a pod has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Active,
    /// It is to go, and what it ends with is awaited.
    Leaving,
    Succeeded,
    Failed,
}

/// A pod with what it has come to.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub pod: &'a PodView,
    pub facts: &'a JobPod,
    pub fate: Fate,
    /// What its failure means, if it has failed.
    pub action: Action,
}

/// The newest pod of an index.
#[derive(Clone, Copy)]
pub struct Newest {
    /// Failures of the index with this pod's own.
    pub failures: u32,
    /// Those that did not count.
    pub ignored: u32,
    /// When it failed, if it has.
    pub failed: Option<Timestamp>,
}

pub struct Tally<'a> {
    pub entries: Vec<Entry<'a>>,
    /// Counted or not.
    pub succeeded: u32,
    /// Counted or not.
    pub failed: u32,
    pub completed: Indexes,
    pub failed_indexes: Indexes,
    /// What stands in the status from now on.
    pub counted: (u32, u32),
    pub uncounted: Uncounted,
    /// Uids of pods whose finalizer may go.
    pub untrack: Vec<&'a str>,
    /// Why a pod's failure is that of the Job.
    pub doom: Option<String>,
    /// The newest pods by index, where failures are counted by it.
    pub newest: BTreeMap<u32, Newest>,
}

impl<'a> Tally<'a> {
    /// Counts; once the Job is `ending`, no failed pod is kept for its successor to see.
    pub fn of(job: &Job, known: &Known<'a>, ending: bool) -> Self {
        let mut doom = None;
        let entries: Vec<Entry<'a>> = known
            .pods
            .iter()
            .map(|(name, pod)| {
                let (entry, why) = entry(job, known, name, pod);
                doom = doom.take().or(why);
                entry
            })
            .collect();
        let mut tally = Self {
            completed: completed(job, &entries),
            failed_indexes: Indexes::default(),
            newest: BTreeMap::new(),
            succeeded: job.status.succeeded,
            failed: job.status.failed,
            counted: (job.status.succeeded, job.status.failed),
            uncounted: Uncounted::default(),
            untrack: Vec::new(),
            doom,
            entries,
        };
        tally.look_at_indexes(job);
        tally.go_on_with_count(job);
        tally.begin_count(job, ending);
        if job.indexed {
            tally.succeeded = tally.completed.count();
            tally.counted.0 = tally.succeeded;
        }
        tally
    }

    pub fn active(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.entries
            .iter()
            .filter(|entry| entry.fate == Fate::Active)
    }

    pub fn leaving(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.entries
            .iter()
            .filter(|entry| entry.fate == Fate::Leaving)
    }

    /// Pods that are to go and have not ended, counted or not.
    pub fn terminating(&self) -> usize {
        let goes = |entry: &&Entry<'_>| entry.pod.deleting && !entry.pod.finished;
        self.entries.iter().filter(goes).count()
    }

    pub fn tracked(&self) -> usize {
        let tracked = |entry: &&Entry<'_>| entry.facts.tracked;
        self.entries.iter().filter(tracked).count()
    }

    /// Ends of pods, and whether they were good.
    pub fn ends(&self) -> Vec<(Timestamp, bool)> {
        let end = |entry: &Entry<'_>| match entry.fate {
            Fate::Succeeded => Some((entry.facts.ended?, true)),
            Fate::Failed => Some((entry.facts.ended?, false)),
            Fate::Active | Fate::Leaving => None,
        };
        self.entries.iter().filter_map(end).collect()
    }

    /// How often containers of pods that run were started again.
    pub fn restarts(&self) -> u32 {
        self.active().map(|entry| entry.facts.restarts).sum()
    }

    /// Failures by index, and which indexes have none left.
    fn look_at_indexes(&mut self, job: &Job) {
        let Some(limit) = job.limit_per_index else {
            return;
        };
        let before = Indexes::parse(job.status.failed_indexes.as_deref().unwrap_or_default());
        let mut failed = Vec::new();
        for entry in &self.entries {
            let Some(index) = entry.facts.index else {
                continue;
            };
            let newest = newest(entry);
            if entry.fate == Fate::Failed
                && entry.facts.tracked
                && (newest.failures > limit || entry.action == Action::FailIndex)
            {
                failed.push(index);
            }
            let known = self.newest.entry(index).or_insert(newest);
            let (total, other) = (
                newest.failures + newest.ignored,
                known.failures + known.ignored,
            );
            // Of a pod and its successor, whose number is the same until it fails, the successor.
            if total > other || (total == other && newest.failed.is_none()) {
                *known = newest;
            }
        }
        let failed = failed
            .into_iter()
            .filter(|index| !self.completed.contains(*index));
        let limit = job.completions.unwrap_or(u32::MAX);
        self.failed_indexes = before.with(failed).below(limit);
    }

    /// Pods that stand in the status: they are counted when their finalizer is gone.
    fn go_on_with_count(&mut self, job: &Job) {
        let Some(before) = &job.status.uncounted_terminated_pods else {
            return;
        };
        let tracked: HashSet<&str> = self
            .entries
            .iter()
            .filter(|entry| entry.facts.tracked)
            .map(|entry| &*entry.pod.uid)
            .collect();
        for uid in &before.succeeded {
            self.succeeded += 1;
            match tracked.get(&**uid) {
                Some(uid) => self.uncounted.succeeded.push((*uid).to_owned()),
                None => self.counted.0 += 1,
            }
        }
        for uid in &before.failed {
            self.failed += 1;
            match tracked.get(&**uid) {
                Some(uid) => self.uncounted.failed.push((*uid).to_owned()),
                None => self.counted.1 += 1,
            }
        }
        let standing = self
            .uncounted
            .succeeded
            .iter()
            .chain(&self.uncounted.failed);
        let standing: HashSet<&str> = standing.map(String::as_str).collect();
        let known = self.entries.iter().map(|entry| &*entry.pod.uid);
        self.untrack
            .extend(known.filter(|uid| standing.contains(uid)));
    }

    /// Pods that have ended and stand nowhere yet.
    fn begin_count(&mut self, job: &Job, ending: bool) {
        let seen = Indexes::parse(&job.status.completed_indexes);
        let standing: HashSet<&str> = self.untrack.iter().copied().collect();
        let ended = self.entries.iter().filter(|entry| {
            let ended = matches!(entry.fate, Fate::Succeeded | Fate::Failed);
            ended && entry.facts.tracked && !standing.contains(&*entry.pod.uid)
        });
        let mut room = MOST_UNCOUNTED.saturating_sub(standing.len());
        for entry in ended {
            let uid = &*entry.pod.uid;
            match entry.fate {
                // The set of indexes is the count, and can be written twice.
                Fate::Succeeded if job.indexed => {
                    let index = entry
                        .facts
                        .index
                        .filter(|index| self.completed.contains(*index));
                    if index.is_none_or(|index| seen.contains(index)) {
                        self.untrack.push(uid);
                    }
                }
                Fate::Succeeded => {
                    self.succeeded += 1;
                    if room > 0 {
                        room -= 1;
                        self.uncounted.succeeded.push(uid.to_owned());
                    }
                }
                _ => {
                    let counts = entry.action != Action::Ignore;
                    self.failed += u32::from(counts);
                    if !ending && self.is_needed_by_successor(entry) {
                        continue;
                    }
                    if !counts {
                        self.untrack.push(uid);
                    } else if room > 0 {
                        room -= 1;
                        self.uncounted.failed.push(uid.to_owned());
                    }
                }
            }
        }
    }

    /// Whether a failed pod is the only one that knows how often its index has failed.
    fn is_needed_by_successor(&self, entry: &Entry<'_>) -> bool {
        let Some(index) = entry.facts.index else {
            return false;
        };
        let open = !self.completed.contains(index) && !self.failed_indexes.contains(index);
        let own = newest(entry);
        let is_newest = self.newest.get(&index).is_some_and(|newest| {
            newest.failed.is_some()
                && newest.failures + newest.ignored == own.failures + own.ignored
        });
        open && is_newest
    }
}

/// What an index has gone through, its pod included.
fn newest(entry: &Entry<'_>) -> Newest {
    let failed = entry.fate == Fate::Failed;
    let ignored = failed && entry.action == Action::Ignore;
    Newest {
        failures: entry.facts.failures + u32::from(failed && !ignored),
        ignored: entry.facts.ignored + u32::from(ignored),
        failed: entry.facts.ended.filter(|_| failed),
    }
}

fn entry<'a>(
    job: &Job,
    known: &Known<'a>,
    name: &ObjectName,
    pod: &'a PodView,
) -> (Entry<'a>, Option<String>) {
    static NOTHING: LazyLock<JobPod> = LazyLock::new(JobPod::default);
    let facts: &'a JobPod = pod.facts.job.as_deref().unwrap_or(&NOTHING);
    let fate = match pod.facts.phase {
        Phase::Succeeded => Fate::Succeeded,
        Phase::Failed => Fate::Failed,
        _ if pod.deleting && (facts.abandoned || !job.replaces_only_failed) => Fate::Failed,
        _ if pod.deleting || known.leaving.contains(&*pod.uid) => Fate::Leaving,
        _ => Fate::Active,
    };
    let (action, why) = match fate {
        Fate::Failed => {
            let name = format!("{}/{}", name.namespace, name.name);
            job.failure_policy.judge(facts, &name)
        }
        _ => (Action::Count, String::new()),
    };
    let doom = (action == Action::FailJob && facts.tracked).then_some(why);
    let entry = Entry {
        pod,
        facts,
        fate,
        action,
    };
    (entry, doom)
}

fn completed(job: &Job, entries: &[Entry<'_>]) -> Indexes {
    if !job.indexed {
        return Indexes::default();
    }
    let good = entries
        .iter()
        .filter(|entry| entry.fate == Fate::Succeeded && entry.facts.tracked);
    let limit = job.completions.unwrap_or(0);
    let before = Indexes::parse(&job.status.completed_indexes);
    before
        .with(good.filter_map(|entry| entry.facts.index))
        .below(limit)
}
