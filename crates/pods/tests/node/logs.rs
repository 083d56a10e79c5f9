//! Logs that go on in another file.

use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::client::Client;
use super::harness::{Harness, state};

/// Files so short that each test has dozens of them.
const SHORT: [&str; 4] = [
    "--container-log-max-size",
    "8Ki",
    "--container-log-max-files",
    "1000",
];

fn shell(policy: &str, script: &str) -> Value {
    json!({
        "restartPolicy": policy, "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "sealane.io/host", "command": ["sh", "-c", script]}],
    })
}

fn numbers(from: u32, to: u32) -> String {
    (from..=to).map(|number| format!("{number}\n")).collect()
}

#[tokio::test]
async fn a_log_is_one_however_many_files_it_has() {
    let harness = Harness::start_with(&SHORT).await;
    let uid = harness.create_pod("a", shell("Never", "seq 5000"));
    let done = |pod: &Value| pod["status"]["phase"] == "Succeeded";
    harness.wait_for_pod("a", "done", done).await;
    let logs = harness.path("state/pods").join(uid).join("logs/c");
    assert!(std::fs::read_dir(logs).unwrap().count() > 10);

    let client = Client::master(&harness);
    let path = "/containerLogs/default/a/c";
    let get = async |query: &str| client.get(&format!("{path}?{query}")).await.unwrap().1;
    assert!(get("").await == numbers(1, 5000));
    assert!(get("follow=true").await == numbers(1, 5000));
    for lines in [0, 1, 2500, 4999, 5000, 9000] {
        let expected = numbers(5001 - lines.min(5000), 5000);
        let tail = get(&format!("tailLines={lines}")).await;
        assert!(tail == expected, "{lines}");
    }
    let timed = get("timestamps=true&tailLines=3000").await;
    let (time, first) = timed.lines().next().unwrap().split_once(' ').unwrap();
    assert_eq!(first, "2001");
    let since = get(&format!("sinceTime={time}")).await;
    assert!(since.ends_with(&numbers(2001, 5000)) && since.len() < numbers(1, 5000).len());
}

#[tokio::test]
async fn followers_go_from_file_to_file() {
    let harness = Harness::start_with(&SHORT).await;
    let script = "i=0; while [ $i -lt 40 ]; do seq $((i * 100 + 1)) $((i * 100 + 100)); i=$((i + 1)); sleep 0.01; done";
    harness.create_pod("a", shell("Never", script));
    let begun = |pod: &Value| ["running", "terminated"].contains(&state(pod).0.as_str());
    harness.wait_for_pod("a", "begun", begun).await;
    let client = Client::master(&harness);
    let path = "/containerLogs/default/a/c?follow=true";
    let followers = (0..3).map(|_| async {
        let response = client.begin(path).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    });
    for said in futures::future::join_all(followers).await {
        assert!(said == numbers(1, 4000), "{} bytes", said.len());
    }
}

#[tokio::test]
async fn the_log_before_a_crash_is_complete() {
    let harness = Harness::start_with(&SHORT).await;
    harness.create_pod("a", shell("OnFailure", "seq 3000; exit 3"));
    let crashing = |pod: &Value| state(pod).1["reason"] == "CrashLoopBackOff";
    harness.wait_for_pod("a", "in a crash loop", crashing).await;
    let path = "/containerLogs/default/a/c?previous=true";
    let (_, text) = Client::master(&harness).get(path).await.unwrap();
    assert!(text == numbers(1, 3000), "{} bytes", text.len());
}
