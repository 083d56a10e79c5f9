//! As much of an API server as a node needs: list, watch, create, merge patch, delete.
//!
//! Over plain HTTP and in memory, so that a test can also be the scheduler, the
//! person who deletes, and the network that fails.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

type Body = BoxBody<Bytes, Infallible>;

/// A running fake; all clones are the same one.
#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
    news: broadcast::Sender<(String, Value)>,
    pub address: SocketAddr,
}

#[derive(Default)]
struct State {
    version: u64,
    /// By path, such as `/api/v1/namespaces/default/pods/a`.
    objects: BTreeMap<String, Value>,
    /// Every change since the start.
    log: Vec<(String, Value)>,
    /// Requests to be answered with 500.
    failures: u32,
    /// Every change of a pod's status, as `phase` and the reason of its first container.
    patches: Vec<Value>,
    /// Requests for tokens: the path and what was asked.
    tokens: Vec<(String, Value)>,
    /// How long tokens live, whatever was asked.
    token_seconds: Option<i64>,
}

/// A request about the objects of a collection.
struct Place {
    /// The object, or the collection.
    path: String,
    is_status: bool,
    is_collection: bool,
}

impl FakeApi {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let api = Self {
            state: Arc::default(),
            news: broadcast::channel(4096).0,
            address,
        };
        let served = api.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let api = served.clone();
                let answer = service_fn(move |request| {
                    let api = api.clone();
                    async move { Ok::<_, Infallible>(api.answer(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        api
    }

    /// Creates an object as a user would.
    pub fn create(&self, collection: &str, mut object: Value) -> Value {
        let mut state = self.state.lock().unwrap();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let uid = format!("uid-{name}-{}", state.version + 1);
        object["metadata"]["uid"] = object["metadata"]["uid"].as_str().unwrap_or(&uid).into();
        object["metadata"]["creationTimestamp"] = "2026-11-21T00:00:00Z".into();
        self.put(&mut state, &format!("{collection}/{name}"), object, "ADDED")
    }

    /// Deletes as a user would: with a grace period.
    pub fn delete_gracefully(&self, path: &str, grace: u64) {
        let mut state = self.state.lock().unwrap();
        let mut object = state.objects[path].clone();
        object["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z".into();
        object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        self.put(&mut state, path, object, "MODIFIED");
    }

    /// Forgets an object at once.
    pub fn forget(&self, path: &str) {
        let mut state = self.state.lock().unwrap();
        self.remove(&mut state, path);
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    pub fn patch(&self, path: &str, patch: &Value) {
        let mut state = self.state.lock().unwrap();
        let mut object = state.objects[path].clone();
        merge(&mut object, patch);
        self.put(&mut state, path, object, "MODIFIED");
    }

    /// Answers the next requests with 500.
    pub fn fail_next(&self, count: u32) {
        self.state.lock().unwrap().failures = count;
    }

    /// The statuses that were told, in order.
    pub fn status_patches(&self) -> Vec<Value> {
        self.state.lock().unwrap().patches.clone()
    }

    /// Lets tokens live for so long, whatever is asked.
    pub fn shorten_tokens(&self, seconds: i64) {
        self.state.lock().unwrap().token_seconds = Some(seconds);
    }

    /// The tokens that were asked for: the path and the request.
    pub fn token_requests(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap().tokens.clone()
    }

    /// `reason: message` of all events about an object.
    pub fn events(&self, name: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let events = state
            .objects
            .values()
            .filter(|object| object["involvedObject"]["name"] == name);
        let text = |event: &Value| {
            let (reason, message) = (&event["reason"], &event["message"]);
            format!(
                "{}: {}",
                reason.as_str().unwrap(),
                message.as_str().unwrap()
            )
        };
        events.map(text).collect()
    }

    fn put(&self, state: &mut State, path: &str, mut object: Value, change: &str) -> Value {
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        state.objects.insert(path.to_owned(), object.clone());
        self.publish(
            state,
            path,
            json!({"type": change, "object": object.clone()}),
        );
        object
    }

    fn publish(&self, state: &mut State, path: &str, event: Value) {
        state.log.push((path.to_owned(), event.clone()));
        let _nobody_watches = self.news.send((path.to_owned(), event));
    }

    fn remove(&self, state: &mut State, path: &str) {
        if let Some(mut object) = state.objects.remove(path) {
            state.version += 1;
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            self.publish(state, path, json!({"type": "DELETED", "object": object}));
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let method = request.method().clone();
        let place = Place::of(request.uri().path());
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut state = self.state.lock().unwrap();
        if state.failures > 0 {
            state.failures -= 1;
            return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        match (method, place.is_collection) {
            (Method::GET, true) if query.contains("watch=") => self.watch(&state, &place, &query),
            (Method::GET, true) => list(&state, &place, &query),
            (Method::GET, false) => match state.objects.get(&place.path) {
                Some(object) => found(object),
                None => failure(StatusCode::NOT_FOUND, "NotFound"),
            },
            (Method::POST, _) if place.path.ends_with("/token") => {
                state.tokens.push((place.path.clone(), body.clone()));
                found(&state.answer_token(body))
            }
            (Method::POST, _) => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("{}/{name}", place.path);
                if state.objects.contains_key(&path) {
                    return failure(StatusCode::CONFLICT, "AlreadyExists");
                }
                drop(state);
                found(&self.create(&place.path, body))
            }
            (Method::PATCH, _) => self.answer_patch(&mut state, &place, &body),
            (Method::DELETE, _) => {
                let uid = &body["preconditions"]["uid"];
                let object = state.objects.get(&place.path).cloned();
                match object {
                    None => failure(StatusCode::NOT_FOUND, "NotFound"),
                    Some(object) if !uid.is_null() && object["metadata"]["uid"] != *uid => {
                        failure(StatusCode::CONFLICT, "Conflict")
                    }
                    Some(object) => {
                        self.remove(&mut state, &place.path);
                        found(&object)
                    }
                }
            }
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn answer_patch(&self, state: &mut State, place: &Place, patch: &Value) -> Response<Body> {
        let Some(mut object) = state.objects.get(&place.path).cloned() else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        let wanted = &patch["metadata"]["resourceVersion"];
        if !wanted.is_null() && *wanted != object["metadata"]["resourceVersion"] {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        merge(&mut object, patch);
        if place.is_status && place.path.contains("/pods/") {
            state.patches.push(patch["status"].clone());
        }
        found(&self.put(state, &place.path, object, "MODIFIED"))
    }

    fn watch(&self, state: &State, place: &Place, query: &str) -> Response<Body> {
        let since: u64 = parameter(query, "resourceVersion")
            .and_then(|v| v.parse().ok())
            .unwrap_or(0);
        let (place, query) = (place.path.clone(), query.to_owned());
        let missed: Vec<_> = state
            .log
            .iter()
            .filter(|(path, event)| belongs(path, &place) && selected(&event["object"], &query))
            .filter(|(_, event)| version(&event["object"]) > since)
            .map(|(_, event)| line(event))
            .collect();
        let news = self.news.subscribe();
        let news = futures::stream::unfold(news, move |mut news| {
            let (place, query) = (place.clone(), query.clone());
            async move {
                loop {
                    let (path, event) = news.recv().await.ok()?;
                    if belongs(&path, &place) && selected(&event["object"], &query) {
                        return Some((line(&event), news));
                    }
                }
            }
        });
        let all = futures::stream::iter(missed).chain(news);
        let body = StreamBody::new(all.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes))));
        Response::new(BodyExt::boxed(body))
    }
}

impl State {
    /// The request with `token-N` for the Nth one.
    fn answer_token(&self, mut request: Value) -> Value {
        let asked = request["spec"]["expirationSeconds"].as_i64().unwrap();
        let life = self.token_seconds.unwrap_or(asked);
        let expires = jiff::Timestamp::now() + std::time::Duration::from_secs(life as u64);
        request["status"] = json!({
            "token": format!("token-{}", self.tokens.len()),
            "expirationTimestamp": expires.to_string(),
        });
        request
    }
}

impl Place {
    fn of(path: &str) -> Self {
        let (path, is_status) = match path.strip_suffix("/status") {
            Some(path) => (path, true),
            None => (path, false),
        };
        let last = path.rsplit('/').next().unwrap();
        let is_collection = [
            "pods",
            "nodes",
            "events",
            "leases",
            "configmaps",
            "secrets",
            "services",
        ]
        .contains(&last);
        Self {
            path: path.to_owned(),
            is_status,
            is_collection,
        }
    }
}

fn list(state: &State, place: &Place, query: &str) -> Response<Body> {
    let objects = state.objects.iter();
    let items: Vec<_> = objects
        .filter(|(path, object)| belongs(path, &place.path) && selected(object, query))
        .map(|(_, object)| object.clone())
        .collect();
    let version = state.version.to_string();
    found(&json!({
        "kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items,
    }))
}

/// Whether an object is of a collection, that of all namespaces included.
fn belongs(path: &str, collection: &str) -> bool {
    let kind = collection.rsplit('/').next().unwrap();
    path.starts_with(&format!("{collection}/"))
        || !collection.contains("/namespaces/") && path.contains(&format!("/{kind}/"))
}

fn selected(object: &Value, query: &str) -> bool {
    let Some(selector) = parameter(query, "fieldSelector") else {
        return true;
    };
    match selector.split_once('=') {
        Some(("spec.nodeName", node)) => object["spec"]["nodeName"] == node,
        Some(("metadata.name", name)) => object["metadata"]["name"] == name,
        _ => true,
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

fn line(event: &Value) -> Bytes {
    Bytes::from(format!("{event}\n"))
}

fn found(object: &Value) -> Response<Body> {
    Response::new(Full::new(Bytes::from(object.to_string())).boxed())
}

fn failure(code: StatusCode, reason: &str) -> Response<Body> {
    let mut response = found(&json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "reason": reason, "message": reason, "code": code.as_u16(),
    }));
    *response.status_mut() = code;
    response
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}
