//! How a pod's state reads in one word: kubectl's READY, STATUS and RESTARTS.
//!
//! The rules are those of `printPod` in `k8s.io/kubernetes/pkg/printers/internalversion`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::column::duration;

/// What the columns of a pod show.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// Ready containers of all.
    pub ready: String,
    /// The word for its state.
    pub status: String,
    /// The number of restarts and when the last one was.
    pub restarts: String,
}

impl Shown {
    /// Works out what is shown of `pod` at the time `now`.
    pub fn of(pod: &Value, now: Timestamp) -> Self {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let phase = text(&status["phase"]);
        let mut tally = Tally::default();
        let mut word = first_text(&[&status["reason"], &status["phase"]]);
        if condition(status, "PodScheduled").is_some_and(|c| c["reason"] == "SchedulingGated") {
            word = "SchedulingGated".into();
        }
        let initializing = initializing(spec, status, &mut tally);
        let initialized = is_true(status, "Initialized");
        if let Some(initializing) = &initializing {
            word.clone_from(initializing);
        }
        if initializing.is_none() || initialized {
            word = running(status, word, &mut tally);
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            if status["reason"] == "NodeLost" {
                word = "Unknown".into();
            } else if phase != "Succeeded" && phase != "Failed" {
                word = "Terminating".into();
            }
        }
        let sidecars = items(&spec["initContainers"])
            .iter()
            .filter(|c| is_sidecar(c))
            .count();
        let total = items(&spec["containers"]).len() + sidecars;
        Self {
            ready: format!("{}/{total}", tally.ready),
            status: word,
            restarts: tally.restarts(now),
        }
    }
}

#[derive(Default)]
struct Tally {
    ready: usize,
    restarts: i64,
    last: Option<Timestamp>,
}

impl Tally {
    fn count(&mut self, container: &Value) {
        self.restarts += container["restartCount"].as_i64().unwrap_or(0);
        let finished = container["lastState"]["terminated"]["finishedAt"].as_str();
        let finished = finished.and_then(|time| time.parse::<Timestamp>().ok());
        self.last = self.last.max(finished);
    }

    fn restarts(&self, now: Timestamp) -> String {
        match self.last {
            Some(last) if self.restarts > 0 => {
                let ago = duration(now.as_second() - last.as_second());
                format!("{} ({ago} ago)", self.restarts)
            }
            _ => self.restarts.to_string(),
        }
    }
}

/// What the first init container that is not done waits for; `None` if all are done.
fn initializing(spec: &Value, status: &Value, tally: &mut Tally) -> Option<String> {
    let mut sidecars = Tally::default();
    let total = items(&spec["initContainers"]).len();
    for (index, container) in items(&status["initContainerStatuses"]).iter().enumerate() {
        tally.count(container);
        let sidecar = items(&spec["initContainers"])
            .iter()
            .any(|c| c["name"] == container["name"] && is_sidecar(c));
        if sidecar {
            sidecars.count(container);
        }
        let state = &container["state"];
        let exit = state["terminated"]["exitCode"].as_i64();
        let waiting = text(&state["waiting"]["reason"]);
        if exit == Some(0) {
            continue;
        }
        if sidecar && container["started"] == json!(true) {
            tally.ready += usize::from(container["ready"] == json!(true));
            continue;
        }
        return Some(if exit.is_some() {
            format!("Init:{}", ended(&state["terminated"]))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{total}")
        });
    }
    // From here on the init containers' own restarts no longer count, but for sidecars.
    tally.restarts = sidecars.restarts;
    tally.last = sidecars.last;
    None
}

fn running(status: &Value, mut word: String, tally: &mut Tally) -> String {
    let mut any_running = false;
    for container in items(&status["containerStatuses"]).iter().rev() {
        tally.count(container);
        let state = &container["state"];
        let waiting = text(&state["waiting"]["reason"]);
        if !waiting.is_empty() {
            word = waiting.into();
        } else if !state["terminated"].is_null() {
            word = ended(&state["terminated"]);
        } else if container["ready"] == json!(true) && !state["running"].is_null() {
            any_running = true;
            tally.ready += 1;
        }
    }
    match word.as_str() {
        "Completed" if any_running && is_true(status, "Ready") => "Running".into(),
        "Completed" if any_running => "NotReady".into(),
        _ => word,
    }
}

/// How a container ended.
fn ended(terminated: &Value) -> String {
    let reason = text(&terminated["reason"]);
    match terminated["signal"].as_i64().filter(|signal| *signal != 0) {
        _ if !reason.is_empty() => reason.into(),
        Some(signal) => format!("Signal:{signal}"),
        None => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
    }
}

/// The conditions that readiness asks for and that are true, of all that it asks for.
pub fn readiness_gates(pod: &Value) -> String {
    let gates = items(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let passed = gates
        .iter()
        .filter(|gate| is_true(&pod["status"], text(&gate["conditionType"])))
        .count();
    format!("{passed}/{}", gates.len())
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&status["conditions"])
        .iter()
        .find(|condition| condition["type"] == kind)
}

fn is_true(status: &Value, kind: &str) -> bool {
    condition(status, kind).is_some_and(|condition| condition["status"] == "True")
}

fn first_text(values: &[&Value]) -> String {
    values
        .iter()
        .map(|value| text(value))
        .find(|text| !text.is_empty())
        .unwrap_or("")
        .into()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pod: Value) -> String {
        let shown = Shown::of(&pod, "2026-01-01T00:01:00Z".parse().unwrap());
        format!("{} {} {}", shown.ready, shown.status, shown.restarts)
    }

    #[test]
    fn the_state_of_a_pod_in_one_word() {
        let pod = |status: Value| json!({"metadata": {}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}, "status": status});
        let up = json!({"ready": true, "state": {"running": {}}, "restartCount": 0});
        let crash = json!({
            "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"finishedAt": "2026-01-01T00:00:30Z"}},
        });
        let done = json!({"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        let failed = json!({"state": {"terminated": {"exitCode": 3}}});
        for (pod, expected) in [
            (pod(json!({"phase": "Pending"})), "0/2 Pending 0"),
            (
                pod(json!({"phase": "Running", "containerStatuses": [up, up]})),
                "2/2 Running 0",
            ),
            (
                pod(json!({"phase": "Running", "containerStatuses": [up, crash]})),
                "1/2 CrashLoopBackOff 3 (30s ago)",
            ),
            (
                pod(json!({"phase": "Succeeded", "containerStatuses": [done, done]})),
                "0/2 Completed 0",
            ),
            (
                pod(json!({"phase": "Running", "containerStatuses": [up, done]})),
                "1/2 NotReady 0",
            ),
            (
                pod(json!({"phase": "Failed", "containerStatuses": [failed]})),
                "0/2 ExitCode:3 0",
            ),
            (
                pod(json!({"phase": "Failed", "reason": "Evicted"})),
                "0/2 Evicted 0",
            ),
            (
                json!({"metadata": {"deletionTimestamp": "x"}, "status": {"phase": "Running"}}),
                "0/0 Terminating 0",
            ),
            (
                json!({
                    "spec": {"containers": [{}], "initContainers": [{"name": "i"}, {"name": "j"}]},
                    "status": {"phase": "Pending", "initContainerStatuses": [
                        {"name": "i", "state": {"terminated": {"exitCode": 0}}},
                        {"name": "j", "state": {"running": {}}},
                    ]},
                }),
                "0/1 Init:1/2 0",
            ),
        ] {
            assert_eq!(shown(pod.clone()), expected, "{pod}");
        }
    }
}
