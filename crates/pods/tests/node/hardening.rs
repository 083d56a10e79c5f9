//! Security, sharing and limits of pods, as their status shows them.

use serde_json::{Value, json};

use super::client::Client;
use super::harness::{Harness, pod_path, restarts, state};

/// A pod that runs a script once.
fn script(script: &str, fields: Value) -> Value {
    let mut spec = json!({
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "sealane.io/host", "command": ["sh", "-c", script]}],
    });
    let fields = fields.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(fields);
    spec
}

fn ended(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default())
}

async fn log(harness: &Harness, pod: &str) -> String {
    let path = format!("/containerLogs/default/{pod}/c");
    Client::master(harness).get(&path).await.unwrap().1
}

async fn wait_event(harness: &Harness, pod: &str, text: &str) {
    let what = format!("the event {text:?} about {pod}");
    let told = |events: Vec<String>| events.iter().any(|event| event.contains(text));
    harness.wait_for(&what, |api| told(api.events(pod))).await;
}

#[tokio::test]
async fn seccomp_profiles_are_the_pods_the_containers_or_the_nodes() {
    let harness = Harness::start().await;
    let unshare = "unshare -U true && echo free || echo confined";
    let default = json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}});
    harness.create_pod("a", script(unshare, default.clone()));
    let mut free = script(unshare, default);
    free["containers"][0]["securityContext"] = json!({"seccompProfile": {"type": "Unconfined"}});
    harness.create_pod("b", free);
    for (pod, expected) in [("a", "confined\n"), ("b", "free\n")] {
        harness.wait_for_pod(pod, "done", ended).await;
        assert!(log(&harness, pod).await.ends_with(expected), "{pod}");
    }
    let local = json!({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}}});
    harness.create_pod("c", script("mkdir /x || echo no", local));
    let held = |pod: &Value| state(pod).1["reason"] == "CreateContainerConfigError";
    let pod = harness.wait_for_pod("c", "held", held).await;
    let message = state(&pod).1["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("cannot load seccomp profile"),
        "{message}"
    );
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    std::fs::create_dir_all(harness.path("state/seccomp")).unwrap();
    std::fs::write(harness.path("state/seccomp/p.json"), profile).unwrap();
    harness.wait_for_pod("c", "done", ended).await;
    let said = log(&harness, "c").await;
    assert!(
        said.contains("no\n") && said.contains("not permitted"),
        "{said}"
    );
}

#[tokio::test]
async fn forbidden_sysctls_turn_a_pod_away() {
    let harness =
        Harness::start_with(&["--allowed-unsafe-sysctls", "net.core.*,kernel.msgmax"]).await;
    let asks =
        |name: &str| json!({"securityContext": {"sysctls": [{"name": name, "value": "1000"}]}});
    harness.create_pod("a", script("true", asks("vm.swappiness")));
    let pod = harness.wait_for_pod("a", "failed", ended).await;
    let why = "forbidden sysctl: \"vm.swappiness\" not allowlisted";
    assert_eq!(pod["status"]["reason"], "SysctlForbidden");
    assert_eq!(pod["status"]["message"], format!("Pod was rejected: {why}"));
    assert_eq!(pod["status"]["containerStatuses"], Value::Null);
    wait_event(&harness, "a", &format!("SysctlForbidden: {why}")).await;
    harness.create_pod(
        "b",
        script(
            "cat /proc/sys/net/core/somaxconn",
            asks("net.core.somaxconn"),
        ),
    );
    harness.wait_for_pod("b", "done", ended).await;
    assert_eq!(log(&harness, "b").await, "1000\n");
    harness.api.delete_gracefully(&pod_path("a"), 0);
    harness.wait_gone("a").await;
}

