//! What a pod finds inside: the API by its service account, and settings that follow their objects.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use serde_json::json;

use sealane_testkit::pod::container_status;
use sealane_testkit::{Container, Finished, Pod, SOON, Shared, eventually};

/// Runs a script in a pod, by `kubectl exec`.
#[track_caller]
fn shell(cluster: &Shared, pod: &str, script: &str) -> Finished {
    cluster.kubectl(["exec", pod, "--", "sh", "-c", script])
}

/// The HTTP status of the answer, then the answer, of a program that knows only what every pod has.
const ASK: &str = "cd /var/run/secrets/kubernetes.io/serviceaccount && \
    curl -sS -w '\n%{http_code}' --cacert ca.crt -H \"Authorization: Bearer $(cat token)\" \
    https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/$(cat namespace)/pods";

#[test]
fn a_program_in_a_pod_speaks_to_the_api_as_its_service_account() {
    let cluster = Shared::cluster();
    cluster
        .kubectl(["create", "serviceaccount", "reader"])
        .succeeds();
    cluster.start(&[Pod::idle("asks").with("serviceAccountName", json!("reader"))]);
    let refused = shell(&cluster, "asks", ASK).succeeds();
    assert!(refused.ends_with("\n403"), "{refused}");
    let account = "--serviceaccount=default:reader";
    let binding = [
        "create",
        "rolebinding",
        "reader",
        "--clusterrole=view",
        account,
    ];
    cluster.kubectl(binding).succeeds();

    eventually(SOON, "the API to answer", || {
        let answer = shell(&cluster, "asks", ASK).succeeds();
        (answer.ends_with("\n200") && answer.contains("\"asks\"")).then_some(())
    });

    let bare = Pod::idle("bare").with("automountServiceAccountToken", json!(false));
    cluster.start(&[bare]);
    let absent = "test ! -e /var/run/secrets/kubernetes.io/serviceaccount/token";
    shell(&cluster, "bare", absent).succeeds();
}

#[test]
fn settings_follow_their_objects_into_a_running_pod() {
    let cluster = Shared::cluster();
    let settings = Container::host("main", ["sleep", "infinity"])
        .with(
            "volumeMounts",
            json!([
                {"name": "settings", "mountPath": "/settings"},
                {"name": "settings", "mountPath": "/once/colour", "subPath": "colour"},
                {"name": "all", "mountPath": "/all"},
                {"name": "memory", "mountPath": "/memory"},
            ]),
        )
        .with(
            "env",
            json!([
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
            ]),
        )
        .with("envFrom", json!([{"prefix": "SET_", "configMapRef": {"name": "settings"}}]))
        .with("resources", json!({"limits": {"cpu": "500m"}}));
    let pod = Pod::of("follows", [settings]).with(
        "volumes",
        json!([
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "all", "projected": {"defaultMode": 256, "sources": [
                {"secret": {"name": "login"}},
                {"downwardAPI": {"items": [
                    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                ]}},
            ]}},
        ]),
    );
    cluster.create(&[pod]);
    cluster.wait_pod("follows", "is told what it lacks", |_| {
        let events = cluster
            .kubectl(["events", "--for", "pod/follows"])
            .succeeds();
        let lack =
            "MountVolume.SetUp failed for volume \"settings\" : configmap \"settings\" not found";
        events.contains(lack).then_some(())
    });
    let map = [
        "create",
        "configmap",
        "settings",
        "--from-literal=colour=red",
    ];
    cluster.kubectl(map).succeeds();
    let secret = [
        "create",
        "secret",
        "generic",
        "login",
        "--from-literal=password=s3cret",
    ];
    cluster.kubectl(secret).succeeds();
    cluster
        .kubectl([
            "wait",
            "pod/follows",
            "--for=condition=Ready",
            "--timeout=30s",
        ])
        .succeeds();

    let seen = "cat /settings/colour /once/colour; echo; cat /all/password; \
                stat -L -c ' %a' /all/password; echo $PASSWORD $SET_colour $CPU; \
                stat -f -c %T /memory";
    assert_eq!(
        shell(&cluster, "follows", seen).succeeds(),
        "redred\ns3cret 400\ns3cret red 500\ntmpfs\n"
    );
    shell(&cluster, "follows", "touch /settings/x").fails();

    let patch = [
        "patch",
        "configmap",
        "settings",
        "-p",
        "{\"data\":{\"colour\":\"blue\"}}",
    ];
    cluster.kubectl(patch).succeeds();
    cluster
        .kubectl(["label", "pod", "follows", "size=big"])
        .succeeds();
    eventually(SOON, "both to arrive", || {
        let seen = "cat /settings/colour /once/colour; echo; cat /all/labels";
        let seen = shell(&cluster, "follows", seen).succeeds();
        (seen == "bluered\nsize=\"big\"").then_some(())
    });
}

#[test]
fn a_pod_serves_once_its_probe_says_so() {
    let cluster = Shared::cluster();
    let probed = |port: serde_json::Value| {
        let get = json!({"path": "/healthz", "port": port});
        Container::echo("web")
            .with("ports", json!([{"name": "web", "containerPort": 8080}]))
            .with(
                "readinessProbe",
                json!({"httpGet": get, "periodSeconds": 1}),
            )
            .with(
                "livenessProbe",
                json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1}),
            )
    };
    cluster.create(&[Pod::of("served", [probed(json!("web"))])]);
    cluster.create(&[Pod::of("unserved", [probed(json!(9))])]);
    let ready = [
        "wait",
        "pod/served",
        "--for=condition=Ready",
        "--timeout=30s",
    ];
    cluster.kubectl(ready).succeeds();
    cluster.wait_pod("unserved", "is told why it is not ready", |pod| {
        let events = ["events", "--for", "pod/unserved"];
        let events = cluster.kubectl(events).succeeds();
        let told = ":9: connect: connection refused";
        let running = container_status(pod, "web")?;
        (events.contains(told) && running["ready"] == false && running["started"] == true)
            .then_some(())
    });
}
