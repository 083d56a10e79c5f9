//! Whether a Job has reached its end, and which.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::spec::Job;
use super::tally::Tally;

/// The end of a Job, before nothing of it runs any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub succeeds: bool,
    pub reason: String,
    pub message: String,
}

/// Conditions that say how it will end, and how it has.
pub const SUCCESS: [&str; 2] = ["SuccessCriteriaMet", "Complete"];
pub const FAILURE: [&str; 2] = ["FailureTarget", "Failed"];

/// Whether the end was decided before.
pub fn decided(job: &Job) -> Option<End> {
    let said = |kind, succeeds| {
        let condition = job.status.is_true(kind)?;
        Some(End {
            succeeds,
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        })
    };
    said(FAILURE[0], false).or_else(|| said(SUCCESS[0], true))
}

/// Decides it from what the pods have come to.
pub fn decide(job: &Job, tally: &Tally<'_>, now: Timestamp) -> Option<End> {
    failure(job, tally, now)
        .or_else(|| success(job, tally))
        .or_else(|| of_indexes(job, tally))
}

fn failure(job: &Job, tally: &Tally<'_>, now: Timestamp) -> Option<End> {
    let fails = |reason: &str, message: &str| Some(end(false, reason, message));
    if let Some(why) = &tally.doom {
        return fails("PodFailurePolicy", why);
    }
    if tally.failed > job.backoff_limit || restarts_too_often(job, tally) {
        return fails(
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        );
    }
    if time_left(job, now) == Some(Duration::ZERO) {
        return fails(
            "DeadlineExceeded",
            "Job was active longer than specified deadline",
        );
    }
    None
}

/// Where pods start their containers again by themselves, that counts instead.
fn restarts_too_often(job: &Job, tally: &Tally<'_>) -> bool {
    let restarts = tally.restarts();
    job.restarts_on_failure && restarts > 0 && restarts >= job.backoff_limit
}

/// How long it may run on; none if that is for ever. A Job that has just been resumed has its whole time.
pub fn time_left(job: &Job, now: Timestamp) -> Option<Duration> {
    let start = job.status.start_time.as_ref()?;
    let was_suspended = job.status.is_true("Suspended").is_some();
    let deadline = job.deadline.filter(|_| !job.suspended && !was_suspended)?;
    let passed = Duration::try_from(now.duration_since(start.0)).unwrap_or_default();
    Some(deadline.saturating_sub(passed))
}

fn success(job: &Job, tally: &Tally<'_>) -> Option<End> {
    if let Some(why) = job.success_policy.judge(&tally.completed) {
        return Some(end(true, "SuccessPolicy", &why));
    }
    let reached = match job.completions {
        Some(wanted) => tally.succeeded >= wanted,
        // The first success tells the others to end by themselves.
        None => tally.succeeded > 0 && tally.active().count() == 0,
    };
    reached.then(|| {
        end(
            true,
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        )
    })
}

/// A Job whose indexes fail on their own ends when too many have, or none is left.
fn of_indexes(job: &Job, tally: &Tally<'_>) -> Option<End> {
    job.limit_per_index?;
    let failed = tally.failed_indexes.count();
    if job.max_failed_indexes.is_some_and(|most| failed > most) {
        return Some(end(
            false,
            "MaxFailedIndexesExceeded",
            "Job has exceeded the specified maximal number of failed indexes",
        ));
    }
    let all = failed + tally.completed.count() >= job.completions?;
    (all && failed > 0).then(|| end(false, "FailedIndexes", "Job has failed indexes"))
}

fn end(succeeds: bool, reason: &str, message: &str) -> End {
    End {
        succeeds,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}
