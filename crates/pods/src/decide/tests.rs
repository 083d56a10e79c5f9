//! Cases as lines: a pod, its record, a time; the step that must follow.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::record::{Doom, Exit, Failure, Hold};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn pod(spec: Value) -> Desired {
    let object =
        json!({"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": spec});
    Desired::new(std::sync::Arc::new(
        serde_json::from_value::<Pod>(object).unwrap(),
    ))
}

fn two(policy: &str) -> Desired {
    pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]}))
}

fn leaving(mut desired: Desired, grace: i64) -> Desired {
    let mut pod = (*desired.pod).clone();
    pod.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    pod.metadata.deletion_grace_period_seconds = Some(grace);
    desired.pod = std::sync::Arc::new(pod);
    desired
}

fn exited(code: i32, finished: i64) -> State {
    State::Exited(Exit {
        code,
        reason: "x".into(),
        message: None,
        started_at: None,
        finished_at: at(finished),
    })
}

fn with(sandbox: Sandbox, containers: &[(&str, State)]) -> Record {
    let mut record = Record::new(at(0));
    record.sandbox = sandbox;
    for (name, state) in containers {
        record.container_mut(name).state = state.clone();
    }
    record
}

const UP: Live = Live {
    shim: true,
    network: true,
    confirmed: true,
    rest_until: None,
    unread_until: None,
    refresh_at: None,
};
const RUNNING: State = State::Running(Timestamp::UNIX_EPOCH);

fn start(name: &str) -> Decision {
    step(Step::Start(name.into()))
}

#[test]
fn a_pod_comes_up_in_order() {
    let init = pod(json!({
        "initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}, {"name": "b"}],
    }));
    let ready = |states: &[(&str, State)]| with(Sandbox::Ready, states);
    let cases = [
        ("nothing yet", with(Sandbox::Absent, &[]), step(Step::Build)),
        (
            "killed while building",
            with(Sandbox::Partial, &[]),
            step(Step::TearDown),
        ),
        ("first init container", ready(&[]), start("i")),
        ("it runs", ready(&[("i", RUNNING)]), wait(None)),
        ("it is done", ready(&[("i", exited(0, 1))]), start("j")),
        (
            "second is done",
            ready(&[("i", exited(0, 1)), ("j", exited(0, 2))]),
            start("a"),
        ),
        (
            "containers do not wait for each other",
            ready(&[("i", exited(0, 1)), ("j", exited(0, 2)), ("a", RUNNING)]),
            start("b"),
        ),
        (
            "all run",
            ready(&[
                ("i", exited(0, 1)),
                ("j", exited(0, 2)),
                ("a", RUNNING),
                ("b", RUNNING),
            ]),
            wait(None),
        ),
    ];
    for (case, record, expected) in cases {
        assert_eq!(decide(&init, &record, UP, at(100)), expected, "{case}");
    }
}

#[test]
fn a_sandbox_waits_for_the_network_and_for_its_back_off() {
    let record = with(Sandbox::Absent, &[]);
    let down = Live {
        shim: false,
        network: false,
        ..UP
    };
    assert_eq!(decide(&two("Always"), &record, down, at(0)), wait(None));

    let host = pod(json!({"hostNetwork": true, "containers": [{"name": "a"}]}));
    assert_eq!(decide(&host, &record, down, at(0)), step(Step::Build));

    let mut failed = record;
    failed.failure = Some(Failure {
        message: "no address left".into(),
        retry_at: at(10),
        tries: 1,
    });
    assert_eq!(
        decide(&two("Always"), &failed, UP, at(9)),
        wait(Some(at(10)))
    );
    assert_eq!(
        decide(&two("Always"), &failed, UP, at(10)),
        step(Step::Build)
    );
}

#[test]
fn a_pod_read_from_disk_is_not_built_before_the_api_was_asked() {
    let host = pod(json!({"hostNetwork": true, "containers": [{"name": "a"}]}));
    let unasked = Live {
        confirmed: false,
        ..UP
    };
    let absent = with(Sandbox::Absent, &[]);
    for desired in [two("Always"), host] {
        assert_eq!(decide(&desired, &absent, unasked, at(0)), wait(None));
    }
    let up = with(Sandbox::Ready, &[("a", exited(1, 0)), ("b", RUNNING)]);
    assert_eq!(
        decide(&two("Always"), &up, unasked, at(1)),
        start("a"),
        "what runs goes on"
    );
}

