//! CronJobs: Jobs by the clock.
//!
//! A Job is named after the minute that it is for, and says that time in an annotation. So a time is not
//! served twice, whoever asks, and the last time that was served is read off the Jobs that there are; the
//! status keeps it when they are gone. Of times that were missed only the last is served, as in
//! kube-controller-manager, whose words these are.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp, tz::TimeZone};
use kube::api::DynamicObject;
use sealane_cron::Schedule;
use sealane_kube::events::Severity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::head::Head;
use super::job::Job;
use super::replica_set::take;
use crate::action::Kind;

/// The time that a Job is for.
pub const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Made by `kubectl create job --from`: no time is served by it.
const BY_HAND: &str = "cronjob.kubernetes.io/instantiate";
/// More missed times than this are told of.
const MANY: usize = 100;

/// A CronJob.
#[derive(Clone, Debug, PartialEq)]
pub struct CronJob {
    pub head: Head,
    schedule: Option<Schedule>,
    zone: TimeZone,
    /// How late a Job may be.
    deadline: Option<SignedDuration>,
    concurrency: Concurrency,
    suspended: bool,
    /// How many Jobs that succeeded are kept, and how many that failed.
    kept: (usize, usize),
    template: Value,
    pub status: Status,
}

/// What becomes of a Job that still runs when the next is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Concurrency {
    #[default]
    Allow,
    Forbid,
    Replace,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    active: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_schedule_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_successful_time: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    schedule: String,
    time_zone: Option<String>,
    starting_deadline_seconds: Option<i64>,
    concurrency_policy: Concurrency,
    suspend: bool,
    successful_jobs_history_limit: Option<usize>,
    failed_jobs_history_limit: Option<usize>,
    job_template: Value,
}

impl CronJob {
    pub fn of(mut object: DynamicObject) -> Self {
        let spec: Spec = take(&mut object.data, "spec");
        let zone = spec.time_zone.as_deref().and_then(sealane_cron::zone);
        let zone = zone.and_then(|(name, data)| TimeZone::tzif(name, data).ok());
        Self {
            // The API server has judged both.
            schedule: Schedule::parse(&spec.schedule).ok(),
            zone: zone.unwrap_or(TimeZone::UTC),
            deadline: spec
                .starting_deadline_seconds
                .map(SignedDuration::from_secs),
            concurrency: spec.concurrency_policy,
            suspended: spec.suspend,
            kept: (
                spec.successful_jobs_history_limit.unwrap_or(3),
                spec.failed_jobs_history_limit.unwrap_or(1),
            ),
            template: spec.job_template,
            status: take(&mut object.data, "status"),
            head: Head::of(Kind::CronJob, object.metadata),
        }
    }

    /// The Job for a time.
    pub fn job(&self, name: &str, at: Timestamp) -> Value {
        let given = &self.template["metadata"];
        let mut annotations = given["annotations"].clone();
        let offset = self.zone.to_offset(at);
        let time = match offset.is_zero() {
            true => at.to_string(),
            false => at.display_with_offset(offset).to_string(),
        };
        annotations[SCHEDULED] = json!(time);
        json!({
            "apiVersion": Kind::Job.api_version(),
            "kind": Kind::Job.to_string(),
            "metadata": {
                "name": name, "namespace": self.head.name.namespace,
                "labels": given["labels"], "annotations": annotations,
                "ownerReferences": [self.head.reference()],
            },
            "spec": self.template["spec"],
        })
    }

    /// Its schedule's answer, in seconds since 1970.
    fn offset(&self) -> impl Fn(i64) -> i64 {
        |second| {
            let at = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
            self.zone.to_offset(at).seconds().into()
        }
    }
}

