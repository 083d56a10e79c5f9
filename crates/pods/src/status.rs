//! A pod's status as the API shows it: a pure function of what is wanted and known.
//!
//! Source: Kubernetes docs "Pod Lifecycle", and `kubelet_pods.go` (`getPhase`),
//! `status/generate.go` (conditions) for the words that tools match on. What
//! others own in the status is kept: foreign conditions (`PodScheduled`, readiness
//! gates), `nominatedNodeName`. Times of conditions change only when the
//! condition does.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container as ContainerSpec, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::backoff;
use crate::conditions;
use crate::decide::{Outcome, outcome, runs_again};
use crate::desired::Desired;
use crate::qos::qos_class;
use crate::record::{Container, Exit, Record, State};

/// What a status depends on besides the pod and its record.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The node's addresses.
    pub host_ips: &'a [IpAddr],
    /// The status that the API has.
    pub previous: &'a PodStatus,
    /// The present.
    pub now: Timestamp,
}

/// The status to be shown for a pod.
pub fn compile(pod: &Desired, record: &Record, around: Surroundings<'_>) -> PodStatus {
    // A pod that was turned away at once is told without its containers, as by the kubelet.
    let rejected = record.end.is_some() && record.sandbox_attempt == 0;
    let containers = |specs, init| match rejected {
        true => Vec::new(),
        false => statuses(pod, record, specs, init),
    };
    let init = containers(pod.init(), true);
    let main = containers(pod.main(), false);
    let phase = phase(pod, record, &init, &main);
    // What ended the pod is told with the phase that it leads to.
    let end = record.end.as_ref().filter(|_| phase == "Failed");
    let ips = if pod.host_network() {
        around.host_ips
    } else {
        &record.ips
    };
    let facts = conditions::Facts {
        pod,
        record,
        phase,
        init: &init,
        main: &main,
    };
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions::compile(&facts, around)),
        message: record
            .refused
            .clone()
            .or_else(|| end.map(|end| end.message.clone())),
        reason: match (&record.refused, end) {
            (Some(_), _) => Some("NotSupported".to_owned()),
            (None, end) => end.map(|end| end.reason.clone()),
        },
        host_ip: around.host_ips.first().map(IpAddr::to_string),
        host_ips: Some(
            around
                .host_ips
                .iter()
                .map(|ip| HostIP { ip: ip.to_string() })
                .collect(),
        ),
        pod_ip: ips.first().map(IpAddr::to_string),
        pod_ips: Some(ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect())
            .filter(|ips: &Vec<_>| !ips.is_empty()),
        start_time: Some(time(record.seen_at)),
        qos_class: Some(qos_class(pod.spec()).to_owned()),
        init_container_statuses: Some(init).filter(|all| !all.is_empty()),
        container_statuses: Some(main).filter(|all| !all.is_empty()),
        observed_generation: pod.pod.metadata.generation,
        nominated_node_name: around.previous.nominated_node_name.clone(),
        ..PodStatus::default()
    }
}

/// Of two statuses of a pod, takes the conditions that we own from `own`, our latest.
///
/// The API's may be older than what we have told it since.
pub fn prefer_own(seen: &mut PodStatus, own: &PodStatus) {
    let ours = own
        .conditions
        .iter()
        .flatten()
        .filter(|old| conditions::is_ours(&old.type_));
    let ours: Vec<_> = ours.cloned().collect();
    let conditions = seen.conditions.get_or_insert_default();
    conditions.retain(|old| !ours.iter().any(|own| own.type_ == old.type_));
    conditions.extend(ours);
}

/// `kubelet_pods.go`, `getPhase`: restarting containers count as running, and a
/// leaving pod ends as its containers did.
fn phase(
    pod: &Desired,
    record: &Record,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
) -> &'static str {
    // A pod that has ended runs on until its sidecars have, too.
    let runs = record.containers.values().any(Container::may_run);
    match outcome(pod, record) {
        Some(_) if runs => return "Running",
        Some(Outcome::Succeeded) => return "Succeeded",
        Some(Outcome::Failed) => return "Failed",
        None => {}
    }
    if !record.initialized && !init.iter().all(init_is_done) {
        return "Pending";
    }
    let waits = |status: &ContainerStatus| {
        let never_ran = status.last_state.is_none();
        status
            .state
            .as_ref()
            .is_some_and(|state| state.waiting.is_some())
            && never_ran
    };
    if main.iter().any(waits) {
        return "Pending";
    }
    let ended = |status: &ContainerStatus| Some(terminated(status)?.exit_code);
    let codes: Option<Vec<i32>> = main.iter().map(ended).collect();
    match codes {
        Some(codes) if pod.grace().is_some() => {
            if codes.iter().all(|code| *code == 0) {
                "Succeeded"
            } else {
                "Failed"
            }
        }
        _ => "Running",
    }
}

fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

/// Whether an init container has done its part: a sidecar has started.
pub fn init_is_done(status: &ContainerStatus) -> bool {
    terminated(status).is_some_and(|terminated| terminated.exit_code == 0)
        || status.started == Some(true)
}

fn statuses(
    pod: &Desired,
    record: &Record,
    specs: &[ContainerSpec],
    init: bool,
) -> Vec<ContainerStatus> {
    specs
        .iter()
        .map(|spec| container_status(pod, record, spec, init))
        .collect()
}

fn container_status(
    pod: &Desired,
    record: &Record,
    spec: &ContainerSpec,
    init: bool,
) -> ContainerStatus {
    let container = record.container(&spec.name);
    // An init container that is no sidecar has no start but its end.
    let once = init && !Desired::is_sidecar(spec);
    let id = |attempt| container_id(pod, &spec.name, attempt);
    let (state, last) = states(pod, record, spec, container);
    let exists = !matches!(container.state, State::New);
    let newest = if exists {
        Some(container.attempt)
    } else {
        container.attempt.checked_sub(1)
    };
    ContainerStatus {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        image_id: container.image_id.clone(),
        container_id: newest.map(id),
        restart_count: i32::try_from(container.attempt).unwrap_or(i32::MAX),
        ready: if once {
            container.exit().is_some_and(|exit| exit.code == 0)
        } else {
            container.is_ready(spec)
        },
        started: Some(!once && container.is_started(spec)),
        state: Some(state),
        last_state: last.map(|(attempt, exit)| ended(exit, id(attempt))),
        ..ContainerStatus::default()
    }
}

/// A container's present state, and the exit before it with its attempt.
fn states<'a>(
    pod: &Desired,
    record: &Record,
    spec: &ContainerSpec,
    container: &'a Container,
) -> (ContainerState, Option<(u32, &'a Exit)>) {
    let before = container
        .last
        .as_ref()
        .map(|exit| (container.attempt.saturating_sub(1), exit));
    match &container.state {
        State::Running(since) => (running(*since), before),
        State::Exited(exit) => {
            let newest = (container.attempt, exit);
            match waiting(pod, record, spec, container) {
                Some(state) => (state, Some(newest)),
                None => (
                    ended(exit, container_id(pod, &spec.name, container.attempt)),
                    before,
                ),
            }
        }
        State::New | State::Starting => {
            let state = waiting(pod, record, spec, container);
            (
                state.unwrap_or_else(|| wait("ContainerCreating", None)),
                before,
            )
        }
    }
}

/// Why a container that does not run is not being run, if there is a reason to show.
fn waiting(
    pod: &Desired,
    record: &Record,
    spec: &ContainerSpec,
    container: &Container,
) -> Option<ContainerState> {
    if let Some(refusal) = &record.refused {
        return Some(wait("CreateContainerConfigError", Some(refusal.clone())));
    }
    if let Some(hold) = container.hold.as_ref().filter(|hold| hold.is_shown()) {
        return Some(wait(&hold.reason, Some(hold.message.clone())));
    }
    if let State::Exited(exit) = &container.state {
        let crashing =
            container.backoff_announced && runs_again(container, exit, pod.restarts(spec));
        return crashing.then(|| {
            let message = crash_message(container, &spec.name, &pod.in_words());
            wait("CrashLoopBackOff", Some(message))
        });
    }
    let reason = if pod.init().is_empty() {
        "ContainerCreating"
    } else {
        "PodInitializing"
    };
    Some(wait(reason, None))
}

/// The kubelet's words for a crash loop, which people search for.
pub fn crash_message(container: &Container, name: &str, pod: &str) -> String {
    let delay = backoff::in_words(container.backoff.delay());
    format!("back-off {delay} restarting failed container={name} pod={pod}")
}

/// The name under which tools know one attempt of a container.
pub fn container_id(pod: &Desired, name: &str, attempt: u32) -> String {
    format!("sealane://{}/{name}/{attempt}", pod.uid())
}

/// A moment as the API keeps it, in whole seconds, so that what comes back equals what was told.
pub fn time(moment: Timestamp) -> Time {
    Time(Timestamp::from_second(moment.as_second()).unwrap_or(moment))
}

fn running(since: Timestamp) -> ContainerState {
    ContainerState {
        running: Some(ContainerStateRunning {
            started_at: Some(time(since)),
        }),
        ..ContainerState::default()
    }
}

fn wait(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message,
        }),
        ..ContainerState::default()
    }
}

fn ended(exit: &Exit, container_id: String) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: exit.code,
            reason: Some(exit.reason.clone()),
            message: exit.message.clone(),
            started_at: exit.started_at.map(time),
            finished_at: Some(time(exit.finished_at)),
            container_id: Some(container_id),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

#[cfg(test)]
mod tests;
