//! The Events that Kubernetes' controllers record, in their words.

use sealane_kube::events::Severity;

use super::Workloads;
use super::head::Head;
use crate::action::{About, Action, Key, Kind, Outcome};

impl Workloads {
    /// A Deployment says how it scales its ReplicaSets, once that is done.
    pub(super) fn announce(
        &mut self,
        by: &Key,
        action: &Action,
        outcome: &Outcome,
    ) -> Option<Action> {
        let (Action::Create { kind, name, .. } | Action::Patch { kind, name, .. }) = action else {
            return None;
        };
        if by.kind != Kind::Deployment || *kind != Kind::ReplicaSet {
            return None;
        }
        let message = self.announcements.remove(name)?;
        let head = self.head(by).filter(|_| *outcome == Outcome::Done)?;
        Some(tell(head, "ScalingReplicaSet", message))
    }

    /// The Events that Kubernetes' controllers record of pods that they make and delete.
    pub(super) fn tell(&self, by: &Key, action: &Action, outcome: &Outcome) -> Option<Action> {
        let about = About::Object {
            kind: by.kind,
            name: by.name.clone(),
            uid: self.head(by)?.uid.clone(),
        };
        if by.kind == Kind::CronJob {
            return tell_of_cron(about, action, outcome);
        }
        if by.kind == Kind::StatefulSet {
            return tell_of_stateful(about, by, action, outcome);
        }
        let (severity, reason, message) = match (action, outcome) {
            (
                Action::Create {
                    kind: Kind::Pod,
                    name,
                    ..
                },
                Outcome::Done,
            ) => (
                Severity::Normal,
                "SuccessfulCreate",
                format!("Created pod: {}", name.name),
            ),
            (
                Action::Delete {
                    kind: Kind::Pod,
                    name,
                    ..
                },
                Outcome::Done,
            ) => (
                Severity::Normal,
                "SuccessfulDelete",
                format!("Deleted pod: {}", name.name),
            ),
            (Action::Create { .. }, Outcome::Refused(why)) => (
                Severity::Warning,
                match by.kind {
                    Kind::Deployment => "ReplicaSetCreateError",
                    _ => "FailedCreate",
                },
                format!("Error creating: {why}"),
            ),
            (Action::Delete { .. }, Outcome::Refused(why)) => (
                Severity::Warning,
                "FailedDelete",
                format!("Error deleting: {why}"),
            ),
            _ => return None,
        };
        Some(Action::Tell {
            about,
            severity,
            reason,
            message,
        })
    }
}

/// So has a CronJob's.
fn tell_of_cron(about: About, action: &Action, outcome: &Outcome) -> Option<Action> {
    let (severity, reason, message) = match (action, outcome) {
        (Action::Create { name, .. }, Outcome::Done) => (
            Severity::Normal,
            "SuccessfulCreate",
            format!("Created job {}", name.name),
        ),
        (Action::Delete { name, .. }, Outcome::Done) => (
            Severity::Normal,
            "SuccessfulDelete",
            format!("Deleted job {}", name.name),
        ),
        (Action::Create { .. }, Outcome::Refused(why)) => (
            Severity::Warning,
            "FailedCreate",
            format!("Error creating job: {why}"),
        ),
        (Action::Delete { .. }, Outcome::Refused(why)) => (
            Severity::Warning,
            "FailedDelete",
            format!("Error deleting job: {why}"),
        ),
        _ => return None,
    };
    Some(Action::Tell {
        about,
        severity,
        reason,
        message,
    })
}

/// A StatefulSet's controller has words of its own.
fn tell_of_stateful(about: About, by: &Key, action: &Action, outcome: &Outcome) -> Option<Action> {
    let (verb, name) = match action {
        Action::Create { kind, name, .. } if *kind == Kind::Pod => ("create", name),
        Action::Delete { kind, name, .. } if *kind == Kind::Pod => ("delete", name),
        _ => return None,
    };
    let what = format!("{verb} Pod {} in StatefulSet {}", name.name, by.name.name);
    let (severity, reason, message) = match (verb, outcome) {
        ("create", Outcome::Done) => (
            Severity::Normal,
            "SuccessfulCreate",
            format!("{what} successful"),
        ),
        ("delete", Outcome::Done) => (
            Severity::Normal,
            "SuccessfulDelete",
            format!("{what} successful"),
        ),
        ("create", Outcome::Refused(why)) => (
            Severity::Warning,
            "FailedCreate",
            format!("{what} failed error: {why}"),
        ),
        ("delete", Outcome::Refused(why)) => (
            Severity::Warning,
            "FailedDelete",
            format!("{what} failed error: {why}"),
        ),
        _ => return None,
    };
    Some(Action::Tell {
        about,
        severity,
        reason,
        message,
    })
}

fn tell(head: &Head, reason: &'static str, message: String) -> Action {
    Action::Tell {
        about: About::Object {
            kind: head.kind,
            name: head.name.clone(),
            uid: head.uid.clone(),
        },
        severity: Severity::Normal,
        reason,
        message,
    }
}
