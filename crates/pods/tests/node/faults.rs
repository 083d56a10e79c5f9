//! Kills at inconvenient moments: nothing about a running pod is lost.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::harness::{Harness, pod_path, restarts, state};

fn shell(policy: &str, script: &str) -> Value {
    json!({
        "restartPolicy": policy, "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "sealane.io/host", "command": ["sh", "-c", script]}],
    })
}

#[tokio::test]
async fn a_killed_node_takes_its_pods_over() {
    let mut harness = Harness::start().await;
    let uid = harness.create_pod("a", shell("Always", "echo up; exec sleep 1000"));
    harness.create_pod(
        "b",
        shell(
            "Never",
            "while [ ! -e /tmp/go ]; do sleep 0.01; done; exit 42",
        ),
    );
    let before = harness.wait_running("a").await;
    harness.wait_running("b").await;
    let shim = harness.shim_of(&uid).unwrap();
    let b = harness.pod("b").unwrap()["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    let leader = leader_of(harness.shim_of(&b).unwrap());
    harness.kill();
    // Ends while nobody listens.
    std::fs::write(format!("/proc/{leader}/root/tmp/go"), "").unwrap();
    wait_for_end(leader).await;
    harness.run();
    let ended = harness
        .wait_for_pod("b", "ended", |pod| pod["status"]["phase"] == "Failed")
        .await;
    assert_eq!(state(&ended).1["exitCode"], 42, "an exit code is not lost");

    harness
        .wait_for("adopted", |_| harness.shim_of(&uid) == Some(shim))
        .await;
    let after = harness.pod("a").unwrap();
    assert_eq!(after["status"]["podIP"], before["status"]["podIP"]);
    assert_eq!(
        after["status"]["containerStatuses"],
        before["status"]["containerStatuses"]
    );
    harness.create_pod("new", shell("Always", "exec sleep 1000"));
    harness.wait_running("new").await;
}

#[tokio::test]
async fn a_killed_shim_is_replaced_and_counted() {
    let harness = Harness::start().await;
    let uid = harness.create_pod("a", shell("Always", "exec sleep 1000"));
    let before = harness.wait_running("a").await;
    kill_process(harness.shim_of(&uid).unwrap());
    let pod = harness
        .wait_for_pod("a", "restarted", |pod| {
            restarts(pod) == 1 && state(pod).0 == "running"
        })
        .await;
    assert_ne!(
        pod["status"]["podIP"], before["status"]["podIP"],
        "a new sandbox, a new address"
    );
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(last["exitCode"], 137);
    let calls = harness.calls();
    assert!(calls[1].starts_with(&format!("DEL {uid}-1")), "{calls:?}");
    assert!(calls[2].starts_with(&format!("ADD {uid}-2")), "{calls:?}");
}

#[tokio::test]
async fn a_shim_that_died_while_the_node_was_down_is_replaced() {
    let mut harness = Harness::start().await;
    let uid = harness.create_pod("a", shell("Always", "exec sleep 1000"));
    harness.wait_running("a").await;
    let shim = harness.shim_of(&uid).unwrap();
    harness.kill();
    kill_process(shim);
    harness.run();
    harness
        .wait_for_pod("a", "restarted", |pod| {
            restarts(pod) == 1 && state(pod).0 == "running"
        })
        .await;
}

#[tokio::test]
async fn a_pod_deleted_while_the_node_was_down_is_taken_down() {
    let mut harness = Harness::start().await;
    let vanished = harness.create_pod("a", shell("Always", "exec sleep 1000"));
    let leaving = harness.create_pod("b", shell("Always", "exec sleep 1000"));
    harness.wait_running("a").await;
    harness.wait_running("b").await;
    harness.kill();
    harness.api.forget(&pod_path("a"));
    harness.api.delete_gracefully(&pod_path("b"), 1);
    harness.run();
    harness.wait_gone("b").await;
    for uid in [vanished, leaving] {
        let folder = harness.path("state/pods").join(uid);
        harness
            .wait_for("folder removed", |_| !folder.exists())
            .await;
    }
    let released = harness
        .calls()
        .iter()
        .filter(|call| call.starts_with("DEL"))
        .count();
    assert_eq!(released, 2, "{:?}", harness.calls());
}

#[tokio::test]
async fn a_node_killed_at_any_moment_of_a_life_ends_in_the_same_state() {
    for delay in [0, 2, 5, 10, 15, 20, 30, 45, 60, 90] {
        let mut harness = Harness::start().await;
        let uid = harness.create_pod(
            "a",
            shell("Always", "trap 'exit 0' TERM; sleep 1000 & wait"),
        );
        tokio::time::sleep(Duration::from_millis(delay)).await;
        harness.kill();
        harness.run();
        let pod = harness.wait_running("a").await;
        assert_eq!(restarts(&pod), 0, "after {delay} ms: nothing has crashed");
        assert_eq!(
            harness.shims(),
            1,
            "after {delay} ms: the pod is there once"
        );
        harness.api.delete_gracefully(&pod_path("a"), 2);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        harness.kill();
        harness.run();
        harness.wait_gone("a").await;
        let calls = harness.calls();
        let ids = |verb: &str| {
            let calls = calls.iter().filter(|call| call.starts_with(verb));
            let mut ids: Vec<_> = calls.map(|call| call.split(' ').nth(1).unwrap()).collect();
            ids.dedup();
            ids.len()
        };
        assert!(
            ids("DEL") >= ids("ADD"),
            "after {delay} ms: every address is given back: {calls:?}"
        );
        assert!(!harness.path("state/pods").join(uid).exists());
        harness
            .wait_for("no shim is left", |_| harness.shims() == 0)
            .await;
    }
}

#[tokio::test]
async fn a_plugin_that_refuses_is_quoted_and_tried_again() {
    let harness = Harness::start().await;
    std::fs::write(harness.path("bin/refuse"), "").unwrap();
    harness.create_pod("a", shell("Always", "exec sleep 1000"));
    let quoted = |events: Vec<String>| {
        events.iter().any(|event| {
            event.starts_with("FailedCreatePodSandBox")
                && event.contains("no address left in 10.9.0.0/30")
        })
    };
    harness
        .wait_for("the plugin's words", |api| quoted(api.events("a")))
        .await;
    std::fs::remove_file(harness.path("bin/refuse")).unwrap();
    harness.wait_running("a").await;
}

#[tokio::test]
async fn folders_of_unknown_pods_are_removed() {
    let mut harness = Harness::prepare().await;
    harness.install_network();
    let stray = harness.path("state/pods/stray");
    std::fs::create_dir_all(stray.join("logs")).unwrap();
    harness.run();
    harness.wait_for("stray removed", |_| !stray.exists()).await;
}

#[tokio::test]
async fn a_status_that_somebody_overwrites_is_put_back() {
    let harness = Harness::start().await;
    harness.create_pod("a", shell("Always", "exec sleep 1000"));
    harness.wait_running("a").await;
    let lost = json!({"status": {"phase": "Unknown", "conditions": [{"type": "Ready", "status": "False"}]}});
    harness.api.patch(&pod_path("a"), &lost);
    harness.wait_running("a").await;
}

fn kill_process(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
}

/// The first process of the only container of a shim.
fn leader_of(shim: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
    children.split_whitespace().next().unwrap().parse().unwrap()
}

async fn wait_for_end(pid: u32) {
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let end = tokio::time::Instant::now() + super::harness::DEADLINE;
    while !(state().is_empty() || state().contains(") Z ")) {
        assert!(tokio::time::Instant::now() < end, "process {pid} ends");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
