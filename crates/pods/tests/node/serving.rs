//! Logs and exec, as the API server asks for them.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::client::Client;
use super::harness::{Harness, pod_path, state};

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";

async fn with_pod(script: &str) -> Harness {
    let harness = Harness::start().await;
    harness.create_pod("a", json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "sealane.io/host", "command": ["sh", "-c", script]}],
    }));
    harness.wait_running("a").await;
    harness
}

#[tokio::test]
async fn only_masters_are_answered() {
    let harness = Harness::start().await;
    let (status, text) = Client::master(&harness).get("/healthz").await.unwrap();
    assert_eq!((status, text.as_str()), (200, "ok"));
    let (status, text) = Client::new(&harness, Some("system:nodes"))
        .get("/pods")
        .await
        .unwrap();
    assert_eq!(status, 403, "{text}");
    assert!(
        Client::new(&harness, None).get("/healthz").await.is_err(),
        "no certificate, no answer"
    );
}

#[tokio::test]
async fn refusals_say_why() {
    let harness = Harness::start().await;
    harness.create_pod(
        "b",
        json!({"containers": [{"name": "c", "image": "nginx"}]}),
    );
    let shelved = |pod: &Value| state(pod).1["reason"] == "ImagePullBackOff";
    harness.wait_for_pod("b", "held", shelved).await;
    let client = Client::master(&harness);
    let cases = [
        (
            "/containerLogs/default/none/c",
            404,
            "pod \"none\" in namespace \"default\" is not on this node",
        ),
        (
            "/containerLogs/default/b/x",
            400,
            "container x is not valid for pod b",
        ),
        (
            "/containerLogs/default/b/c",
            400,
            "container \"c\" in pod \"b\" is waiting to start: trying and failing to pull image: ImagePullBackOff",
        ),
        (
            "/containerLogs/default/b/c?previous=true",
            400,
            "previous terminated container \"c\" in pod \"b\" not found",
        ),
        (
            "/exec/default/b/c?command=ls&stdout=1",
            400,
            "this is served over WebSocket or SPDY/3.1: expected headers Connection: Upgrade and Upgrade: websocket (with Sec-WebSocket-Key) or SPDY/3.1",
        ),
        ("/nothing", 404, "there is no path /nothing here"),
    ];
    for (path, code, message) in cases {
        let (status, text) = client.get(path).await.unwrap();
        assert_eq!((status, text.as_str()), (code, message), "{path}");
    }
    let upgraded = [
        (
            "/exec/default/none/c?command=ls&stdout=1",
            "pod \"none\" in namespace \"default\" is not on this node",
        ),
        (
            "/exec/default/b/c?command=ls",
            "you must specify at least 1 of stdin, stdout, stderr",
        ),
        (
            "/exec/default/b/c?command=ls&stdout=1",
            "container \"c\" of pod \"b\" is not running: see kubectl describe pod b",
        ),
        (
            "/attach/default/b/c?stdout=1",
            "container \"c\" of pod \"b\" is not running: see kubectl describe pod b",
        ),
    ];
    for (path, message) in upgraded {
        let said = client.exec(path, V5).await.finish().await;
        assert_eq!(said.status["message"], message, "{path}");
        assert_eq!(said.status["status"], "Failure");
    }
    let (_, text) = client.get("/pods").await.unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list["items"][0]["metadata"]["name"], "b");
}

#[tokio::test]
async fn logs_are_read_from_the_end_and_followed_to_it() {
    let harness = with_pod(
        "for n in 1 2 3; do echo line $n; done; echo wrong >&2; exec cat /dev/zero > /dev/null",
    )
    .await;
    let client = Client::master(&harness);
    let path = "/containerLogs/default/a/c";
    harness.wait_for("four lines", |_| true).await;
    let mut text = String::new();
    while text.lines().count() < 4 {
        text = client.get(path).await.unwrap().1;
    }
    assert!(text.starts_with("line 1\nline 2\nline 3\n"), "{text}");
    assert_eq!(
        client.get(&format!("{path}?tailLines=0")).await.unwrap().1,
        ""
    );
    assert_eq!(
        client
            .get(&format!("{path}?tailLines=1"))
            .await
            .unwrap()
            .1
            .lines()
            .count(),
        1
    );
    assert_eq!(
        client.get(&format!("{path}?limitBytes=6")).await.unwrap().1,
        "line 1"
    );
    let stamped = client
        .get(&format!("{path}?timestamps=true&tailLines=1"))
        .await
        .unwrap()
        .1;
    assert!(
        stamped
            .split(' ')
            .next()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .is_ok(),
        "{stamped}"
    );

    let (_, text) = client.get("/stats/summary").await.unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let container = &summary["pods"][0]["containers"][0];
    let taken = |of: &Value| {
        let (cpu, memory) = (&of["cpu"], &of["memory"]);
        let cpu = cpu["usageCoreNanoSeconds"].as_u64().unwrap_or(0);
        cpu > 0 && memory["workingSetBytes"].as_u64() > Some(0)
    };
    assert_eq!(summary["pods"][0]["podRef"]["name"], "a");
    assert_eq!(container["name"], "c");
    let all = [container, &summary["pods"][0], &summary["node"]];
    assert!(all.into_iter().all(taken), "{text}");

    let followed = client
        .begin(&format!("{path}?follow=true&tailLines=2"))
        .await
        .unwrap();
    let followed =
        tokio::spawn(async move { followed.into_body().collect().await.unwrap().to_bytes() });
    harness.api.delete_gracefully(&pod_path("a"), 1);
    let followed = tokio::time::timeout(Duration::from_secs(20), followed).await;
    let followed = followed
        .expect("following ends with the container")
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&followed).lines().count(), 2);
}

