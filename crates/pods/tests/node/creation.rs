//! A node that is killed while it makes a pod, at points that are held open.

use std::fs;

use serde_json::{Value, json};

use super::harness::{Harness, pod_path, restarts};

fn sleeper() -> Value {
    json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "sealane.io/host", "command": ["sleep", "1000"]}],
    })
}

/// What of a pod is on the machine apart from processes.
fn names(harness: &Harness, uid: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut names: Vec<_> = mounts
        .lines()
        .filter(|line| line.contains(uid))
        .map(str::to_owned)
        .collect();
    let socket = harness.path("run/pods").join(format!("{uid}.sock"));
    names.extend(socket.exists().then(|| "socket".to_owned()));
    names
}

/// Deletes the pod; nothing of it stays.
async fn leaves_nothing(harness: &Harness, uid: &str) {
    harness.api.delete_gracefully(&pod_path("a"), 1);
    harness.wait_gone("a").await;
    harness
        .wait_for("no shim is left", |_| harness.shims() == 0)
        .await;
    assert_eq!(names(harness, uid), [""; 0]);
}

#[tokio::test]
async fn a_shim_whose_node_was_killed_leaves_by_itself() {
    let mut harness = Harness::start().await;
    let gate = harness.path("hold");
    fs::write(&gate, "").unwrap();
    let uid = harness.create_pod("a", sleeper());
    harness
        .wait_for("a shim", |_| harness.held_shims() == 1)
        .await;
    harness.kill();
    fs::remove_file(&gate).unwrap();
    harness
        .wait_for("no shim is left", |_| harness.shims() == 0)
        .await;
    assert_eq!(names(&harness, &uid), [""; 0]);
    harness.run();
    let pod = harness.wait_running("a").await;
    assert_eq!(restarts(&pod), 0);
    leaves_nothing(&harness, &uid).await;
}

#[tokio::test]
async fn of_two_shims_of_a_pod_one_remains() {
    for _ in 0..5 {
        let mut harness = Harness::start().await;
        let gate = harness.path("hold");
        fs::write(&gate, "").unwrap();
        let uid = harness.create_pod("a", sleeper());
        harness
            .wait_for("a shim", |_| harness.held_shims() == 1)
            .await;
        harness.kill();
        harness.run();
        harness
            .wait_for("another shim", |_| harness.held_shims() == 2)
            .await;
        // Both go on at the same moment.
        fs::remove_file(&gate).unwrap();
        let pod = harness.wait_running("a").await;
        assert_eq!(restarts(&pod), 0);
        harness.wait_for("one shim", |_| harness.shims() == 1).await;
        let failures = harness.api.events("a");
        let failed = |event: &&String| event.starts_with("FailedCreatePodSandBox");
        assert_eq!(
            failures.iter().find(failed),
            None,
            "the first is not in the way"
        );
        leaves_nothing(&harness, &uid).await;
    }
}

#[tokio::test]
async fn an_address_that_was_asked_for_is_given_back() {
    let mut harness = Harness::start().await;
    let gate = harness.path("bin/hold");
    fs::write(&gate, "").unwrap();
    let uid = harness.create_pod("a", sleeper());
    harness
        .wait_for("ADD", |_| !harness.calls().is_empty())
        .await;
    harness.kill();
    harness.run();
    harness.wait_for("DEL", |_| harness.calls().len() > 1).await;
    fs::remove_file(&gate).unwrap();
    harness.wait_running("a").await;
    let calls: Vec<_> = harness.calls();
    let words: Vec<_> = calls
        .iter()
        .map(|call| call.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let expected = ["ADD-1", "DEL-1", "ADD-2"].map(|call| {
        let (verb, number) = call.split_once('-').unwrap();
        format!("{verb} {uid}-{number}")
    });
    assert_eq!(words, expected);
    assert_eq!(harness.shims(), 1);
}
