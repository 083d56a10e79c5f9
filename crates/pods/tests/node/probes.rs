//! Probes of real containers: what they change in the pod's status.

use serde_json::{Value, json};

use super::harness::{Harness, condition, ready, restarts};

/// A pod whose container runs this script.
fn pod(script: &str, fields: Value) -> Value {
    let mut container = json!({
        "name": "c", "image": "sealane.io/host", "command": ["sh", "-c", script],
    });
    let fields = fields.as_object().unwrap().clone();
    container.as_object_mut().unwrap().extend(fields);
    json!({"terminationGracePeriodSeconds": 2, "containers": [container]})
}

fn exec(script: &str) -> Value {
    json!({"exec": {"command": ["sh", "-c", script]}, "periodSeconds": 1, "failureThreshold": 2})
}

async fn wait_event(harness: &Harness, pod: &str, text: &str) {
    let what = format!("the event {text:?} about {pod}");
    harness
        .wait_for(&what, |api| {
            api.events(pod).iter().any(|event| event.contains(text))
        })
        .await;
}

#[tokio::test]
async fn a_container_that_is_not_alive_is_started_again() {
    let harness = Harness::start().await;
    let script = "exec sleep 1000";
    let mut probe = exec("echo dead tired; exit 1");
    probe["terminationGracePeriodSeconds"] = 1.into();
    harness.create_pod("a", pod(script, json!({"livenessProbe": probe})));
    harness
        .wait_for_pod("a", "restarted", |pod| restarts(pod) == 1)
        .await;
    wait_event(
        &harness,
        "a",
        "Unhealthy: Liveness probe failed: dead tired",
    )
    .await;
    wait_event(
        &harness,
        "a",
        "Killing: Container c failed liveness probe, will be restarted",
    )
    .await;
}

#[tokio::test]
async fn a_command_that_takes_too_long_fails_and_one_that_is_not_there_says_nothing() {
    let harness = Harness::start().await;
    let script = "exec sleep 1000";
    let probe = |command: Value| json!({"exec": {"command": command}, "periodSeconds": 1, "failureThreshold": 1});
    let slow = probe(json!(["sleep", "1000"]));
    harness.create_pod("slow", pod(script, json!({"livenessProbe": slow})));
    let missing = probe(json!(["no-such-command"]));
    harness.create_pod("odd", pod(script, json!({"livenessProbe": missing})));
    let late = "Liveness probe failed: command timed out: \"sleep 1000\" timed out after 1s";
    wait_event(&harness, "slow", late).await;
    let unknown = "Unhealthy: Liveness probe errored and resulted in unknown state: ";
    wait_event(&harness, "odd", unknown).await;
    // By then the other, which began no later, has been asked as often, and nothing came of it.
    harness
        .wait_for_pod("slow", "restarted", |pod| restarts(pod) == 1)
        .await;
    assert_eq!(restarts(&harness.pod("odd").unwrap()), 0);
}

#[tokio::test]
async fn readiness_follows_the_probe_and_survives_a_restart_of_the_node() {
    let mut harness = Harness::start().await;
    let script = "touch /tmp/ready; exec sleep 1000";
    let volume = json!([{"name": "t", "emptyDir": {}}]);
    let fields = json!({
        "readinessProbe": exec("cat /tmp/ready"),
        "volumeMounts": [{"name": "t", "mountPath": "/tmp"}],
    });
    let mut spec = pod(script, fields);
    spec["volumes"] = volume;
    let uid = harness.create_pod("a", spec);
    harness.wait_running("a").await;
    harness.kill();
    harness.run();
    harness
        .wait_for("the node takes the pod over", |_| {
            harness.shim_of(&uid).is_some()
        })
        .await;
    let flips = |harness: &Harness| {
        let told = harness.api.status_patches();
        let states = told
            .iter()
            .map(|status| condition(&json!({"status": status}), "Ready"));
        let mut states: Vec<_> = states.collect();
        states.dedup();
        states.len()
    };
    let before = flips(&harness);

    let file = harness
        .path("state/pods")
        .join(&uid)
        .join("volumes/t/ready");
    std::fs::remove_file(&file).unwrap();
    let pod = harness
        .wait_for_pod("a", "not ready", |pod| !ready(pod))
        .await;
    assert_eq!(flips(&harness), before + 1, "ready until the file was gone");
    assert_eq!(condition(&pod, "ContainersReady").as_deref(), Some("False"));
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(
        (&status["ready"], &status["started"]),
        (&json!(false), &json!(true))
    );
    wait_event(
        &harness,
        "a",
        "Unhealthy: Readiness probe failed: cat: /tmp/ready",
    )
    .await;
    std::fs::write(&file, "").unwrap();
    harness.wait_running("a").await;
    assert_eq!(restarts(&harness.pod("a").unwrap()), 0);
}

#[tokio::test]
async fn other_probes_wait_for_the_start() {
    let harness = Harness::start().await;
    let script = "sleep 1; touch /started; exec sleep 1000";
    let mut startup = exec("test -e /started");
    startup["failureThreshold"] = 30.into();
    let port = harness.api.address.port();
    let probe = json!({"tcpSocket": {"host": "127.0.0.1", "port": port}, "periodSeconds": 1});
    let fields = json!({
        "startupProbe": startup, "readinessProbe": probe,
        "livenessProbe": {"exec": {"command": ["test", "-e", "/started"]}, "periodSeconds": 1, "failureThreshold": 1},
    });
    harness.create_pod("a", pod(script, fields));
    let started = |pod: &Value| pod["status"]["containerStatuses"][0]["started"] == true;
    let running = |pod: &Value| {
        pod["status"]["containerStatuses"][0]["state"]["running"].is_object() && !started(pod)
    };
    let pod = harness
        .wait_for_pod("a", "running, not started", running)
        .await;
    assert!(!ready(&pod));
    let pod = harness.wait_running("a").await;
    assert!(started(&pod));
    assert_eq!(restarts(&pod), 0, "liveness was not asked before the start");
}
