//! Pods from creation to removal.

use serde_json::{Value, json};

use super::harness::{Harness, condition, pod_path, ready, restarts, state};

fn echo() -> Value {
    json!({"containers": [{"name": "c", "image": "sealane.io/echo"}]})
}

/// A shell in the host image.
fn shell(policy: &str, script: &str) -> Value {
    json!({
        "restartPolicy": policy, "terminationGracePeriodSeconds": 2,
        "containers": [{"name": "c", "image": "sealane.io/host", "command": ["sh", "-c", script]}],
    })
}

#[tokio::test]
async fn a_pod_runs_and_leaves_nothing() {
    let harness = Harness::start().await;
    let uid = harness.create_pod("a", echo());
    let pod = harness.wait_running("a").await;
    assert_eq!(pod["status"]["podIP"], "10.9.0.2");
    assert_eq!(pod["status"]["podIPs"], json!([{"ip": "10.9.0.2"}]));
    assert_eq!(pod["status"]["hostIP"], "127.0.0.1");
    assert_eq!(
        condition(&pod, "PodScheduled").as_deref(),
        Some("True"),
        "others' is kept"
    );
    assert!(harness.path("state/pods").join(&uid).exists());
    let hosts = harness.path("state/pods").join(&uid).join("etc/hosts");
    assert!(
        std::fs::read_to_string(hosts)
            .unwrap()
            .contains("10.9.0.2\ta\n")
    );

    harness.api.delete_gracefully(&pod_path("a"), 30);
    harness.wait_gone("a").await;
    assert!(!harness.path("state/pods").join(&uid).exists());
    assert!(
        !harness
            .path("run/pods")
            .join(format!("{uid}.sock"))
            .exists()
    );
    let verbs: Vec<_> = harness
        .calls()
        .iter()
        .map(|call| call.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(verbs, ["ADD", "DEL"]);
    let events = harness.api.events("a");
    for expected in [
        "Pulled: ",
        "Created: ",
        "Started: Started container c",
        "Killing: Stopping container c",
    ] {
        assert!(
            events.iter().any(|event| event.starts_with(expected)),
            "{expected} in {events:?}"
        );
    }
    let told = harness.api.status_patches();
    assert!(
        told.len() <= 6,
        "a short life is told in few words: {told:#?}"
    );
}

#[tokio::test]
async fn exit_codes_decide_the_phase() {
    let harness = Harness::start().await;
    harness.create_pod("a", shell("Never", "exit 0"));
    harness.create_pod("b", shell("Never", "exit 3"));
    let done = harness
        .wait_for_pod("a", "succeeded", |pod| {
            pod["status"]["phase"] == "Succeeded"
        })
        .await;
    let failed = harness
        .wait_for_pod("b", "failed", |pod| pod["status"]["phase"] == "Failed")
        .await;
    assert_eq!(state(&done).1["reason"], "Completed");
    let (word, terminated) = state(&failed);
    assert_eq!(
        (
            word.as_str(),
            &terminated["exitCode"],
            &terminated["reason"]
        ),
        ("terminated", &json!(3), &json!("Error"))
    );
    harness
        .wait_for("addresses given back", |_| harness.calls().len() == 4)
        .await;
    assert!(
        harness.pod("a").unwrap()["status"]["podIP"].is_string(),
        "the address is still told"
    );
}

#[tokio::test]
async fn a_crashing_container_is_restarted_at_once_then_later() {
    let harness = Harness::start().await;
    harness.create_pod("a", shell("OnFailure", "exit 7"));
    let crashing = |pod: &Value| state(pod).1["reason"] == "CrashLoopBackOff";
    let pod = harness.wait_for_pod("a", "in a crash loop", crashing).await;
    assert_eq!(restarts(&pod), 1, "the first restart is immediate");
    let message = state(&pod).1["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("back-off 10s restarting failed container=c pod=a_default("),
        "{message}"
    );
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(last["exitCode"], 7);
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(
        harness.calls().len(),
        1,
        "the sandbox stays: {:?}",
        harness.calls()
    );
    harness.api.delete_gracefully(&pod_path("a"), 30);
    harness.wait_gone("a").await;
}

#[tokio::test]
async fn init_containers_run_before_and_share_volumes() {
    let harness = Harness::start().await;
    let container = |name: &str, script: &str| {
        json!({
            "name": name, "image": "sealane.io/host", "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "m", "mountPath": "/m"}],
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        })
    };
    harness.create_pod("a", json!({
        "restartPolicy": "Never",
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory"}}],
        "initContainers": [container("i", "echo $POD_IP > /v/ip"), container("j", "cp /v/ip /m/ip")],
        "containers": [container("c", "test \"$(cat /m/ip)\" = 10.9.0.2 && test $POD_IP = 10.9.0.2")],
    }));
    let pod = harness
        .wait_for_pod("a", "ended", |pod| {
            ["Succeeded", "Failed"]
                .iter()
                .any(|phase| pod["status"]["phase"] == *phase)
        })
        .await;
    assert_eq!(pod["status"]["phase"], "Succeeded", "{:#}", pod["status"]);
    assert_eq!(condition(&pod, "Initialized").as_deref(), Some("True"));
    harness.api.delete_gracefully(&pod_path("a"), 1);
    harness.wait_gone("a").await;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains(harness.path("state").to_str().unwrap()),
        "no mount is left"
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let harness = Harness::start().await;
    harness.create_pod(
        "a",
        json!({"containers": [{"name": "c", "image": "nginx:1.25"}]}),
    );
    harness.create_pod(
        "b",
        json!({
            "volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}],
            "containers": [{"name": "c", "image": "sealane.io/echo"}],
        }),
    );
    let waits = |reason: &'static str| move |pod: &Value| state(pod).1["reason"] == reason;
    let pod = harness
        .wait_for_pod("a", "without image", waits("ErrImagePull"))
        .await;
    let message = state(&pod).1["message"].as_str().unwrap().to_owned();
    assert!(message.contains("nginx:1.25"), "{message}");
    harness
        .wait_for_pod("a", "backing off", waits("ImagePullBackOff"))
        .await;
    let pod = harness
        .wait_for_pod("b", "refused", waits("CreateContainerConfigError"))
        .await;
    assert_eq!(
        state(&pod).1["message"],
        "volume v: type nfs is not supported yet"
    );
    for name in ["a", "b"] {
        harness.api.delete_gracefully(&pod_path(name), 30);
        harness.wait_gone(name).await;
    }
}

#[tokio::test]
async fn a_command_that_is_not_there_crashes_with_the_reason() {
    let harness = Harness::start().await;
    harness.create_pod("a", json!({
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "sealane.io/host", "command": ["no-such-program"]}],
    }));
    let pod = harness
        .wait_for_pod("a", "failed", |pod| pod["status"]["phase"] == "Failed")
        .await;
    let (_, terminated) = state(&pod);
    assert_eq!(terminated["reason"], "StartError");
    assert!(
        terminated["message"]
            .as_str()
            .unwrap()
            .contains("no-such-program"),
        "{terminated}"
    );
}

