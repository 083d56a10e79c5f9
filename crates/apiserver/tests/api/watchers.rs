//! Watches: what `kube` sees, also across a restart of the server.

use std::collections::BTreeMap;

use futures::{AsyncBufReadExt as _, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::watcher,
};
use serde_json::json;

use crate::harness::{EVENT_HISTORY, Server, within};

fn map(name: &str, value: usize) -> ConfigMap {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"even": value.is_multiple_of(2).to_string()}},
        "data": {"value": value.to_string()},
    }))
    .unwrap()
}

#[tokio::test]
async fn a_watch_resumes_where_the_server_was_killed() {
    let mut server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let first = maps
        .create(&PostParams::default(), &map("m", 0))
        .await
        .unwrap();
    let version = first.metadata.resource_version.unwrap();
    for value in 1..=3 {
        maps.replace("m", &PostParams::default(), &map("m", value))
            .await
            .unwrap();
    }
    server.kill_and_launch();
    maps.delete("m", &DeleteParams::default()).await.unwrap();
    let events = maps
        .watch(&WatchParams::default().timeout(10), &version)
        .await
        .unwrap();
    let seen: Vec<String> = within("all events", events.take(4).try_collect::<Vec<_>>())
        .await
        .unwrap()
        .into_iter()
        .map(|event| match event {
            WatchEvent::Modified(map) => map.data.unwrap()["value"].clone(),
            WatchEvent::Deleted(_) => "gone".into(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, ["1", "2", "3", "gone"]);
}

/// The state as a watcher knows it.
#[derive(Default)]
struct Known(BTreeMap<String, String>);

impl Known {
    /// Of maps that this test has made: each namespace has one of its own.
    fn take(&mut self, event: watcher::Event<ConfigMap>) {
        let pair = |map: ConfigMap| {
            (
                map.metadata.name.unwrap(),
                map.data
                    .unwrap_or_default()
                    .remove("value")
                    .unwrap_or_default(),
            )
        };
        match event {
            watcher::Event::Init => self.0.clear(),
            watcher::Event::Apply(map) | watcher::Event::InitApply(map) => {
                let (name, value) = pair(map);
                if name != "kube-root-ca.crt" {
                    self.0.insert(name, value);
                }
            }
            watcher::Event::Delete(map) => {
                self.0.remove(&pair(map).0);
            }
            watcher::Event::InitDone => {}
        }
    }
}

async fn follow_through_restarts(config: watcher::Config) {
    let mut server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let mut events = Box::pin(watcher::watcher(maps.clone(), config));
    let mut known = Known::default();
    for round in 0..3 {
        for value in 0..10 {
            let name = format!("m{value}");
            let wanted = map(&name, round * 100 + value);
            let patch = PatchParams::default();
            if maps.get_opt(&name).await.unwrap().is_none() {
                maps.create(&PostParams::default(), &wanted).await.unwrap();
            } else {
                maps.patch(&name, &patch, &Patch::Merge(&wanted))
                    .await
                    .unwrap();
            }
        }
        if round == 1 {
            maps.delete("m9", &DeleteParams::default()).await.unwrap();
        }
        let wanted: BTreeMap<String, String> = maps
            .list(&Default::default())
            .await
            .unwrap()
            .into_iter()
            .filter_map(|map| Some((map.metadata.name?, map.data?.remove("value")?)))
            .collect();
        within("the watcher to know everything", async {
            while known.0 != wanted {
                match events.next().await.unwrap() {
                    Ok(event) => known.take(event),
                    Err(cause) => eprintln!("watcher: {cause}"),
                }
            }
        })
        .await;
        server.kill_and_launch();
    }
}

#[tokio::test]
async fn watchers_that_list_first_follow_through_restarts() {
    follow_through_restarts(watcher::Config::default()).await;
}

#[tokio::test]
async fn watchers_that_stream_their_list_follow_through_restarts() {
    follow_through_restarts(watcher::Config::default().streaming_lists()).await;
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let params = WatchParams::default().labels("even=true").timeout(10);
    let mut events = maps.watch(&params, "0").await.unwrap().boxed();
    for value in 0..4 {
        if value == 0 {
            maps.create(&PostParams::default(), &map("m", value))
                .await
                .unwrap();
        } else {
            maps.replace("m", &PostParams::default(), &map("m", value))
                .await
                .unwrap();
        }
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        let event = within("an event", events.next()).await.unwrap().unwrap();
        seen.push(match event {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            _ => "other",
        });
    }
    assert_eq!(seen, ["added", "deleted", "added", "deleted"]);
}

#[tokio::test]
async fn a_place_that_is_forgotten_is_gone() {
    let server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    // The log keeps a bounded number of events; the first revisions are soon none of them.
    let mut writes = futures::stream::iter(0..EVENT_HISTORY + 100)
        .map(|value| {
            let maps = maps.clone();
            async move {
                let name = format!("m{}", value % 64);
                let patch = Patch::Merge(json!({"data": {"value": value.to_string()}}));
                maps.patch(&name, &PatchParams::default(), &patch).await
            }
        })
        .buffer_unordered(64);
    for value in 0..64 {
        maps.create(&PostParams::default(), &map(&format!("m{value}"), 0))
            .await
            .unwrap();
    }
    while let Some(written) = writes.next().await {
        written.unwrap();
    }
    let events = maps
        .watch(&WatchParams::default().timeout(10), "5")
        .await
        .unwrap();
    let first = within("an event", events.boxed().next())
        .await
        .unwrap()
        .unwrap();
    match first {
        WatchEvent::Error(status) => {
            assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
            assert!(
                status.message.starts_with("too old resource version: 5 ("),
                "{}",
                status.message
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_registers_itself_and_reports_and_gets_pods() {
    let server = Server::start();
    let client = server.client().await;
    let nodes: Api<Node> = Api::all(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client);
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": "node-1"},
        "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]},
    }))
    .unwrap();
    let made = nodes.create(&PostParams::default(), &node).await.unwrap();
    assert_eq!(
        made.status.unwrap().addresses.unwrap()[0].address,
        "127.0.0.1"
    );
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    nodes
        .patch_status("node-1", &PatchParams::default(), &Patch::Strategic(ready))
        .await
        .unwrap();
    let cidrs = json!({"spec": {"podCIDRs": ["10.244.1.0/24"]}});
    let node = nodes
        .patch("node-1", &PatchParams::default(), &Patch::Merge(cidrs))
        .await
        .unwrap();
    assert_eq!(
        node.spec.unwrap().pod_cidr.as_deref(),
        Some("10.244.1.0/24")
    );
    assert_eq!(node.status.unwrap().conditions.unwrap().len(), 1);

    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "finalizers": ["example.com/hold"]},
        "spec": {"containers": [{"name": "c", "image": "x"}], "terminationGracePeriodSeconds": 7},
    }))
    .unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let mut mine = pods
        .watch(
            &WatchParams::default()
                .fields("spec.nodeName=node-1")
                .timeout(10),
            "0",
        )
        .await
        .unwrap()
        .boxed();
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "node-1"}});
    let post = PostParams::default();
    let bind = || pods.create_subresource::<_, serde_json::Value>("binding", "p", &post, &binding);
    bind().await.unwrap();
    let again = bind().await.unwrap_err();
    assert!(
        again
            .to_string()
            .contains("pod p is already assigned to node \\\"node-1\\\"")
            || again.to_string().contains("already assigned"),
        "{again}"
    );
    let event = within("the pod", mine.next()).await.unwrap().unwrap();
    assert!(
        matches!(&event, WatchEvent::Added(pod) if pod.metadata.name.as_deref() == Some("p")),
        "{event:?}"
    );

    let deleted = pods.delete("p", &DeleteParams::default()).await.unwrap();
    let pod = deleted.left().expect("a pod that has to end first");
    assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(7));
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    pods.delete("p", &now).await.unwrap();
    assert!(
        pods.get_opt("p").await.unwrap().is_some(),
        "the finalizer holds it"
    );
    let free = json!({"metadata": {"finalizers": null}});
    pods.patch("p", &PatchParams::default(), &Patch::Merge(free))
        .await
        .unwrap();
    assert!(pods.get_opt("p").await.unwrap().is_none());
}

