//! What a Deployment says of itself: counts, and the conditions that `kubectl rollout status` waits for.
//!
//! | condition | reasons |
//! |---|---|
//! | `Available` | `MinimumReplicasAvailable`, `MinimumReplicasUnavailable` |
//! | `Progressing` | `NewReplicaSetCreated`, `FoundNewReplicaSet`, `ReplicaSetUpdated`, `NewReplicaSetAvailable`, `ProgressDeadlineExceeded`, `DeploymentPaused`, `DeploymentResumed`, `ReplicaSetCreateError` |
//! | `ReplicaFailure` | those of the ReplicaSets |

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::deployment::{Deployment, Status};
use super::head::{Condition, condition};
use super::replica_set::ReplicaSet;
use super::rollout::Sets;

/// What else happened that the status is to tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Happened<'a> {
    /// The new ReplicaSet of this name is being made.
    pub makes: Option<&'a str>,
    /// It could not be made, for this reason.
    pub failure: Option<&'a str>,
    /// Its name is taken by another.
    pub collides: bool,
}

/// The status as it should be, and when it will change by itself.
pub fn status(
    deployment: &Deployment,
    sets: &Sets,
    happened: Happened<'_>,
    now: Timestamp,
) -> (Status, Option<Duration>) {
    let mut status = counts(deployment, sets);
    let mut conditions = Conditions {
        all: deployment.status.conditions.clone(),
        now,
    };
    conditions.set("Available", availability(deployment, &status));
    if deployment.deadline.is_none() {
        conditions.remove("Progressing");
    } else {
        progress(deployment, sets, &status, happened, &mut conditions);
    }
    replica_failure(sets, &mut conditions);
    if happened.collides {
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
    }
    status.conditions = conditions.all;
    let wake_in = time_left(deployment, &status, now);
    (status, wake_in)
}

fn counts(deployment: &Deployment, sets: &Sets) -> Status {
    let sum = |of: fn(&ReplicaSet) -> i32| sets.all().map(|set| of(set)).sum::<i32>();
    let available = sum(|set| set.status.available_replicas);
    let new = sets.new.as_ref();
    Status {
        observed_generation: deployment.head.generation,
        replicas: sum(|set| set.status.replicas),
        updated_replicas: new.map_or(0, |set| set.status.replicas),
        ready_replicas: sum(|set| set.status.ready_replicas),
        available_replicas: available,
        unavailable_replicas: (sum(|set| set.replicas) - available).max(0),
        conditions: Vec::new(),
        collision_count: deployment.status.collision_count,
    }
}

type News = (&'static str, &'static str, String);

fn availability(deployment: &Deployment, status: &Status) -> News {
    if status.available_replicas >= deployment.replicas - deployment.max_unavailable() {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.".into(),
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.".into(),
        )
    }
}

fn progress(
    deployment: &Deployment,
    sets: &Sets,
    status: &Status,
    happened: Happened<'_>,
    conditions: &mut Conditions,
) {
    let current = condition(&deployment.status.conditions, "Progressing");
    let reason = current.map_or("", |condition| &*condition.reason);
    if deployment.paused {
        if reason != "ProgressDeadlineExceeded" {
            let message = "Deployment is paused".to_owned();
            conditions.set("Progressing", ("Unknown", "DeploymentPaused", message));
        }
        return;
    }
    if reason == "DeploymentPaused" {
        let message = "Deployment is resumed".to_owned();
        return conditions.set("Progressing", ("Unknown", "DeploymentResumed", message));
    }
    if let Some(failure) = happened.failure {
        let message = format!("Failed to create new replica set: {failure}");
        return conditions.set("Progressing", ("False", "ReplicaSetCreateError", message));
    }
    if let Some(name) = happened.makes {
        let message = format!("Created new replica set {name:?}");
        return conditions.set("Progressing", ("True", "NewReplicaSetCreated", message));
    }
    let name = match &sets.new {
        Some(new) => format!("ReplicaSet {:?}", new.head.name.name),
        None => format!("Deployment {:?}", deployment.head.name.name),
    };
    let settled = status.replicas == status.updated_replicas && reason == "NewReplicaSetAvailable";
    if settled {
    } else if deployment.is_complete(status) {
        let message = format!("{name} has successfully progressed.");
        conditions.set("Progressing", ("True", "NewReplicaSetAvailable", message));
    } else if has_progressed(&deployment.status, status) {
        let message = format!("{name} is progressing.");
        conditions.renew("Progressing", ("True", "ReplicaSetUpdated", message));
    } else if is_overdue(deployment, current, conditions.now) {
        let message = format!("{name} has timed out progressing.");
        let news = ("False", "ProgressDeadlineExceeded", message);
        conditions.set("Progressing", news);
    } else if current.is_none()
        && let Some(new) = &sets.new
    {
        let message = format!("Found new replica set {:?}", new.head.name.name);
        conditions.set("Progressing", ("True", "FoundNewReplicaSet", message));
    }
}

