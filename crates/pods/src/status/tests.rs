//! Stories told as statuses, with the words that `kubectl` and people match on.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use serde_json::{Value, json};

use super::*;
use crate::record::{Hold, Sandbox};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn pod(spec: Value) -> Desired {
    let object = json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u-1", "generation": 3}, "spec": spec,
    });
    Desired::new(Arc::new(serde_json::from_value::<Pod>(object).unwrap()))
}

fn simple(policy: &str) -> Desired {
    pod(json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "sealane.io/echo"}]}))
}

fn exit(code: i32) -> Exit {
    Exit {
        code,
        reason: if code == 0 { "Completed" } else { "Error" }.into(),
        message: None,
        started_at: Some(at(1)),
        finished_at: at(2),
    }
}

fn record(sandbox: Sandbox, containers: &[(&str, State)]) -> Record {
    let mut record = Record::new(at(0));
    record.sandbox = sandbox;
    record.ips = vec!["10.244.1.5".parse().unwrap()];
    for (name, state) in containers {
        record.container_mut(name).state = state.clone();
    }
    record
}

fn shown(pod: &Desired, record: &Record, previous: &PodStatus) -> PodStatus {
    let host_ips = ["172.29.0.2".parse().unwrap()];
    compile(
        pod,
        record,
        Surroundings {
            host_ips: &host_ips,
            previous,
            now: at(50),
        },
    )
}

fn show(pod: &Desired, record: &Record) -> PodStatus {
    shown(pod, record, &PodStatus::default())
}

fn condition<'a>(status: &'a PodStatus, type_: &str) -> &'a PodCondition {
    let mut all = status.conditions.iter().flatten();
    all.find(|condition| condition.type_ == type_).unwrap()
}

/// `Phase`, then each container as `waiting(Reason)`, `running` or `terminated(code)`, `+N` for restarts.
fn summary(status: &PodStatus) -> String {
    let mut words = vec![status.phase.clone().unwrap()];
    for container in status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten()
    {
        let state = container.state.clone().unwrap();
        let state = match (state.waiting, state.running, state.terminated) {
            (Some(waiting), _, _) => format!("waiting({})", waiting.reason.unwrap()),
            (_, Some(_), _) => "running".to_owned(),
            (_, _, Some(terminated)) => format!("terminated({})", terminated.exit_code),
            _ => "nothing".to_owned(),
        };
        words.push(format!(
            "{}={state}+{}",
            container.name, container.restart_count
        ));
    }
    words.join(" ")
}

#[test]
fn phases_follow_the_containers() {
    let run = State::Running(at(1));
    let done = |code| State::Exited(exit(code));
    let cases = [
        (
            "Always",
            Sandbox::Absent,
            State::New,
            "Pending a=waiting(ContainerCreating)+0",
        ),
        (
            "Always",
            Sandbox::Ready,
            State::Starting,
            "Pending a=waiting(ContainerCreating)+0",
        ),
        ("Always", Sandbox::Ready, run, "Running a=running+0"),
        (
            "Always",
            Sandbox::Ready,
            done(0),
            "Running a=terminated(0)+0",
        ),
        (
            "OnFailure",
            Sandbox::Ready,
            done(1),
            "Running a=terminated(1)+0",
        ),
        (
            "OnFailure",
            Sandbox::Absent,
            done(0),
            "Succeeded a=terminated(0)+0",
        ),
        (
            "Never",
            Sandbox::Absent,
            done(3),
            "Failed a=terminated(3)+0",
        ),
    ];
    for (policy, sandbox, state, expected) in cases {
        let status = show(&simple(policy), &record(sandbox, &[("a", state)]));
        assert_eq!(summary(&status), expected, "{policy}");
    }
}

