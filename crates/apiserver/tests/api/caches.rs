//! Caches of `kube`: reflectors and watchers of metadata, also when their place is forgotten.

use std::collections::BTreeSet;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
    runtime::{reflector, watcher},
};
use serde_json::json;

use crate::harness::{EVENT_HISTORY, Server, within};

/// How many objects there are.
const OBJECTS: usize = 32;

fn named(number: usize) -> ConfigMap {
    let name = format!("m{number}");
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"of": "cache"}}})).unwrap()
}

async fn fill(maps: &Api<ConfigMap>) {
    for number in 0..OBJECTS {
        maps.create(&PostParams::default(), &named(number))
            .await
            .unwrap();
    }
}

/// More changes than the server remembers, and a deletion among them.
async fn change_more_than_is_kept(maps: &Api<ConfigMap>) {
    maps.delete("m0", &DeleteParams::default()).await.unwrap();
    let changes = (0..EVENT_HISTORY + 100).map(|value| {
        let name = format!("m{}", 1 + value % (OBJECTS - 1));
        let patch =
            Patch::Merge(json!({"metadata": {"annotations": {"value": value.to_string()}}}));
        let maps = maps.clone();
        async move { maps.patch(&name, &PatchParams::default(), &patch).await }
    });
    let mut changes = futures::stream::iter(changes).buffer_unordered(32);
    while let Some(changed) = changes.next().await {
        changed.unwrap();
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().labels("of=cache")
}

/// Reads until the watcher has listed.
async fn listed<K>(events: &mut (impl Stream<Item = watcher::Result<watcher::Event<K>>> + Unpin)) {
    within("the list", async {
        loop {
            match events.next().await.unwrap() {
                Ok(watcher::Event::InitDone) => return,
                Ok(_) => {}
                Err(cause) => eprintln!("watcher: {cause}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_cache_whose_place_is_forgotten_lists_again() {
    let mut server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    fill(&maps).await;
    let (reader, writer) = reflector::store();
    let mut events = reflector(writer, watcher(maps.clone(), config())).boxed();
    listed(&mut events).await;
    assert_eq!(reader.len(), OBJECTS);

    // Nobody reads meanwhile, and the connection is cut: the place that it knows is gone.
    server.kill_and_launch();
    change_more_than_is_kept(&maps).await;
    listed(&mut events).await;
    let known: BTreeSet<String> = reader.state().iter().map(|map| map.name_any()).collect();
    let wanted: BTreeSet<String> = (1..OBJECTS).map(|number| format!("m{number}")).collect();
    assert_eq!(known, wanted, "what was deleted meanwhile is gone");

    // And it goes on from there.
    maps.create(&PostParams::default(), &named(99))
        .await
        .unwrap();
    let next = within("the next event", events.next())
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(&next, watcher::Event::Apply(map) if map.name_any() == "m99"),
        "{next:?}"
    );
}

#[tokio::test]
async fn a_watcher_of_metadata_gets_that_and_no_more() {
    let mut server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    fill(&maps).await;
    for config in [config(), config().streaming_lists()] {
        let metadata: Api<PartialObjectMeta<ConfigMap>> =
            Api::default_namespaced(server.client().await);
        let mut events = watcher(metadata, config).boxed();
        listed(&mut events).await;
        server.kill_and_launch();
        let patch =
            Patch::Merge(json!({"data": {"a": "b"}, "metadata": {"annotations": {"x": "y"}}}));
        maps.patch("m1", &PatchParams::default(), &patch)
            .await
            .unwrap();
        let seen: PartialObjectMeta<ConfigMap> = within("the change", async {
            loop {
                match events.next().await.unwrap() {
                    Ok(watcher::Event::Apply(object)) => return object,
                    Ok(other) => panic!("resumed with {other:?}"),
                    Err(cause) => eprintln!("watcher: {cause}"),
                }
            }
        })
        .await;
        assert_eq!(
            (seen.name_any(), seen.annotations()["x"].as_str()),
            ("m1".into(), "y")
        );
        let back = Patch::Merge(json!({"metadata": {"annotations": {"x": null}}}));
        maps.patch("m1", &PatchParams::default(), &back)
            .await
            .unwrap();
    }
}