fn has_progressed(before: &Status, after: &Status) -> bool {
    let old = |status: &Status| status.replicas - status.updated_replicas;
    after.updated_replicas > before.updated_replicas
        || old(after) < old(before)
        || after.ready_replicas > before.ready_replicas
        || after.available_replicas > before.available_replicas
}

fn is_overdue(deployment: &Deployment, current: Option<&Condition>, now: Timestamp) -> bool {
    let Some(current) = current else { return false };
    match &*current.reason {
        "NewReplicaSetAvailable" => false,
        "ProgressDeadlineExceeded" => true,
        _ => left(deployment, current, now).is_some_and(|left| left.is_zero()),
    }
}

/// How much is left of the deadline.
fn left(deployment: &Deployment, current: &Condition, now: Timestamp) -> Option<Duration> {
    let since = current.last_update_time.as_ref()?.0;
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(deployment.deadline?.saturating_sub(passed))
}

fn time_left(deployment: &Deployment, status: &Status, now: Timestamp) -> Option<Duration> {
    let current = condition(&status.conditions, "Progressing")?;
    let over = ["NewReplicaSetAvailable", "ProgressDeadlineExceeded"];
    if deployment.paused || over.contains(&&*current.reason) {
        return None;
    }
    left(deployment, current, now).filter(|left| !left.is_zero())
}

fn replica_failure(sets: &Sets, conditions: &mut Conditions) {
    let new = sets.new.iter();
    let mut all = new.chain(&sets.old);
    let failure = all.find_map(|set| condition(&set.status.conditions, "ReplicaFailure"));
    match failure {
        Some(failure) => {
            let news = ("True", "", failure.message.clone());
            conditions.set("ReplicaFailure", news);
            if let Some(set) = conditions.get_mut("ReplicaFailure") {
                set.reason.clone_from(&failure.reason);
            }
        }
        None => conditions.remove("ReplicaFailure"),
    }
}

struct Conditions {
    all: Vec<Condition>,
    now: Timestamp,
}

impl Conditions {
    fn get_mut(&mut self, kind: &str) -> Option<&mut Condition> {
        self.all.iter_mut().find(|condition| condition.kind == kind)
    }

    /// Changes a condition, unless it says the same already.
    fn set(&mut self, kind: &str, news: News) {
        let current = condition(&self.all, kind);
        let same = |c: &Condition| c.status == news.0 && (news.1.is_empty() || c.reason == news.1);
        if !current.is_some_and(same) {
            self.renew(kind, news);
        }
    }

    /// Changes a condition, if only its time.
    fn renew(&mut self, kind: &str, (status, reason, message): News) {
        let now = Time(self.now);
        let current = condition(&self.all, kind);
        let since = current.filter(|current| current.status == status);
        let since = since.and_then(|current| current.last_transition_time.clone());
        let renewed = Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            last_probe_time: None,
            last_update_time: Some(now.clone()),
            last_transition_time: Some(since.unwrap_or(now)),
            reason: reason.to_owned(),
            message,
        };
        self.remove(kind);
        self.all.push(renewed);
    }

    fn remove(&mut self, kind: &str) {
        self.all.retain(|condition| condition.kind != kind);
    }
}
