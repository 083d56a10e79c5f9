//! The ConfigMaps of a cluster, from an API server that is a function.

use std::convert::Infallible;
use std::sync::Mutex;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{StreamExt, future};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What is in the cluster, and what happens to it.
#[derive(Default)]
struct Api {
    /// ConfigMap `coredns` as it is listed.
    corefile: Option<String>,
    /// Who watches it.
    watchers: Vec<UnboundedSender<Bytes>>,
    /// Bodies of Events.
    events: Vec<Value>,
}

#[derive(Clone, Default)]
struct Server(Arc<Mutex<Api>>);

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Reply {
        let uri = request.uri().to_string();
        let has = |part: &str| uri.contains(part);
        if has("/events") {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let event = serde_json::from_slice(&body).unwrap();
            self.0.lock().unwrap().events.push(event);
            return whole(&json!({"metadata": {"name": "x"}}));
        }
        let is_coredns = !has("coredns-custom");
        let mut api = self.0.lock().unwrap();
        if has("watch=") {
            let (sender, events) = unbounded();
            if is_coredns {
                api.watchers.push(sender);
                return stream(events);
            }
            return stream(futures::stream::pending());
        }
        let text = api.corefile.clone().filter(|_| is_coredns);
        let items: Vec<Value> = text.iter().map(|text| config_map(text)).collect();
        whole(&json!({
            "apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "1"}, "items": items,
        }))
    }

    /// The ConfigMap is written.
    fn write(&self, text: &str) {
        let event = json!({"type": "MODIFIED", "object": config_map(text)});
        let line = Bytes::from(format!("{event}\n"));
        let watchers = self.0.lock().unwrap().watchers.clone();
        for watcher in watchers {
            // Who has gone sees it in the next list.
            let _gone = watcher.unbounded_send(line.clone());
        }
    }
}

fn config_map(text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "kube-system", "name": "coredns", "uid": "u", "resourceVersion": "2"},
        "data": {"Corefile": text},
    })
}

fn whole(value: &Value) -> Reply {
    Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync())
}

fn stream(lines: impl futures::Stream<Item = Bytes> + Send + 'static) -> Reply {
    let frames = lines.map(|line| Ok(Frame::data(line)));
    Response::new(StreamBody::new(frames).boxed_unsync())
}

async fn until_true(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not after 10 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_config_map_is_in_force_and_an_unsound_one_is_an_event() {
    let server = Server::default();
    server.0.lock().unwrap().corefile = Some("a.org {\n  whoami\n}\n".into());
    let surroundings = surroundings();
    let configuration = start(
        Source::ConfigMap(server.client(), None),
        surroundings.clone(),
    );
    configuration.read().await;
    let serves = |of: &str| configuration.live().load().block(&name(of)).is_some();
    assert!(serves("a.org") && !serves("cluster.local"));
    let watched = || !server.0.lock().unwrap().watchers.is_empty();
    until_true("watched", watched).await;

    server.write("b.org {\n  whoami yes\n}\n");
    until_failures(&surroundings, 1).await;
    assert!(serves("a.org") && !serves("b.org"));
    until_true("an Event", || !server.0.lock().unwrap().events.is_empty()).await;
    let event = server.0.lock().unwrap().events[0].clone();
    assert_eq!(event["reason"], "CorefileRefused");
    assert_eq!(event["involvedObject"]["name"], "coredns");
    let message = event["message"].as_str().unwrap();
    assert!(
        message.starts_with("Corefile:2: whoami: expected no arguments"),
        "{message}"
    );

    server.write("b.org {\n  whoami\n}\n");
    until(&configuration, |live| live.block(&name("b.org")).is_some()).await;
}

#[tokio::test]
async fn without_a_config_map_the_built_in_one_stays_until_there_is_one() {
    let server = Server::default();
    let configuration = start(Source::ConfigMap(server.client(), None), surroundings());
    configuration.read().await;
    assert!(configuration.live().load().blocks[0].zone.is_some());
    let watched = || !server.0.lock().unwrap().watchers.is_empty();
    until_true("watched", watched).await;
    server.write("a.org {\n  whoami\n}\n");
    until(&configuration, |live| live.blocks[0].zone.is_none()).await;
}

#[tokio::test]
async fn while_the_api_is_away_what_it_last_said_is_in_force_or_the_built_in_one() {
    let never = tower::service_fn(|_: Request<Body>| {
        future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let keys = |key: &str, text: &str| [(key.to_owned(), text.to_owned())].into();
    let last_said = Texts {
        coredns: keys("Corefile", "a.org {\n  import custom/*.part\n}\n"),
        custom: keys("log.part", "log\n"),
    };
    for (before, zone) in [(None, "a.cluster.local"), (Some(last_said), "a.org")] {
        let client = Client::new(never, "default");
        let configuration = start(Source::ConfigMap(client, before), surroundings());
        let live = configuration.live().load_full();
        assert!(live.block(&name(zone)).is_some(), "{zone}");
        let has_cluster = live.block(&name("a.cluster.local")).is_some();
        assert_eq!(has_cluster, zone != "a.org");
        let read = configuration.read();
        assert!(
            futures::poll!(std::pin::pin!(read)).is_pending(),
            "nobody has said anything"
        );
        assert_eq!(configuration.texts(), None);
    }
}