/// The number of events that the server has encoded for watchers.
fn encodings(server: &Server) -> u64 {
    let socket = server.path().join("debug.sock");
    let answer = sealane_introspect::fetch(&socket, "GET", "/metrics").unwrap();
    let line = answer
        .body
        .lines()
        .find(|line| line.starts_with("sealane_apiserver_watch_encodings_total"));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_thousand_watchers_cost_one_encoding_of_each_event_in_each_form() {
    const EACH: usize = 1000;
    const TABLES: usize = 50;
    const CHANGES: usize = 5;
    let server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let (post, first) = (PostParams::default(), map("m", 0));
    let made = within("a write", maps.create(&post, &first)).await;
    let version = made.unwrap().metadata.resource_version.unwrap();
    let mut plain = Vec::new();
    for _ in 0..EACH {
        let params = WatchParams::default().fields("metadata.name=m");
        plain.push(maps.watch(&params, &version).await.unwrap().boxed());
    }
    let client = server.client().await;
    let mut others = Vec::new();
    for accept in [
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ] {
        for _ in 0..TABLES {
            let path = format!(
                "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion={version}\
                 &fieldSelector=metadata.name=m"
            );
            let request = http::Request::get(path).header("accept", accept);
            let request = request.body(Vec::new()).unwrap();
            let lines = client.request_stream(request).await.unwrap().lines();
            others.push(Box::pin(lines));
        }
    }
    let before = encodings(&server);
    for value in 1..=CHANGES {
        let patch = Patch::Merge(json!({"data": {"value": value.to_string()}}));
        let params = PatchParams::default();
        let patched = within("a write", maps.patch("m", &params, &patch)).await;
        patched.unwrap();
    }
    for events in &mut plain {
        for value in 1..=CHANGES {
            match within("an event", events.next()).await.unwrap().unwrap() {
                WatchEvent::Modified(map) => {
                    assert_eq!(map.data.unwrap()["value"], value.to_string());
                }
                other => panic!("{other:?}"),
            }
        }
    }
    for lines in &mut others {
        for _ in 0..CHANGES {
            let line = within("an event", lines.next()).await.unwrap().unwrap();
            assert!(line.starts_with("{\"object\":"), "{line}");
        }
    }
    // As they are, with metadata only, as a table; and the first row of a table describes the
    // columns, which no later one does.
    assert_eq!(encodings(&server) - before, 3 * CHANGES as u64);
}
