//! The conditions of a pod's status that a node owns.

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition};

use crate::desired::Desired;
use crate::record::{Record, Sandbox};
use crate::status::{Surroundings, init_is_done, time};

/// The conditions that a node decides.
const OURS: [&str; 4] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
];

/// Whether a node decides this condition.
pub fn is_ours(type_: &str) -> bool {
    OURS.contains(&type_)
}

/// What conditions are made from.
pub struct Facts<'a> {
    /// What the API wants.
    pub pod: &'a Desired,
    /// What is known.
    pub record: &'a Record,
    /// The pod's phase.
    pub phase: &'a str,
    /// Statuses of the init containers.
    pub init: &'a [ContainerStatus],
    /// Statuses of the containers.
    pub main: &'a [ContainerStatus],
}

/// A condition without its times.
struct Verdict {
    type_: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

/// The conditions that we own, with foreign ones kept as they are.
pub fn compile(facts: &Facts<'_>, around: Surroundings<'_>) -> Vec<PodCondition> {
    let verdicts = verdicts(facts, around);
    let previous = around.previous.conditions.as_deref().unwrap_or_default();
    let mut all: Vec<PodCondition> = verdicts
        .into_iter()
        .map(|verdict| dated(verdict, previous, facts, around))
        .collect();
    let foreign = previous
        .iter()
        .filter(|old| !all.iter().any(|ours| ours.type_ == old.type_));
    let foreign: Vec<_> = foreign.cloned().collect();
    all.extend(foreign);
    all
}

fn dated(
    verdict: Verdict,
    previous: &[PodCondition],
    facts: &Facts<'_>,
    around: Surroundings<'_>,
) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let unchanged = previous
        .iter()
        .find(|old| old.type_ == verdict.type_ && old.status == status);
    let since = unchanged.and_then(|old| old.last_transition_time.clone());
    PodCondition {
        type_: verdict.type_.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_transition_time: Some(since.unwrap_or_else(|| time(around.now))),
        observed_generation: facts.pod.pod.metadata.generation,
        ..PodCondition::default()
    }
}

fn verdicts(facts: &Facts<'_>, around: Surroundings<'_>) -> Vec<Verdict> {
    let containers_ready = containers_ready(facts);
    let ready = ready(facts, around, &containers_ready);
    vec![
        Verdict {
            type_: "PodReadyToStartContainers",
            holds: facts.record.sandbox == Sandbox::Ready,
            reason: None,
            message: None,
        },
        initialized(facts),
        ready,
        containers_ready,
    ]
}

fn initialized(facts: &Facts<'_>) -> Verdict {
    // Once the others were started, a sidecar that starts anew takes nothing back.
    let incomplete = match facts.record.initialized {
        true => Vec::new(),
        false => names(facts.init, |status| !init_is_done(status)),
    };
    let reason = match (incomplete.is_empty(), facts.phase) {
        (true, "Succeeded") => Some("PodCompleted"),
        (true, _) => None,
        (false, _) => Some("ContainersNotInitialized"),
    };
    Verdict {
        type_: "Initialized",
        holds: incomplete.is_empty(),
        reason,
        message: (!incomplete.is_empty()).then(|| {
            format!(
                "containers with incomplete status: [{}]",
                incomplete.join(" ")
            )
        }),
    }
}

fn containers_ready(facts: &Facts<'_>) -> Verdict {
    let type_ = "ContainersReady";
    let not = |reason, message| Verdict {
        type_,
        holds: false,
        reason: Some(reason),
        message,
    };
    match facts.phase {
        "Succeeded" => return not("PodCompleted", None),
        "Failed" => return not("PodFailed", None),
        _ => {}
    }
    let sidecars = facts.init.iter().filter(|status| {
        let mut sidecars = facts.pod.sidecars();
        sidecars.any(|sidecar| sidecar.name == status.name)
    });
    let all = sidecars.chain(facts.main);
    let unready = names(all, |status| !status.ready);
    if unready.is_empty() {
        return Verdict {
            type_,
            holds: true,
            reason: None,
            message: None,
        };
    }
    let list = unready.join(" ");
    not(
        "ContainersNotReady",
        Some(format!("containers with unready status: [{list}]")),
    )
}

/// Ready is what ContainersReady is, and every readiness gate says True.
fn ready(facts: &Facts<'_>, around: Surroundings<'_>, containers: &Verdict) -> Verdict {
    let gates = facts.pod.spec().readiness_gates.iter().flatten();
    let conditions = around.previous.conditions.as_deref().unwrap_or_default();
    let closed = gates
        .map(|gate| gate.condition_type.as_str())
        .find_map(
            |gate| match conditions.iter().find(|condition| condition.type_ == gate) {
                None => Some(format!(
                    "corresponding condition of pod readiness gate \"{gate}\" does not exist."
                )),
                Some(condition) if condition.status != "True" => Some(format!(
                    "the status of pod readiness gate \"{gate}\" is not \"True\", but {}",
                    condition.status
                )),
                Some(_) => None,
            },
        );
    let by_gate = containers.holds && closed.is_some();
    Verdict {
        type_: "Ready",
        holds: containers.holds && closed.is_none(),
        reason: if by_gate {
            Some("ReadinessGatesNotReady")
        } else {
            containers.reason
        },
        message: if by_gate {
            closed
        } else {
            containers.message.clone()
        },
    }
}

fn names<'a>(
    statuses: impl IntoIterator<Item = &'a ContainerStatus>,
    which: impl Fn(&ContainerStatus) -> bool,
) -> Vec<&'a str> {
    let matching = statuses.into_iter().filter(|status| which(status));
    matching.map(|status| status.name.as_str()).collect()
}