#[test]
fn a_tear_down_that_failed_is_repeated_later() {
    let record = with(Sandbox::Partial, &[]);
    let tired = Live {
        rest_until: Some(at(5)),
        ..UP
    };
    assert_eq!(
        decide(&two("Always"), &record, tired, at(4)),
        wait(Some(at(5)))
    );
    assert_eq!(
        decide(&two("Always"), &record, tired, at(5)),
        step(Step::TearDown)
    );
    let leaving = leaving(two("Always"), 1);
    assert_eq!(decide(&leaving, &record, tired, at(4)), wait(Some(at(5))));
}

#[test]
fn a_dead_shim_is_torn_down_whatever_the_pod_wants() {
    let dead = Live { shim: false, ..UP };
    let record = with(Sandbox::Ready, &[("a", RUNNING)]);
    for desired in [two("Always"), two("Never"), leaving(two("Always"), 30)] {
        assert_eq!(decide(&desired, &record, dead, at(0)), step(Step::TearDown));
    }
}

#[test]
fn restart_policy_decides_who_runs_again() {
    let both = |code| with(Sandbox::Ready, &[("a", exited(code, 0)), ("b", RUNNING)]);
    let cases = [
        ("Always", 0, start("a")),
        ("Always", 1, start("a")),
        ("OnFailure", 0, wait(None)),
        ("OnFailure", 1, start("a")),
        ("Never", 0, wait(None)),
        ("Never", 1, wait(None)),
    ];
    for (policy, code, expected) in cases {
        assert_eq!(
            decide(&two(policy), &both(code), UP, at(1)),
            expected,
            "{policy} {code}"
        );
    }
}

#[test]
fn crashes_wait_longer_each_time_and_say_so() {
    let desired = two("Always");
    let mut record = with(Sandbox::Ready, &[("b", RUNNING)]);
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..4 {
        record.container_mut("a").begin(at(now));
        record.container_mut("a").state = exited(1, now);
        let mut next = decide(&desired, &record, UP, at(now));
        if next == step(Step::AnnounceBackOff("a".into())) {
            record.container_mut("a").backoff_announced = true;
            next = decide(&desired, &record, UP, at(now));
        }
        let until = next.wake.unwrap_or(at(now));
        pauses.push(until.duration_since(at(now)).as_secs());
        now += pauses[pauses.len() - 1];
        assert_eq!(decide(&desired, &record, UP, at(now)), start("a"));
    }
    assert_eq!(pauses, [0, 10, 20, 40]);
    assert_eq!(record.container("a").attempt, 3);
}

#[test]
fn a_waiting_container_does_not_hold_up_the_next_one() {
    let desired = two("Always");
    let mut record = with(Sandbox::Ready, &[]);
    record.container_mut("a").hold = Some(Hold {
        reason: "CreateContainerConfigError".into(),
        message: "volume v: type nfs is not supported yet".into(),
        since: at(0),
        until: None,
    });
    assert_eq!(decide(&desired, &record, UP, at(1)), start("b"));
    record.container_mut("b").state = RUNNING;
    assert_eq!(decide(&desired, &record, UP, at(1)), wait(None));
}

#[test]
fn an_image_that_cannot_be_had_is_shelved_then_tried_again() {
    let desired = pod(json!({"containers": [{"name": "a"}]}));
    let mut record = with(Sandbox::Ready, &[]);
    let hold = |reason: &str| Hold {
        reason: reason.into(),
        message: "no such image".into(),
        since: at(0),
        until: Some(at(10)),
    };
    record.container_mut("a").hold = Some(hold("ErrImagePull"));
    assert_eq!(decide(&desired, &record, UP, at(0)), wait(Some(at(1))));
    assert_eq!(
        decide(&desired, &record, UP, at(1)),
        step(Step::ShelveImage("a".into()))
    );
    record.container_mut("a").hold = Some(hold("ImagePullBackOff"));
    assert_eq!(decide(&desired, &record, UP, at(1)), wait(Some(at(10))));
    assert_eq!(decide(&desired, &record, UP, at(10)), start("a"));
}