#[test]
fn a_running_pod_is_ready_and_says_where_it_is() {
    let status = show(
        &simple("Always"),
        &record(Sandbox::Ready, &[("a", State::Running(at(1)))]),
    );
    for type_ in [
        "PodReadyToStartContainers",
        "Initialized",
        "ContainersReady",
        "Ready",
    ] {
        assert_eq!(condition(&status, type_).status, "True", "{type_}");
    }
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.1.5"));
    assert_eq!(status.pod_ips.map(|ips| ips.len()), Some(1));
    assert_eq!(status.host_ip.as_deref(), Some("172.29.0.2"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert_eq!(status.observed_generation, Some(3));
    let container = &status.container_statuses.unwrap()[0];
    assert!(container.ready && container.started == Some(true));
    assert_eq!(container.container_id.as_deref(), Some("sealane://u-1/a/0"));
}

#[test]
fn a_pod_that_is_not_ready_names_the_containers() {
    let two = pod(json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}));
    let status = show(
        &two,
        &record(Sandbox::Ready, &[("b", State::Running(at(1)))]),
    );
    for type_ in ["Ready", "ContainersReady"] {
        let condition = condition(&status, type_);
        assert_eq!(condition.status, "False");
        assert_eq!(condition.reason.as_deref(), Some("ContainersNotReady"));
        assert_eq!(
            condition.message.as_deref(),
            Some("containers with unready status: [a c]")
        );
    }
    let ended = show(
        &simple("Never"),
        &record(Sandbox::Absent, &[("a", State::Exited(exit(0)))]),
    );
    assert_eq!(
        condition(&ended, "Ready").reason.as_deref(),
        Some("PodCompleted")
    );
    assert_eq!(
        condition(&ended, "PodReadyToStartContainers").status,
        "False"
    );
}

#[test]
fn a_crash_loop_reads_as_in_kubernetes() {
    let mut record = record(Sandbox::Ready, &[]);
    let container = record.container_mut("a");
    for n in 0..3 {
        container.begin(at(n));
        container.state = State::Exited(exit(1));
    }
    container.backoff_announced = true;
    let status = show(&simple("Always"), &record);
    assert_eq!(summary(&status), "Running a=waiting(CrashLoopBackOff)+2");
    let container = &status.container_statuses.as_ref().unwrap()[0];
    assert_eq!(
        container
            .state
            .as_ref()
            .unwrap()
            .waiting
            .as_ref()
            .unwrap()
            .message
            .as_deref(),
        Some("back-off 20s restarting failed container=a pod=p_ns(u-1)"),
    );
    let last = container
        .last_state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
    assert_eq!(
        (last.exit_code, last.container_id.as_deref()),
        (1, Some("sealane://u-1/a/2"))
    );
    assert_eq!(condition(&status, "Ready").status, "False");
}

#[test]
fn a_restarted_container_keeps_how_it_ended_before() {
    let mut record = record(Sandbox::Ready, &[("a", State::Exited(exit(137)))]);
    record.container_mut("a").begin(at(3));
    record.container_mut("a").state = State::Running(at(3));
    let status = show(&simple("Always"), &record);
    assert_eq!(summary(&status), "Running a=running+1");
    let container = &status.container_statuses.unwrap()[0];
    let last = container
        .last_state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
    assert_eq!(
        (last.exit_code, last.container_id.as_deref()),
        (137, Some("sealane://u-1/a/0"))
    );
}

#[test]
fn init_containers_hold_the_others_back() {
    let desired = pod(
        json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]}),
    );
    let cases = [
        (
            vec![("i", State::Running(at(1)))],
            "Pending i=running+0 j=waiting(PodInitializing)+0 a=waiting(PodInitializing)+0",
        ),
        (
            vec![("i", State::Exited(exit(0))), ("j", State::Exited(exit(0)))],
            "Pending i=terminated(0)+0 j=terminated(0)+0 a=waiting(PodInitializing)+0",
        ),
        (
            vec![
                ("i", State::Exited(exit(0))),
                ("j", State::Exited(exit(0))),
                ("a", State::Running(at(2))),
            ],
            "Running i=terminated(0)+0 j=terminated(0)+0 a=running+0",
        ),
    ];
    for (states, expected) in cases {
        assert_eq!(
            summary(&show(&desired, &record(Sandbox::Ready, &states))),
            expected
        );
    }
    let status = show(
        &desired,
        &record(Sandbox::Ready, &[("i", State::Exited(exit(0)))]),
    );
    let initialized = condition(&status, "Initialized");
    assert_eq!(
        initialized.message.as_deref(),
        Some("containers with incomplete status: [j]")
    );
}

