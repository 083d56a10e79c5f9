//! As `measure`, with 100,000 objects (`SEALANE_MEASURE_OBJECTS`) and a thousand watchers:
//! `SEALANE_BIN=target/sealane cargo test -p sealane-apiserver --test api -- --ignored --nocapture measure_many`.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
    client::Body,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    harness::{Server, within},
    measure::pod,
};

const AT_ONCE: usize = 64;
/// Objects of a page, as kubectl asks for them.
const PAGE: usize = 500;
const CONNECTIONS: usize = 10;
const WATCHERS: usize = 1_000;
const CHANGES: usize = 200;
/// Between two changes, so that each is seen before the next.
const APART: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement, not a test"]
async fn measure_many() {
    let objects = std::env::var("SEALANE_MEASURE_OBJECTS");
    let objects: usize = objects.map_or(100_000, |number| number.parse().unwrap());
    let mut server = Server::start();
    let client = server.client().await;
    fill(&client, objects).await;
    resident(&server, &format!("with {objects} pods"));
    pages(&client, objects).await;
    resident(&server, "after lists of all by pages");
    whole(&client).await;
    resident(&server, "after a list of all");
    watchers(&server).await;
    server.kill();
    let begin = Instant::now();
    server.launch();
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    maps.list(&ListParams::default().limit(1)).await.unwrap();
    let took = milliseconds(begin.elapsed());
    println!("start with {objects} pods to the first answer: {took:.0} ms");
    resident(&server, "after a start");
}

fn resident(server: &Server, when: &str) {
    println!("resident {when}: {:.1} MB", server.resident_mb());
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

async fn fill(client: &Client, objects: usize) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let begin = Instant::now();
    futures::stream::iter(0..objects)
        .map(|number| {
            let pods = pods.clone();
            async move { pods.create(&PostParams::default(), &pod(number)).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await
        .unwrap();
    let rate = objects as f64 / begin.elapsed().as_secs_f64();
    println!("durable pod creations, {AT_ONCE} at once: {rate:.0} a second");
}

async fn get(client: &Client, path: &str) -> String {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    client.request_text(request).await.unwrap()
}

async fn whole(client: &Client) {
    let begin = Instant::now();
    let text = get(client, "/api/v1/pods").await;
    let (took, bytes) = (milliseconds(begin.elapsed()), text.len() >> 20);
    println!("list of all at once: {took:.0} ms, {bytes} MB");
}

/// All of them, one page after the other, as informers and kubectl do it.
async fn pages(client: &Client, objects: usize) {
    let (begin, mut each, mut bytes) = (Instant::now(), Vec::new(), 0);
    let mut next = Some(String::new());
    while let Some(token) = next {
        let asked = Instant::now();
        let text = get(
            client,
            &format!("/api/v1/pods?limit={PAGE}&continue={token}"),
        )
        .await;
        each.push(asked.elapsed());
        bytes += text.len();
        next = continuation(&text);
    }
    assert_eq!(each.len(), objects.div_ceil(PAGE));
    let (all, bytes) = (milliseconds(begin.elapsed()), bytes >> 20);
    let (p50, p99) = quantiles(each);
    println!(
        "list of all by {PAGE}: {all:.0} ms, {bytes} MB; a page p50 {p50:.1} ms, p99 {p99:.1} ms"
    );
}

/// The token of the next page. Without decoding: that would be measured, too.
fn continuation(text: &str) -> Option<String> {
    let token = text.split_once("\"continue\":\"")?.1.split('"').next()?;
    (!token.is_empty()).then(|| token.to_owned())
}

fn quantiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: f64| {
        let rank = (share * times.len() as f64).ceil() as usize;
        milliseconds(times[rank.max(1) - 1])
    };
    (at(0.5), at(0.99))
}

/// From the request that changes an object to each of all watchers that is told.
async fn watchers(server: &Server) {
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let map = json!({"metadata": {"name": "watched"}, "data": {"k": "v"}});
    let map = serde_json::from_value(map).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    let (told, mut events) = mpsc::unbounded_channel();
    for _ in 0..CONNECTIONS {
        let client = server.client().await;
        for _ in 0..WATCHERS / CONNECTIONS {
            tokio::spawn(follow(client.clone(), told.clone()));
        }
    }
    for _ in 0..WATCHERS {
        within("the first event", events.recv()).await.unwrap();
    }
    resident(server, &format!("with {WATCHERS} watchers"));
    let (mut all, mut last) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let begin = Instant::now();
        let patch = Patch::Merge(json!({"data": {"k": change.to_string()}}));
        maps.patch("watched", &PatchParams::default(), &patch)
            .await
            .unwrap();
        for _ in 0..WATCHERS {
            let at: Instant = within("the event", events.recv()).await.unwrap();
            all.push(at - begin);
        }
        last.extend(all.last());
        tokio::time::sleep(APART).await;
    }
    let (p50, p99) = quantiles(all);
    println!("a change at each of {WATCHERS} watchers: p50 {p50:.1} ms, p99 {p99:.1} ms");
    let (p50, p99) = quantiles(last);
    println!("a change at the last of them: p50 {p50:.1} ms, p99 {p99:.1} ms");
}

/// Tells when each event comes; it is not decoded.
async fn follow(client: Client, told: mpsc::UnboundedSender<Instant>) {
    let path = "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0\
                &fieldSelector=metadata.name%3Dwatched";
    let request = http::Request::get(path).body(Body::empty()).unwrap();
    let mut body = client.send(request).await.unwrap().into_body();
    while let Some(Ok(frame)) = body.frame().await {
        let now = Instant::now();
        let bytes = frame.into_data().unwrap_or_default();
        for _ in bytes.iter().filter(|byte| **byte == b'\n') {
            // Nobody listens any more when all has been measured.
            if told.send(now).is_err() {
                return;
            }
        }
    }
}