/// What is to be done for a CronJob.
#[derive(Debug, Default)]
pub struct Plan {
    /// The name of a Job, and the time that it is for.
    pub create: Option<(String, Timestamp)>,
    /// Names and uids of Jobs.
    pub delete: Vec<(String, String)>,
    pub status: Status,
    pub tell: Vec<(Severity, &'static str, String)>,
    /// When it is due next.
    pub next: Option<Timestamp>,
}

/// Decides for one CronJob; `busy` while a Job that was asked for is not seen.
pub fn plan(cron: &CronJob, jobs: &[&Job], busy: bool, now: Timestamp) -> Plan {
    let active: Vec<&Job> = jobs
        .iter()
        .copied()
        .filter(|job| job.end().is_none() && !job.head.annotations.contains_key(BY_HAND))
        .collect();
    let mut plan = Plan {
        status: status(cron, jobs, &active),
        delete: surplus(cron, jobs),
        ..Plan::default()
    };
    plan.tell = news(cron, jobs);
    let Some(schedule) = cron.schedule.as_ref() else {
        return plan;
    };
    if cron.head.deleting || cron.suspended {
        return plan;
    }
    let next = schedule.next(now.as_second(), cron.offset());
    plan.next = next.and_then(|second| Timestamp::from_second(second).ok());
    if !busy {
        plan.serve(cron, schedule, (jobs, &active), now);
    }
    plan
}

impl Plan {
    /// Asks for the Job of the last time that is not served.
    fn serve(
        &mut self,
        cron: &CronJob,
        schedule: &Schedule,
        (jobs, active): (&[&Job], &[&Job]),
        now: Timestamp,
    ) {
        let served = self.status.last_schedule_time.as_ref().map(|time| time.0);
        let Some(mut since) = served.or(cron.head.created) else {
            return;
        };
        if let Some(earliest) = cron.deadline.and_then(|late| now.checked_sub(late).ok()) {
            since = since.max(earliest);
        }
        let (since, until) = (since.as_second(), now.as_second());
        let due = schedule.last(since, until, cron.offset());
        let Some(due) = due.and_then(|second| Timestamp::from_second(second).ok()) else {
            return;
        };
        let name = format!("{}-{}", cron.head.name.name, due.as_second() / 60);
        if jobs.iter().any(|job| job.head.name.name == name) {
            // Of several times in a minute, the first is served.
            self.status.last_schedule_time = Some(Time(due));
            return;
        }
        let missed = schedule.count(since, until, MANY + 1, cron.offset());
        if missed > MANY && cron.deadline.is_none() {
            let message = "too many missed start times. Set or decrease \
                           .spec.startingDeadlineSeconds or check clock skew";
            self.warn("TooManyMissedTimes", message.to_owned());
        }
        match cron.concurrency {
            Concurrency::Forbid if !active.is_empty() => {
                let message = "Not starting job because prior execution is running and \
                               concurrency policy is Forbid";
                let event = (Severity::Normal, "JobAlreadyActive", message.to_owned());
                self.tell.push(event);
                return;
            }
            Concurrency::Replace => {
                let named = |job: &&Job| (job.head.name.name.clone(), job.head.uid.clone());
                self.delete.extend(active.iter().map(named));
            }
            Concurrency::Forbid | Concurrency::Allow => {}
        }
        self.create = Some((name, due));
    }

    fn warn(&mut self, reason: &'static str, message: String) {
        self.tell.push((Severity::Warning, reason, message));
    }
}

fn status(cron: &CronJob, jobs: &[&Job], active: &[&Job]) -> Status {
    let reference = |job: &&Job| {
        let name = &job.head.name;
        json!({
            "apiVersion": Kind::Job.api_version(), "kind": Kind::Job.to_string(),
            "name": name.name, "namespace": name.namespace, "uid": job.head.uid,
        })
    };
    let mut running = active.to_vec();
    running.sort_by_key(|job| (job.head.created, &job.head.name));
    let before = &cron.status;
    let served = jobs.iter().filter_map(|job| scheduled(job)).map(Time);
    let succeeded = jobs.iter().filter(|job| job.succeeded());
    let succeeded = succeeded.filter_map(|job| job.status.completion_time.clone());
    Status {
        active: running.iter().map(reference).collect(),
        last_schedule_time: served.chain(before.last_schedule_time.clone()).max(),
        last_successful_time: succeeded.chain(before.last_successful_time.clone()).max(),
    }
}

/// The time that a Job is for.
fn scheduled(job: &Job) -> Option<Timestamp> {
    job.head.annotations.get(SCHEDULED)?.parse().ok()
}

/// Of Jobs that have ended the oldest, if there are more than are to be kept.
fn surplus(cron: &CronJob, jobs: &[&Job]) -> Vec<(String, String)> {
    let mut surplus = Vec::new();
    for (kept, good) in [(cron.kept.0, true), (cron.kept.1, false)] {
        let ended = jobs
            .iter()
            .filter(|job| job.end().is_some() && job.succeeded() == good);
        let mut ended: Vec<_> = ended.filter(|job| !job.head.deleting).collect();
        ended.sort_by_key(|job| (job.status.start_time.clone(), &job.head.name));
        let many = ended.len().saturating_sub(kept);
        let oldest = ended.into_iter().take(many);
        surplus.extend(oldest.map(|job| (job.head.name.name.clone(), job.head.uid.clone())));
    }
    surplus
}

/// Jobs that were running when the status was last written, and have ended.
fn news(cron: &CronJob, jobs: &[&Job]) -> Vec<(Severity, &'static str, String)> {
    let was_active = |job: &&&Job| {
        cron.status
            .active
            .iter()
            .any(|one| one["uid"] == job.head.uid)
    };
    let known = jobs.iter().filter(was_active);
    known
        .filter_map(|job| {
            let (end, _) = job.end()?;
            let name = &job.head.name.name;
            let message = format!("Saw completed job: {name}, condition: {}", end.kind);
            Some((Severity::Normal, "SawCompletedJob", message))
        })
        .collect()
}

/// How long from now until then; never nothing, or it would be asked again at once.
pub fn wait(now: Timestamp, next: Timestamp) -> Duration {
    let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
    wait.max(Duration::from_millis(1))
}
