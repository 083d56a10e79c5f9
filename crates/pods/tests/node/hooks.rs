//! Hooks, sidecars, messages and deadlines of real containers.

use std::fs;

use serde_json::{Value, json};

use super::harness::{Harness, pod_path, ready, restarts, state};

fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "sealane.io/host", "command": ["sh", "-c", script]})
}

/// What a container's first attempt wrote.
fn log(harness: &Harness, uid: &str, container: &str) -> String {
    let path = format!("logs/{container}/0.log");
    let path = harness.path("state/pods").join(uid).join(path);
    let text = fs::read_to_string(path).unwrap_or_default();
    let words = |line: &str| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned();
    text.lines().map(words).collect::<Vec<_>>().join(" ")
}

fn exec(script: &str) -> Value {
    json!({"exec": {"command": ["sh", "-c", script]}})
}

#[tokio::test]
async fn hooks_come_after_the_start_and_before_the_end() {
    let harness = Harness::start().await;
    let script = "trap 'cat /hooks > /told/hooks; exit 0' TERM; while :; do sleep 0.05; done";
    let mut first = container("c", script);
    first["lifecycle"] = json!({
        "postStart": exec("echo post >> /hooks"), "preStop": exec("sleep 0.2; echo pre >> /hooks"),
    });
    let told = tempfile::tempdir().unwrap();
    first["volumeMounts"] = json!([{"name": "told", "mountPath": "/told"}]);
    let volume = json!([{"name": "told", "hostPath": {"path": told.path()}}]);
    harness.create_pod(
        "a",
        json!({"terminationGracePeriodSeconds": 20, "containers": [first], "volumes": volume}),
    );
    harness.wait_running("a").await;
    harness.api.delete_gracefully(&pod_path("a"), 20);
    harness.wait_gone("a").await;
    let hooks = fs::read_to_string(told.path().join("hooks")).unwrap();
    assert_eq!(hooks, "post\npre\n");
}

#[tokio::test]
async fn a_container_whose_post_start_hook_fails_is_started_again() {
    let harness = Harness::start().await;
    let mut first = container("c", "exec sleep 1000");
    first["lifecycle"] = json!({"postStart": exec("exit 7")});
    harness.create_pod(
        "a",
        json!({"terminationGracePeriodSeconds": 0, "containers": [first]}),
    );
    harness
        .wait_for_pod("a", "restarted", |pod| restarts(pod) > 0)
        .await;
    let events = harness.api.events("a");
    for expected in [
        "FailedPostStartHook: PostStartHook failed",
        "Killing: FailedPostStartHook",
    ] {
        assert!(events.iter().any(|event| event == expected), "{events:?}");
    }
}

#[tokio::test]
async fn sidecars_serve_until_the_others_have_ended() {
    let harness = Harness::start().await;
    let mut sidecar = container(
        "s",
        "trap 'exit 5' TERM; touch /dev/shm/s; while :; do sleep 0.05; done",
    );
    sidecar["restartPolicy"] = "Always".into();
    sidecar["startupProbe"] =
        json!({"exec": {"command": ["test", "-e", "/dev/shm/s"]}, "periodSeconds": 1});
    let spec = json!({
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 10,
        "initContainers": [sidecar, container("i", "test -e /dev/shm/s")],
        "containers": [container("c", "until test -e /dev/shm/end; do sleep 0.05; done")],
    });
    let uid = harness.create_pod("a", spec);
    let pod = harness.wait_running("a").await;
    let init = &pod["status"]["initContainerStatuses"];
    assert_eq!(
        (&init[0]["ready"], &init[0]["started"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        init[1]["state"]["terminated"]["exitCode"], 0,
        "it saw the sidecar"
    );
    let shim = harness.shim_of(&uid).unwrap();
    let end = format!(
        "/proc/{shim}/root{}",
        harness
            .path("state/pods")
            .join(&uid)
            .join("shm/end")
            .display()
    );
    fs::write(end, "").unwrap();
    let done = |pod: &Value| pod["status"]["phase"] == "Succeeded";
    let pod = harness.wait_for_pod("a", "succeeded", done).await;
    let sidecar = &pod["status"]["initContainerStatuses"][0]["state"]["terminated"];
    assert_eq!(sidecar["exitCode"], 5, "it was asked to end: {pod:#}");
}

#[tokio::test]
async fn a_container_may_say_why_it_ended() {
    let harness = Harness::start().await;
    let mut quiet = container("b", "echo last words; exit 4");
    quiet["terminationMessagePolicy"] = "FallbackToLogsOnError".into();
    quiet["terminationMessagePath"] = "/dev/termination-log".into();
    let mut says = container("a", "echo disk full > /run/why; exit 3");
    says["terminationMessagePath"] = "/run/why".into();
    let spec = json!({"restartPolicy": "Never", "containers": [says, quiet]});
    harness.create_pod("a", spec);
    let failed = |pod: &Value| pod["status"]["phase"] == "Failed";
    let pod = harness.wait_for_pod("a", "failed", failed).await;
    let message = |index: usize| {
        pod["status"]["containerStatuses"][index]["state"]["terminated"]["message"].clone()
    };
    assert_eq!(message(0), "disk full\n");
    assert_eq!(message(1), "last words\n");
}

#[tokio::test]
async fn a_pod_that_takes_too_long_fails() {
    let harness = Harness::start().await;
    let script = "trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done";
    let spec = json!({
        "activeDeadlineSeconds": 2, "terminationGracePeriodSeconds": 10,
        "containers": [container("c", script)],
    });
    let uid = harness.create_pod("a", spec);
    let failed = |pod: &Value| pod["status"]["phase"] == "Failed";
    let pod = harness.wait_for_pod("a", "failed", failed).await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    assert!(!ready(&pod));
    assert_eq!(state(&pod).0, "terminated");
    assert_eq!(log(&harness, &uid, "c"), "asked");
}

#[tokio::test]
async fn a_pod_chooses_the_settings_of_its_own_namespaces() {
    let harness = Harness::start().await;
    let spec = |name: &str| {
        json!({
            "restartPolicy": "Never", "securityContext": {"sysctls": [{"name": name, "value": "7"}]},
            "containers": [container("c", "cat /proc/sys/net/ipv4/tcp_fin_timeout")],
        })
    };
    let uid = harness.create_pod("a", spec("net.ipv4.tcp_fin_timeout"));
    harness.create_pod("b", spec("kernel.msgmax"));
    let done = |pod: &Value| pod["status"]["phase"] == "Succeeded";
    harness.wait_for_pod("a", "done", done).await;
    assert_eq!(log(&harness, &uid, "c"), "7");
    let refused = "Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted";
    harness
        .wait_for_pod("b", "refused", |pod| pod["status"]["message"] == refused)
        .await;
}
