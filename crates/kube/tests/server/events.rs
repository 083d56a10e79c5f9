//! Events are written once and then counted.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use sealane_kube::events::{Recorder, Severity};
use serde_json::{Value, json};

use crate::scripted::{Reply, Scripted, Step};

const CREATE: &str = "POST /api/v1/namespaces/default/events?";
const COUNT: &str = "PATCH /api/v1/namespaces/default/events/a.";

fn written() -> Reply {
    Reply::Json(
        200,
        json!({"kind": "Event", "apiVersion": "v1", "metadata": {"name": "x"}, "involvedObject": {}}),
    )
}

fn pod() -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: Some("default".into()),
        name: Some("a".into()),
        uid: Some("u".into()),
        ..ObjectReference::default()
    }
}

/// The bodies of the first `count` requests, as soon as they have come.
async fn bodies(server: &Scripted, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.seen().len() < count {
        assert!(Instant::now() < deadline, "in time: {:?}", server.seen());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let seen = server.seen().into_iter();
    seen.map(|(_, body)| serde_json::from_str(&body).unwrap())
        .collect()
}

#[tokio::test]
async fn the_same_news_are_counted_on_the_event_that_exists() {
    let missing = json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "gone"});
    let server = Scripted::new(vec![
        Step(&[CREATE], written()),
        Step(&[COUNT], written()),
        // Expired in between: written anew.
        Step(&[COUNT], Reply::Json(404, missing)),
        Step(&[CREATE], written()),
        // Other news of the same pod.
        Step(&[CREATE], written()),
    ])
    .await;
    let recorder = Recorder::new(server.client.clone(), "sealane-test", "node-1");
    for _ in 0..3 {
        recorder.record(
            &pod(),
            Severity::Warning,
            "BackOff",
            "restarting failed container",
        );
    }
    recorder.record(&pod(), Severity::Normal, "Started", "container echo");

    let bodies = bodies(&server, 5).await;
    let first = &bodies[0];
    assert_eq!(first["involvedObject"]["uid"], "u");
    assert_eq!(first["type"], "Warning");
    assert_eq!(first["reason"], "BackOff");
    assert_eq!(first["count"], 1);
    assert_eq!(
        first["source"],
        json!({"component": "sealane-test", "host": "node-1"})
    );
    assert_eq!(first["firstTimestamp"], first["lastTimestamp"]);
    assert_eq!(bodies[1]["count"], 2);
    assert_eq!(bodies[3]["count"], 1);
    assert_eq!(bodies[4]["reason"], "Started");
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_loses_nothing() {
    let server = Scripted::new(vec![
        Step(&[CREATE], Reply::Cut),
        Step(
            &[CREATE],
            Reply::Json(503, json!({"kind": "Status", "code": 503})),
        ),
        Step(&[CREATE], written()),
    ])
    .await;
    let recorder = Recorder::new(server.client.clone(), "sealane-test", "node-1");
    recorder.record(&pod(), Severity::Normal, "Started", "container echo");
    assert_eq!(bodies(&server, 3).await[2]["reason"], "Started");
}