#[test]
fn an_ended_pod_gives_its_sandbox_back_and_stays() {
    let codes = |a, b| with(Sandbox::Ready, &[("a", exited(a, 0)), ("b", exited(b, 0))]);
    let cases = [
        ("Never", codes(0, 0), Some(Outcome::Succeeded)),
        ("Never", codes(0, 2), Some(Outcome::Failed)),
        ("OnFailure", codes(0, 0), Some(Outcome::Succeeded)),
        ("OnFailure", codes(0, 2), None),
        ("Always", codes(0, 0), None),
        ("Never", with(Sandbox::Ready, &[("a", exited(0, 0))]), None),
    ];
    for (policy, mut record, expected) in cases {
        let desired = two(policy);
        assert_eq!(outcome(&desired, &record), expected, "{policy}");
        if expected.is_some() {
            assert_eq!(decide(&desired, &record, UP, at(1)), step(Step::TearDown));
            record.sandbox = Sandbox::Absent;
            assert_eq!(decide(&desired, &record, UP, at(1)), wait(None));
        }
    }
}

#[test]
fn a_failed_init_container_fails_the_pod_or_is_repeated() {
    let spec = |policy| {
        pod(
            json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}),
        )
    };
    let record = with(Sandbox::Ready, &[("i", exited(1, 0))]);
    assert_eq!(outcome(&spec("Never"), &record), Some(Outcome::Failed));
    assert_eq!(decide(&spec("Always"), &record, UP, at(1)), start("i"));
    assert_eq!(decide(&spec("OnFailure"), &record, UP, at(1)), start("i"));
}

#[test]
fn a_leaving_pod_is_asked_then_killed_then_removed() {
    let desired = leaving(two("Always"), 30);
    let mut record = with(Sandbox::Ready, &[("a", RUNNING), ("b", RUNNING)]);
    record.kill_at = Some(at(30));
    let stop = |name: &str, how| step(Step::Stop(name.into(), how));

    assert_eq!(
        decide(&desired, &record, UP, at(0)),
        stop("a", Stop::Terminate)
    );
    record.container_mut("a").stopping = Some(Stop::Terminate);
    assert_eq!(
        decide(&desired, &record, UP, at(0)),
        stop("b", Stop::Terminate)
    );
    record.container_mut("b").stopping = Some(Stop::Terminate);
    assert_eq!(decide(&desired, &record, UP, at(0)), wait(Some(at(30))));
    record.container_mut("a").state = exited(0, 1);
    assert_eq!(decide(&desired, &record, UP, at(30)), stop("b", Stop::Kill));
    record.container_mut("b").stopping = Some(Stop::Kill);
    assert_eq!(decide(&desired, &record, UP, at(30)), wait(None));
    record.container_mut("b").state = exited(137, 30);
    assert_eq!(decide(&desired, &record, UP, at(30)), step(Step::TearDown));
    record.sandbox = Sandbox::Absent;
    assert_eq!(decide(&desired, &record, UP, at(30)), step(Step::Finish));
}

#[test]
fn a_pod_leaves_from_every_state() {
    let mut refused = with(Sandbox::Absent, &[]);
    refused.refused = Some("volume v: type nfs is not supported yet".into());
    let mut ended = with(Sandbox::Absent, &[]);
    ended.ended_before = true;
    let gone = Desired {
        gone: true,
        ..two("Always")
    };
    for (case, record, expected) in [
        ("never started", with(Sandbox::Absent, &[]), Step::Finish),
        ("refused", refused, Step::Finish),
        ("ended long ago", ended, Step::Finish),
        ("half built", with(Sandbox::Partial, &[]), Step::TearDown),
        (
            "all crashed",
            with(Sandbox::Ready, &[("a", exited(1, 0))]),
            Step::TearDown,
        ),
    ] {
        assert_eq!(
            decide(&leaving(two("Always"), 5), &record, UP, at(1)),
            step(expected.clone()),
            "{case}"
        );
        assert_eq!(
            decide(&gone, &record, UP, at(1)),
            step(expected),
            "{case}, and not in the API"
        );
    }
}