#[test]
fn reasons_to_wait_are_shown_with_their_words() {
    let mut held = record(Sandbox::Ready, &[]);
    held.container_mut("a").hold = Some(Hold {
        reason: "ErrImagePull".into(),
        message: "image nginx: not built in".into(),
        since: at(0),
        until: Some(at(10)),
    });
    assert_eq!(
        summary(&show(&simple("Always"), &held)),
        "Pending a=waiting(ErrImagePull)+0"
    );

    let mut refused = record(Sandbox::Absent, &[]);
    refused.ips.clear();
    refused.refused = Some("volume v: type nfs is not supported yet".into());
    let status = show(&simple("Always"), &refused);
    assert_eq!(
        summary(&status),
        "Pending a=waiting(CreateContainerConfigError)+0"
    );
    assert_eq!(status.message, refused.refused);
    assert_eq!((status.pod_ip, status.pod_ips), (None, None));
}

#[test]
fn a_leaving_pod_ends_as_its_containers_did() {
    let mut desired = simple("Always");
    let mut object = (*desired.pod).clone();
    object.metadata.deletion_timestamp = Some(Time(at(0)));
    desired.pod = Arc::new(object);
    let cases = [
        (State::Running(at(1)), "Running a=running+0"),
        (State::Exited(exit(0)), "Succeeded a=terminated(0)+0"),
        (State::Exited(exit(137)), "Failed a=terminated(137)+0"),
    ];
    for (state, expected) in cases {
        assert_eq!(
            summary(&show(&desired, &record(Sandbox::Ready, &[("a", state)]))),
            expected
        );
    }
}

#[test]
fn what_others_wrote_stays_and_times_move_only_with_their_condition() {
    let previous: PodStatus = serde_json::from_value(json!({
        "nominatedNodeName": "node-9",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T00:00:00Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T00:00:01Z"},
            {"type": "ContainersReady", "status": "False", "lastTransitionTime": "2026-11-21T00:00:02Z"},
        ],
    }))
    .unwrap();
    let up = record(Sandbox::Ready, &[("a", State::Running(at(1)))]);
    let status = shown(&simple("Always"), &up, &previous);
    assert_eq!(status.nominated_node_name.as_deref(), Some("node-9"));
    let time = |type_| {
        condition(&status, type_)
            .last_transition_time
            .clone()
            .unwrap()
            .0
            .to_string()
    };
    assert_eq!(time("PodScheduled"), "2026-11-21T00:00:00Z");
    assert_eq!(time("Ready"), "2026-11-21T00:00:01Z");
    assert_eq!(time("ContainersReady"), at(50).to_string());

    let again = shown(&simple("Always"), &up, &status);
    assert_eq!(again, status, "the same facts give the same status");
}

#[test]
fn readiness_gates_close_ready_and_nothing_else() {
    let desired = pod(json!({
        "readinessGates": [{"conditionType": "example.com/lb"}], "containers": [{"name": "a"}],
    }));
    let up = record(Sandbox::Ready, &[("a", State::Running(at(1)))]);
    let status = show(&desired, &up);
    assert_eq!(condition(&status, "ContainersReady").status, "True");
    assert_eq!(
        condition(&status, "Ready").reason.as_deref(),
        Some("ReadinessGatesNotReady")
    );
    let open: PodStatus = serde_json::from_value(json!({
        "conditions": [{"type": "example.com/lb", "status": "True"}],
    }))
    .unwrap();
    assert_eq!(
        condition(&shown(&desired, &up, &open), "Ready").status,
        "True"
    );
}

#[test]
fn a_pod_on_the_nodes_network_has_the_nodes_addresses() {
    let desired = pod(json!({"hostNetwork": true, "containers": [{"name": "a"}]}));
    let mut up = record(Sandbox::Ready, &[("a", State::Running(at(1)))]);
    up.ips.clear();
    assert_eq!(show(&desired, &up).pod_ip.as_deref(), Some("172.29.0.2"));
}
