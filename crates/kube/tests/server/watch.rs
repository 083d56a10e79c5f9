//! A watch hides every disconnection and misses nothing.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use sealane_kube::{Api, Change, Filter, watch_as};
use serde_json::{Value, json};

use crate::scripted::{Reply, Scripted, Step};

const LIST: &str = "GET /api/v1/namespaces/default/configmaps?";

fn object(name: &str, version: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
           "metadata": {"name": name, "namespace": "default", "resourceVersion": version.to_string()}})
}

fn list(version: u32, names: &[&str]) -> Reply {
    let items: Vec<_> = names.iter().map(|name| object(name, version)).collect();
    let metadata = json!({"resourceVersion": version.to_string()});
    Reply::Json(
        200,
        json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": items}),
    )
}

fn event(kind: &str, name: &str, version: u32) -> Value {
    json!({"type": kind, "object": object(name, version)})
}

fn changes(server: &Scripted, filter: &Filter) -> impl Stream<Item = String> + use<> {
    let api: Api<ConfigMap> = Api::namespaced(server.client.clone(), "default");
    watch_as(api, filter, |_| ()).map(|change| match change {
        Change::Reset(all) => {
            let names: Vec<_> = all.into_iter().map(|(name, ())| name.to_string()).collect();
            format!("all: {}", names.join(" "))
        }
        Change::Applied(name, ()) => format!("applied {name}"),
        Change::Deleted(name, ()) => format!("deleted {name}"),
    })
}

async fn expect(server: &Scripted, filter: &Filter, expected: &[&str]) {
    let mut changes = pin!(changes(server, filter));
    for expected in expected {
        let change = tokio::time::timeout(Duration::from_secs(10), changes.next()).await;
        assert_eq!(
            change.expect("in time").as_deref(),
            Some(*expected),
            "{:?}",
            server.seen()
        );
    }
}

#[tokio::test]
async fn a_cut_watch_goes_on_from_the_last_version_that_was_seen() {
    let server = Scripted::new(vec![
        Step(&[LIST], list(5, &["a"])),
        Step(
            &[LIST, "watch=true", "resourceVersion=5"],
            Reply::CutAfter(vec![event("ADDED", "b", 6)]),
        ),
        // The server is away: two attempts come to nothing.
        Step(&["resourceVersion=6"], Reply::Cut),
        Step(
            &["resourceVersion=6"],
            Reply::Json(503, json!({"kind": "Status", "code": 503})),
        ),
        Step(
            &[LIST, "watch=true", "resourceVersion=6"],
            Reply::HoldAfter(vec![event("MODIFIED", "a", 7), event("DELETED", "b", 8)]),
        ),
    ])
    .await;
    let expected = [
        "all: default/a",
        "applied default/b",
        "applied default/a",
        "deleted default/b",
    ];
    expect(&server, &Filter::all(), &expected).await;
}

#[tokio::test]
async fn a_version_that_is_too_old_leads_to_a_new_full_set() {
    let gone = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
    let server = Scripted::new(vec![
        Step(&[LIST], list(5, &["a", "b"])),
        Step(
            &["resourceVersion=5"],
            Reply::CutAfter(vec![json!({"type": "ERROR", "object": gone})]),
        ),
        Step(&[LIST], list(90, &["b"])),
        Step(
            &["resourceVersion=90"],
            Reply::HoldAfter(vec![event("ADDED", "c", 91)]),
        ),
    ])
    .await;
    let expected = [
        "all: default/a default/b",
        "all: default/b",
        "applied default/c",
    ];
    expect(&server, &Filter::all(), &expected).await;
}

#[tokio::test]
async fn a_server_that_is_not_up_yet_is_waited_for_and_bookmarks_count() {
    let bookmark = json!({"type": "BOOKMARK", "object": object("", 40)});
    let server = Scripted::new(vec![
        Step(&[LIST], Reply::Cut),
        Step(
            &[LIST],
            Reply::Json(503, json!({"kind": "Status", "code": 503})),
        ),
        Step(&[LIST], list(5, &[])),
        Step(&["resourceVersion=5"], Reply::CutAfter(vec![bookmark])),
        Step(
            &["resourceVersion=40"],
            Reply::HoldAfter(vec![event("ADDED", "a", 41)]),
        ),
    ])
    .await;
    expect(&server, &Filter::all(), &["all: ", "applied default/a"]).await;
}

#[tokio::test]
async fn the_filter_is_sent_with_every_request() {
    let filter = Filter::fields("metadata.name=a");
    const PART: &str = "fieldSelector=metadata.name%3Da";
    let server = Scripted::new(vec![
        Step(&[LIST, PART], list(5, &["a"])),
        Step(
            &[LIST, PART, "watch=true"],
            Reply::HoldAfter(vec![event("MODIFIED", "a", 6)]),
        ),
    ])
    .await;
    expect(&server, &filter, &["all: default/a", "applied default/a"]).await;
}

#[tokio::test]
async fn a_server_that_stays_away_is_asked_less_and_less_often() {
    let server = Scripted::new(vec![
        Step(&[LIST], Reply::Cut),
        Step(&[LIST], Reply::Cut),
        Step(&[LIST], Reply::Cut),
        Step(&[LIST], list(5, &["a"])),
    ])
    .await;
    let started = Instant::now();
    expect(&server, &Filter::all(), &["all: default/a"]).await;
    let pauses = Duration::from_millis(50 + 100 + 200);
    assert!(started.elapsed() >= pauses, "{:?}", started.elapsed());
}