#[test]
fn pods_that_must_not_run_do_not() {
    let mut refused = with(Sandbox::Absent, &[]);
    refused.refused = Some("hostPID is not supported yet".into());
    let mut ended = with(Sandbox::Absent, &[]);
    ended.ended_before = true;
    assert_eq!(decide(&two("Always"), &refused, UP, at(1)), wait(None));
    assert_eq!(decide(&two("Always"), &ended, UP, at(1)), wait(None));
}

#[test]
fn a_grace_period_has_a_floor_and_a_default() {
    let cases = [
        (leaving(two("Always"), 0), Some(2)),
        (leaving(two("Always"), 7), Some(7)),
        (
            Desired {
                gone: true,
                ..two("Always")
            },
            Some(30),
        ),
        (
            Desired {
                gone: true,
                ..pod(json!({"terminationGracePeriodSeconds": 5, "containers": []}))
            },
            Some(5),
        ),
        (two("Always"), None),
    ];
    for (desired, seconds) in cases {
        assert_eq!(desired.grace().map(|grace| grace.as_secs()), seconds);
    }
}

#[test]
fn a_sidecar_starts_before_and_ends_after_the_others() {
    let sidecar = |name: &str| json!({"name": name, "restartPolicy": "Always", "startupProbe": {}});
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a"}],
        "initContainers": [sidecar("s"), {"name": "i"}, sidecar("t")]});
    let desired = pod(spec);
    let mut record = with(Sandbox::Ready, &[]);
    let next = |record: &Record| decide(&desired, record, UP, at(5));
    assert_eq!(next(&record), start("s"));
    record.container_mut("s").state = RUNNING;
    assert_eq!(
        next(&record),
        wait(None),
        "its startup probe has not passed"
    );
    record.container_mut("s").startup_passed = true;
    assert_eq!(next(&record), start("i"));
    record.container_mut("i").state = exited(0, 1);
    record.container_mut("t").state = RUNNING;
    record.container_mut("t").startup_passed = true;
    assert_eq!(next(&record), start("a"));
    record.container_mut("a").state = RUNNING;
    record.initialized = true;
    assert_eq!(next(&record), wait(None));

    record.container_mut("s").state = exited(0, 2);
    assert_eq!(next(&record), start("s"), "whatever its exit code was");
    record.container_mut("s").begin(at(5));
    record.container_mut("s").state = RUNNING;
    assert_eq!(next(&record), wait(None), "it holds nobody up any more");

    record.container_mut("a").state = exited(0, 3);
    record.kill_at = Some(at(30));
    assert_eq!(outcome(&desired, &record), Some(Outcome::Succeeded));
    let stop = |name: &str| step(Step::Stop(name.into(), Stop::Terminate));
    assert_eq!(next(&record), stop("t"));
    record.container_mut("t").stopping = Some(Stop::Terminate);
    assert_eq!(next(&record), wait(Some(at(30))), "one after the other");
    record.container_mut("t").state = exited(0, 4);
    assert_eq!(next(&record), stop("s"));
    record.container_mut("s").state = exited(143, 4);
    assert_eq!(next(&record), step(Step::TearDown));
}

#[test]
fn a_hook_comes_before_sigterm_within_the_grace_period() {
    let hook = json!({"preStop": {"exec": {"command": ["x"]}}});
    let desired = leaving(
        pod(json!({"containers": [{"name": "a", "lifecycle": hook}]})),
        30,
    );
    let mut record = with(Sandbox::Ready, &[("a", RUNNING)]);
    record.kill_at = Some(at(30));
    let next = |record: &Record, now| decide(&desired, record, UP, at(now));
    let stop = |how| step(Step::Stop("a".into(), how));
    assert_eq!(next(&record, 0), stop(Stop::Hook));
    record.container_mut("a").stopping = Some(Stop::Hook);
    assert_eq!(next(&record, 1), wait(Some(at(30))));
    let mut done = record.clone();
    done.container_mut("a").hook_ended = Some(at(5));
    assert_eq!(next(&done, 5), stop(Stop::Terminate));
    done.container_mut("a").stopping = Some(Stop::Terminate);
    assert_eq!(next(&done, 6), wait(Some(at(30))));
    assert_eq!(next(&done, 30), stop(Stop::Kill));

    assert_eq!(
        next(&record, 30),
        stop(Stop::Terminate),
        "a hook that hangs"
    );
    record.container_mut("a").stopping = Some(Stop::Terminate);
    record.container_mut("a").hook_ended = Some(at(30));
    assert_eq!(next(&record, 30), wait(Some(at(32))), "a little is left");
    assert_eq!(next(&record, 32), stop(Stop::Kill));
}