#[tokio::test]
async fn a_container_whose_image_changes_is_started_again() {
    let harness = Harness::start().await;
    let mut spec = script("exec sleep 1000", json!({}));
    spec["containers"][0]["command"] = json!(["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]);
    harness.create_pod("a", spec.clone());
    harness.wait_running("a").await;
    spec["containers"][0]["image"] = "sealane.io/host:latest".into();
    spec["nodeName"] = "node-1".into();
    harness.api.patch(&pod_path("a"), &json!({"spec": spec}));
    let again = |pod: &Value| restarts(pod) == 1 && state(pod).0 == "running";
    let pod = harness.wait_for_pod("a", "started again", again).await;
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["image"], "sealane.io/host:latest");
    assert_eq!(
        status["lastState"]["terminated"]["exitCode"], 0,
        "it was asked to end"
    );
    wait_event(
        &harness,
        "a",
        "Killing: Container c definition changed, will be restarted",
    )
    .await;
}

#[tokio::test]
async fn an_image_that_is_not_there_may_be_replaced() {
    let harness = Harness::start().await;
    let mut spec = script("exec sleep 1000", json!({}));
    spec["containers"][0]["image"] = "nowhere.example/none:1".into();
    harness.create_pod("a", spec.clone());
    let held = |pod: &Value| {
        let reason = state(pod).1["reason"].clone();
        ["ErrImagePull", "ImagePullBackOff"].contains(&reason.as_str().unwrap_or_default())
    };
    harness.wait_for_pod("a", "held", held).await;
    spec["containers"][0]["image"] = "sealane.io/host".into();
    spec["nodeName"] = "node-1".into();
    harness.api.patch(&pod_path("a"), &json!({"spec": spec}));
    let pod = harness.wait_running("a").await;
    assert_eq!(restarts(&pod), 0);
}

#[tokio::test]
async fn a_volume_that_grows_too_large_evicts_its_pod() {
    let harness = Harness::start().await;
    let volume = json!([{"name": "v", "emptyDir": {"sizeLimit": "64Ki"}}]);
    let mut spec = script(
        "head -c 1000000 /dev/zero > /v/file; exec sleep 1000",
        json!({"volumes": volume, "restartPolicy": "Always"}),
    );
    spec["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    harness.create_pod("a", spec);
    let pod = harness.wait_for_pod("a", "failed", ended).await;
    assert_eq!(pod["status"]["reason"], "Evicted");
    let why = "Usage of EmptyDir volume \"v\" exceeds the limit \"64Ki\". ";
    assert_eq!(pod["status"]["message"], why);
    wait_event(&harness, "a", &format!("Evicted: {}", why.trim_end())).await;
}

#[tokio::test]
async fn containers_have_restart_policies_of_their_own() {
    let harness = Harness::start().await;
    let volume = json!([{"name": "v", "emptyDir": {}}]);
    let mut spec = script(
        "[ -e /v/again ] && exit 7; touch /v/again; exit 42",
        json!({"volumes": volume}),
    );
    let container = &mut spec["containers"][0];
    container["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    container["restartPolicy"] = "Never".into();
    container["restartPolicyRules"] =
        json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    harness.create_pod("a", spec);
    let pod = harness.wait_for_pod("a", "ended", ended).await;
    assert_eq!((restarts(&pod), &state(&pod).1["exitCode"]), (1, &json!(7)));
}

#[tokio::test]
async fn namespaces_are_shared_as_the_pod_says() {
    let harness = Harness::start_with(&["--pod-max-pids", "50"]).await;
    let processes = "cat /proc/1/comm";
    harness.create_pod(
        "a",
        script(processes, json!({"shareProcessNamespace": true})),
    );
    harness.create_pod(
        "b",
        script(processes, json!({"hostPID": true, "hostIPC": true})),
    );
    harness.wait_for_pod("a", "done", ended).await;
    harness.wait_for_pod("b", "done", ended).await;
    assert!(log(&harness, "a").await.starts_with("pause\n"));
    let first = std::fs::read_to_string("/proc/1/comm").unwrap();
    assert!(log(&harness, "b").await.starts_with(&first));
    // Each forks more than the pod may have.
    let forks = "for i in $(seq 80); do sleep 100 & done; echo all";
    harness.create_pod("forks", script(forks, json!({})));
    harness.wait_for_pod("forks", "done", ended).await;
    let said = log(&harness, "forks").await;
    assert!(said.contains("Cannot fork"), "{said}");
}