#[tokio::test]
async fn a_container_that_does_not_stop_is_killed_after_its_grace_period() {
    let harness = Harness::start().await;
    harness.create_pod(
        "a",
        shell("Always", "trap '' TERM; echo up; while :; do sleep 1; done"),
    );
    harness.wait_running("a").await;
    let begun = std::time::Instant::now();
    harness.api.delete_gracefully(&pod_path("a"), 2);
    harness.wait_gone("a").await;
    let took = begun.elapsed();
    assert!(took.as_secs() >= 2, "the grace period was kept: {took:?}");
    let told = harness.api.status_patches();
    let last = &told.last().unwrap()["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(last["exitCode"], 137);
}

#[tokio::test]
async fn a_pod_without_the_network_waits_for_it() {
    let mut harness = Harness::prepare().await;
    harness.run();
    harness
        .wait_for("node registered", |api| {
            api.get("/api/v1/nodes/node-1").is_some()
        })
        .await;
    harness.create_pod("a", echo());
    harness.create_pod(
        "b",
        json!({"hostNetwork": true, "containers": [{
        "name": "c", "image": "sealane.io/host", "command": ["sleep", "1000"],
    }], "terminationGracePeriodSeconds": 1}),
    );
    let pod = harness.wait_running("b").await;
    assert_eq!(
        pod["status"]["podIP"], "127.0.0.1",
        "the node's own network is there already"
    );
    assert!(!harness.pod("a").is_some_and(|pod| ready(&pod)));
    harness.install_network();
    harness.wait_running("a").await;
}