#[test]
fn a_container_that_failed_its_probe_is_ended_and_runs_again() {
    let doomed = |policy| {
        let mut record = with(Sandbox::Ready, &[("a", RUNNING), ("b", RUNNING)]);
        record.container_mut("a").doom = Some(Doom {
            message: "Container a failed liveness probe, will be restarted".into(),
            kill_at: at(30),
            changed: false,
        });
        (two(policy), record)
    };
    for (policy, next) in [
        ("Always", start("a")),
        ("OnFailure", start("a")),
        ("Never", wait(None)),
    ] {
        let (desired, mut record) = doomed(policy);
        let term = step(Step::Stop("a".into(), Stop::Terminate));
        assert_eq!(decide(&desired, &record, UP, at(1)), term);
        record.container_mut("a").stopping = Some(Stop::Terminate);
        assert_eq!(decide(&desired, &record, UP, at(1)), wait(Some(at(30))));
        record.container_mut("a").state = exited(0, 2);
        assert_eq!(decide(&desired, &record, UP, at(3)), next, "{policy}");
    }
}

#[test]
fn a_post_start_hook_holds_up_those_after_it() {
    let mut record = with(Sandbox::Ready, &[("a", RUNNING)]);
    record.container_mut("a").post_start = true;
    assert_eq!(decide(&two("Always"), &record, UP, at(1)), wait(None));
    record.container_mut("a").post_start = false;
    assert_eq!(decide(&two("Always"), &record, UP, at(1)), start("b"));
}

#[test]
fn a_pod_has_its_time() {
    let spec = json!({"activeDeadlineSeconds": 60, "containers": [{"name": "a"}]});
    let desired = pod(spec);
    let mut record = with(Sandbox::Ready, &[("a", RUNNING)]);
    assert_eq!(decide(&desired, &record, UP, at(59)), wait(Some(at(60))));
    assert_eq!(decide(&desired, &record, UP, at(60)), step(Step::Expire));
    record.end = Some(crate::record::End {
        reason: "DeadlineExceeded".into(),
        message: "x".into(),
    });
    record.kill_at = Some(at(90));
    assert_eq!(outcome(&desired, &record), Some(Outcome::Failed));
    let term = step(Step::Stop("a".into(), Stop::Terminate));
    assert_eq!(decide(&desired, &record, UP, at(60)), term);
    record.container_mut("a").state = exited(143, 61);
    assert_eq!(decide(&desired, &record, UP, at(61)), step(Step::TearDown));
}

#[test]
fn a_container_that_is_to_be_another_runs_again_whatever_the_policy() {
    let mut record = with(Sandbox::Ready, &[("a", exited(0, 2)), ("b", RUNNING)]);
    record.container_mut("a").doom = Some(Doom {
        message: "Container a definition changed, will be restarted".into(),
        kill_at: at(30),
        changed: true,
    });
    for policy in ["Always", "OnFailure", "Never"] {
        assert_eq!(
            decide(&two(policy), &record, UP, at(3)),
            start("a"),
            "{policy}"
        );
    }
}

#[test]
fn a_containers_own_word_goes_before_its_pods() {
    let rules =
        json!([{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0, 3]}}]);
    for (pods, own, rules, code, again) in [
        ("Never", json!("Always"), json!(null), 0, true),
        ("Always", json!("Never"), json!(null), 1, false),
        ("Always", json!("OnFailure"), json!(null), 0, false),
        ("Never", json!("Never"), rules.clone(), 42, true),
        ("Never", json!("Never"), rules.clone(), 3, false),
        ("Always", json!("OnFailure"), rules, 3, true),
    ] {
        let spec = json!({"name": "a", "restartPolicy": own, "restartPolicyRules": rules});
        let desired = pod(json!({"restartPolicy": pods, "containers": [spec]}));
        let record = with(Sandbox::Ready, &[("a", exited(code, 2))]);
        let expected = if again {
            start("a")
        } else {
            step(Step::TearDown)
        };
        assert_eq!(decide(&desired, &record, UP, at(3)), expected, "{spec}");
    }
}
