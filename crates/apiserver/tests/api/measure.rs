//! Measurements, of the binary that users run:
//! `SEALANE_BIN=target/sealane cargo test -p sealane-apiserver --test api -- --ignored --nocapture measure`.

use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams, WatchParams},
};
use serde_json::json;

use crate::harness::{Server, within};

const OBJECTS: usize = 10_000;
const WATCHERS: usize = 1_000;
const AT_ONCE: usize = 64;

/// Words that the texts of pods are made of.
const WORDS: u64 = 512;

/// A text that no other pod has: what is kept of it is not as short as of one letter many times.
fn text(pod: usize, bytes: usize) -> String {
    let (mut state, mut text) = (pod as u64 + 1, String::new());
    while text.len() < bytes {
        state = mixed(state);
        let mut word = mixed(state % WORDS);
        for _ in 0..3 + word % 7 {
            word = mixed(word);
            text.push(char::from(b'a' + (word % 26) as u8));
        }
        text.push(' ');
    }
    text.truncate(bytes);
    text
}

/// SplitMix64.
fn mixed(state: u64) -> u64 {
    let mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Of about 4 KB.
pub fn pod(number: usize) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": format!("pod-{number}"), "labels": {"app": format!("app-{}", number % 100)},
            // What `kubectl apply` and controllers add to a pod of an ordinary cluster.
            "annotations": {"note": text(number, 2_500)}},
        "spec": {
            "containers": [{
                "name": "main", "image": "sealane.io/echo", "ports": [{"containerPort": 8080}],
                "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}},
            }],
        },
    }))
    .unwrap()
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn measure() {
    let mut server = Server::start();
    let client = server.client().await;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    maps.list(&ListParams::default()).await.unwrap();
    println!("resident at rest: {:.1} MB", server.resident_mb());

    let begin = Instant::now();
    for number in 0..200 {
        let map = json!({"metadata": {"name": format!("m-{number}")}, "data": {"k": "v"}});
        maps.create(
            &PostParams::default(),
            &serde_json::from_value(map).unwrap(),
        )
        .await
        .unwrap();
    }
    let each = begin.elapsed() / 200;
    println!(
        "one durable write after the other: {:.2} ms each",
        each.as_secs_f64() * 1000.0
    );

    let begin = Instant::now();
    futures::stream::iter(0..OBJECTS)
        .map(|number| {
            let pods = pods.clone();
            async move { pods.create(&PostParams::default(), &pod(number)).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await
        .unwrap();
    let rate = OBJECTS as f64 / begin.elapsed().as_secs_f64();
    println!("durable pod creations, {AT_ONCE} at once: {rate:.0} a second");
    println!(
        "resident with {OBJECTS} pods: {:.1} MB",
        server.resident_mb()
    );

    let begin = Instant::now();
    let text = server.ok("get --raw /api/v1/pods");
    println!(
        "list of {OBJECTS} pods: {:.0} ms, {} MB (with the start of kubectl)",
        begin.elapsed().as_secs_f64() * 1000.0,
        text.len() >> 20
    );
    println!("resident after it: {:.1} MB", server.resident_mb());

    let mut streams = Vec::new();
    for _ in 0..WATCHERS / 100 {
        // A connection for each hundred watchers.
        let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
        for _ in 0..100 {
            let params = WatchParams::default().fields("metadata.name=m-0");
            streams.push(maps.watch(&params, "0").await.unwrap().boxed());
        }
    }
    for stream in &mut streams {
        within("the first event", stream.next())
            .await
            .unwrap()
            .unwrap();
    }
    println!(
        "resident with {WATCHERS} watchers: {:.1} MB",
        server.resident_mb()
    );
    let begin = Instant::now();
    let change = Patch::Merge(json!({"data": {"k": "w"}}));
    maps.patch("m-0", &PatchParams::default(), &change)
        .await
        .unwrap();
    for stream in &mut streams {
        within("the event", stream.next()).await.unwrap().unwrap();
    }
    println!(
        "a change at all {WATCHERS} watchers: {:.0} ms",
        begin.elapsed().as_secs_f64() * 1000.0
    );
    drop(streams);

    server.kill();
    let begin = Instant::now();
    server.launch();
    let found = maps.list(&ListParams::default().limit(1)).await.unwrap();
    println!(
        "start with {OBJECTS} pods to the first answer: {:.0} ms",
        begin.elapsed().as_secs_f64() * 1000.0
    );
    assert_eq!(found.items.len(), 1);
    println!("resident after a start: {:.1} MB", server.resident_mb());
}

/// Server-side apply, and what the entries that say who owns what cost.
#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn measure_apply() {
    let server = Server::start();
    let client = server.client().await;
    let pods: Api<Pod> = Api::default_namespaced(client);
    let config = |number: usize, image: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("pod-{number}"), "labels": {"app": "web"}},
            "spec": {"containers": [{
                "name": "main", "image": image, "ports": [{"containerPort": 8080}],
                "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}},
            }]},
        })
    };
    let params = PatchParams::apply("bench").force();
    for (what, image) in [("made", "a"), ("unchanged", "a"), ("changed", "b")] {
        let begin = Instant::now();
        futures::stream::iter(0..OBJECTS / 10)
            .map(|number| {
                let (pods, params, patch) = (&pods, &params, Patch::Apply(config(number, image)));
                async move { pods.patch(&format!("pod-{number}"), params, &patch).await }
            })
            .buffer_unordered(AT_ONCE)
            .try_for_each(|_| async { Ok(()) })
            .await
            .unwrap();
        let rate = (OBJECTS / 10) as f64 / begin.elapsed().as_secs_f64();
        println!("server-side applies, {AT_ONCE} at once, pods {what}: {rate:.0} a second");
    }
    let begin = Instant::now();
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"});
    let patch = Patch::Strategic(json!({ "status": ready }));
    futures::stream::iter(0..OBJECTS / 10)
        .map(|number| {
            let (pods, patch) = (&pods, &patch);
            let name = format!("pod-{number}");
            async move {
                pods.patch_status(&name, &PatchParams::default(), patch)
                    .await
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await
        .unwrap();
    let rate = (OBJECTS / 10) as f64 / begin.elapsed().as_secs_f64();
    println!("patches of a status, {AT_ONCE} at once: {rate:.0} a second");
    let pod: serde_json::Value =
        serde_json::from_str(&server.ok("get --raw /api/v1/namespaces/default/pods/pod-0"))
            .unwrap();
    let mut bare = pod.clone();
    bare["metadata"]["managedFields"].take();
    println!(
        "a pod: {} bytes, {} without managed fields",
        pod.to_string().len(),
        bare.to_string().len()
    );
    println!("resident: {:.1} MB", server.resident_mb());
}
