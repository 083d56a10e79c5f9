//! What a Job reads in its pods.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use k8s_openapi::jiff::{Timestamp, ToSpan};

/// Keeps a pod from vanishing before its Job has counted it.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// The part of a pod that only matters to a Job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobPod {
    /// The finalizer is there: it was not counted yet.
    pub tracked: bool,
    /// Which part of the work it does.
    pub index: Option<u32>,
    /// How many pods of its index had failed before it.
    pub failures: u32,
    /// How many more there were that did not count.
    pub ignored: u32,
    /// It is to go, and nobody has to end it (any longer).
    pub abandoned: bool,
    /// When it ended, as well as that can be told.
    pub ended: Option<Timestamp>,
    /// Containers that did not end well.
    pub exits: Vec<Exit>,
    /// Types of conditions and what they are, once it has failed.
    pub conditions: Vec<(String, String)>,
    /// How often containers were started again, all together.
    pub restarts: u32,
}

/// The end of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub container: String,
    pub code: i32,
}

impl JobPod {
    /// Of pods that a Job keeps, or kept until now.
    pub fn of(pod: &Pod, keeper: Option<&str>) -> Option<Self> {
        let meta = &pod.metadata;
        let mut finalizers = meta.finalizers.iter().flatten();
        let tracked = finalizers.any(|one| one == TRACKING);
        if !tracked && keeper != Some("Job") {
            return None;
        }
        let annotations = meta.annotations.as_ref();
        let number = |key: &str| annotations?.get(key)?.parse().ok();
        let status = pod.status.as_ref();
        let failed = status.filter(|status| status.phase.as_deref() == Some("Failed"));
        let grace_over = meta.deletion_grace_period_seconds == Some(0);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let unbound = node.unwrap_or_default().is_empty();
        let restarts = all(status).map(|container| container.restart_count);
        Some(Self {
            tracked,
            index: number(INDEX),
            failures: number(FAILURES).unwrap_or(0),
            ignored: number(IGNORED).unwrap_or(0),
            abandoned: meta.deletion_timestamp.is_some() && (grace_over || unbound),
            ended: ended(pod),
            exits: all(status).filter_map(exit).collect(),
            conditions: failed.map(conditions).unwrap_or_default(),
            restarts: u32::try_from(restarts.sum::<i32>()).unwrap_or(0),
        })
    }
}

/// Containers of both sorts.
fn all(status: Option<&PodStatus>) -> impl Iterator<Item = &ContainerStatus> {
    status.into_iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    })
}

fn exit(container: &ContainerStatus) -> Option<Exit> {
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    (ended.exit_code != 0).then(|| Exit {
        container: container.name.clone(),
        code: ended.exit_code,
    })
}

fn conditions(status: &PodStatus) -> Vec<(String, String)> {
    let conditions = status.conditions.iter().flatten();
    conditions
        .map(|condition| (condition.type_.clone(), condition.status.clone()))
        .collect()
}

/// When its last container ended; else when it was no longer ready, or was to go, or was made.
fn ended(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let meta = &pod.metadata;
    if !matches!(phase, Some("Succeeded" | "Failed")) && meta.deletion_timestamp.is_none() {
        return None;
    }
    let finished = |container: &ContainerStatus| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        Some(ended.finished_at.as_ref()?.0)
    };
    let unready = || {
        let mut conditions = status?.conditions.iter().flatten();
        let ready = conditions.find(|one| one.type_ == "Ready" && one.status == "False")?;
        Some(ready.last_transition_time.as_ref()?.0)
    };
    let asked = || {
        let grace = meta.deletion_grace_period_seconds.unwrap_or(0);
        let end = meta.deletion_timestamp.as_ref()?.0;
        end.checked_sub(grace.seconds()).ok()
    };
    all(status)
        .filter_map(finished)
        .max()
        .or_else(unready)
        .or_else(asked)
        .or_else(|| Some(meta.creation_timestamp.as_ref()?.0))
}