#[tokio::test]
async fn followers_see_lines_as_they_are_written() {
    let harness =
        with_pod("while [ ! -e /tmp/go ]; do sleep 0.01; done; echo later; exec sleep 1000").await;
    let client = Client::master(&harness);
    let mut followed = client
        .begin("/containerLogs/default/a/c?follow=true")
        .await
        .unwrap()
        .into_body();
    let touched = client
        .exec(
            "/exec/default/a/c?command=touch&command=/tmp/go&stdout=1",
            V4,
        )
        .await;
    assert_eq!(touched.finish().await.status["status"], "Success");
    let frame = tokio::time::timeout(Duration::from_secs(20), followed.frame()).await;
    let frame = frame.expect("a line arrives").unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "later\n");
}

#[tokio::test]
async fn exec_carries_streams_and_exit_codes() {
    let harness = with_pod("exec sleep 1000").await;
    let client = Client::master(&harness);
    let script = "command=sh&command=-c&command=";
    let run = async |command: &str, streams: &str, protocol| {
        client
            .exec(
                &format!("/exec/default/a/c?{script}{command}&{streams}"),
                protocol,
            )
            .await
    };
    for protocol in [V4, V5] {
        let said = run(
            "echo+out;+echo+err+%3E%262;+exit+3",
            "stdout=1&stderr=1",
            protocol,
        )
        .await
        .finish()
        .await;
        assert_eq!(
            (said.stdout.as_str(), said.stderr.as_str()),
            ("out\n", "err\n")
        );
        assert_eq!(said.status["reason"], "NonZeroExitCode");
        let cause = json!([{"reason": "ExitCode", "message": "3"}]);
        assert_eq!(said.status["details"]["causes"], cause);
    }
    let said = run("true", "output=1", V4).await.finish().await;
    assert_eq!(said.status["status"], "Success");

    let mut cat = run("cat;+echo+end", "stdin=1&stdout=1", V5).await;
    cat.send(0, b"a line\n").await;
    cat.read_until("a line\n").await;
    cat.send(255, &[0]).await;
    let said = cat.finish().await;
    assert_eq!(
        (said.stdout.as_str(), &said.status["status"]),
        ("end\n", &json!("Success"))
    );

    let big = run("head+-c+3000000+/dev/zero", "stdout=1", V5)
        .await
        .finish()
        .await;
    assert_eq!(big.stdout.len(), 3_000_000);

    let missing = client
        .exec(
            "/exec/default/a/c?command=no-such-thing&stdout=1&stderr=1",
            V5,
        )
        .await;
    let missing = missing.finish().await;
    assert_eq!(
        missing.status["details"]["causes"][0]["message"], "127",
        "{missing:?}"
    );
    assert!(missing.stderr.contains("no-such-thing"), "{missing:?}");
}

#[tokio::test]
async fn a_terminal_has_the_clients_size() {
    let harness = with_pod("exec sleep 1000").await;
    let client = Client::master(&harness);
    let path = "/exec/default/a/c?command=sh&stdin=1&stdout=1&tty=1";
    let mut shell = client.exec(path, V5).await;
    shell.send(4, br#"{"Width":123,"Height":45}"#).await;
    shell
        .send(0, b"stty size; tty > /dev/null && echo is-a-$((1+1))-tty\n")
        .await;
    let said = shell.read_until("is-a-2-tty").await;
    assert!(said.stdout.contains("45 123"), "{said:?}");
    shell.send(0, b"exit 5\n").await;
    let said = shell.finish().await;
    assert_eq!(said.status["details"]["causes"][0]["message"], "5");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_command() {
    let harness = with_pod("exec sleep 1000").await;
    let client = Client::master(&harness);
    let path = "/exec/default/a/c?command=sh&command=-c&command=echo+$$;exec+sleep+12345&stdout=1";
    let mut running = client.exec(path, V5).await;
    running.read_until("\n").await;
    let runs = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let mut commands = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        commands.any(|command| command == b"sleep\x0012345\x00")
    };
    harness.wait_for("the command to run", |_| runs()).await;
    drop(running);
    harness.wait_for("the command to end", |_| !runs()).await;
}
