//! Registries that misbehave, and those that want to be convinced.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

#[path = "support/server.rs"]
mod server;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use sealane_image::{Digest, Image, Keyring, Pull, PullError, Store};
use serde_json::{Value, json};
use server::{Reply, Request, Server};
use support::{Blobs, Layer, MANIFEST, gzip};

/// What becomes of an answer on its way.
type Change = Box<dyn Fn(&mut Vec<u8>) + Send + Sync>;

/// An image with one layer that is worth cutting.
struct Content {
    blobs: Blobs,
    manifest: Digest,
    layer: Digest,
}

/// A registry that gives what it has.
fn honest(content: &Arc<Content>) -> Server {
    let content = content.clone();
    Server::start(move |request| content.answer(request))
}

fn content() -> Arc<Content> {
    let noise: String = (0..40_000u32)
        .map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    let tar = Layer::new().file("noise", &noise).tar();
    let packed = gzip(&tar);
    let layer = Digest::of(&packed);
    let mut blobs = Blobs::default();
    let packed = [(packed, format!("{}+gzip", support::LAYER))];
    let manifest = blobs.packed_image(&[tar], &packed, json!({"Cmd": ["x"]}));
    Arc::new(Content {
        manifest: digest(&manifest),
        layer,
        blobs,
    })
}

fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

impl Content {
    /// As a registry answers.
    fn answer(&self, request: &Request) -> Reply {
        let name = request
            .path
            .split('?')
            .next()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap();
        if request.path.contains("/manifests/")
            && (name == "1" || name == self.manifest.to_string())
        {
            return Reply::ok(self.blobs.0[&self.manifest].clone())
                .with("Content-Type", MANIFEST)
                .with("Docker-Content-Digest", self.manifest.to_string());
        }
        match name
            .parse::<Digest>()
            .ok()
            .and_then(|digest| self.blobs.0.get(&digest))
        {
            Some(blob) => Reply::part(blob, request.from()),
            None => Reply::status(404),
        }
    }

    fn is_layer(&self, request: &Request) -> bool {
        request.path.contains(&self.layer.to_string())
    }
}

fn how() -> Pull {
    Pull {
        pause: Duration::from_millis(1),
        silence: Duration::from_secs(5),
        ..Pull::default()
    }
}

fn pull(server: &Server, how: &Pull) -> (tempfile::TempDir, Store, Result<Image, PullError>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("images"));
    let result = store.pull(&server.image("team/a:1"), how, &|_| ());
    (dir, store, result)
}

fn error(server: &Server, how: &Pull) -> PullError {
    let (_dir, store, result) = pull(server, how);
    assert!(store.list().unwrap().images.is_empty());
    result.expect_err("it must not be pulled")
}

#[test]
fn a_blob_that_breaks_off_is_continued_where_it_was() {
    let content = content();
    let server = Server::start({
        let content = content.clone();
        move |request| {
            let mut reply = content.answer(request);
            // Each answer brings a third of the layer, the second in silence.
            if content.is_layer(request) {
                let third = content.blobs.0[&content.layer].len() / 3;
                reply.cut = (reply.body.len() > third + 9).then_some(third);
                reply.hang = request.from() == third;
            }
            reply
        }
    });
    let how = Pull {
        silence: Duration::from_millis(200),
        ..how()
    };
    let image = pull(&server, &how).2.unwrap();
    assert_eq!(image.config.cmd, ["x"]);
    assert_eq!(image.digest, content.manifest);
    let third = content.blobs.0[&content.layer].len() / 3;
    let from: Vec<usize> = server
        .requests()
        .iter()
        .filter(|r| content.is_layer(r))
        .map(Request::from)
        .collect();
    assert_eq!(from, [0, third, 2 * third]);
}

#[test]
fn a_rest_of_an_earlier_pull_is_continued_and_a_wrong_one_thrown_away() {
    let content = content();
    let blob = content.blobs.0[&content.layer].clone();
    for (rest, expected) in [
        (blob[..1000].to_vec(), vec![1000]),
        (vec![7; 1000], vec![1000, 0]),
    ] {
        let server = honest(&content);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path());
        std::fs::create_dir_all(dir.path().join("ingest")).unwrap();
        std::fs::write(
            dir.path()
                .join(format!("ingest/sha256-{}", content.layer.hex())),
            rest,
        )
        .unwrap();
        store
            .pull(&server.image("team/a:1"), &how(), &|_| ())
            .unwrap();
        let from: Vec<usize> = server
            .requests()
            .iter()
            .filter(|r| content.is_layer(r))
            .map(Request::from)
            .collect();
        assert_eq!(from, expected);
    }
}

#[test]
fn a_server_that_knows_no_ranges_starts_over() {
    let content = content();
    let cut = Arc::new(AtomicUsize::new(0));
    let server = Server::start({
        let content = content.clone();
        move |request| {
            let mut reply = content.answer(request);
            if content.is_layer(request) {
                reply = Reply::ok(content.blobs.0[&content.layer].clone());
                reply.cut = (cut.fetch_add(1, Ordering::SeqCst) == 0).then_some(5000);
            }
            reply
        }
    });
    pull(&server, &how()).2.unwrap();
}

#[test]
fn content_that_is_not_what_it_is_called_is_refused() {
    let content = content();
    let cases: Vec<(&str, Change, &str)> = vec![
        (
            "changed",
            Box::new(|body| body[100] ^= 1),
            "it sends a blob with sha256:",
        ),
        (
            "longer",
            Box::new(|body| body.push(0)),
            "it sends more than the",
        ),
        (
            "shorter",
            Box::new(|body| body.truncate(body.len() - 1)),
            "ended early",
        ),
    ];
    for (name, change, reason) in cases {
        let server = Server::start({
            let content = content.clone();
            move |request| {
                let mut reply = content.answer(request);
                if content.is_layer(request) {
                    change(&mut reply.body);
                }
                reply
            }
        });
        let text = error(&server, &how()).to_string();
        assert!(
            text.contains(reason) && text.contains(&server.address.to_string()),
            "{name}: {text}"
        );
    }
    let server = Server::start({
        let content = content.clone();
        move |request| {
            let mut reply = content.answer(request);
            if request.path.contains("/manifests/") {
                reply.body.push(b' ');
            }
            reply
        }
    });
    let text = error(&server, &how()).to_string();
    assert!(text.contains("it sends a manifest with"), "{text}");
}

#[test]
fn refusals_end_and_say_who_refused_what() {
    let script = |status: u16, header: Option<(&'static str, &'static str)>| {
        Server::start(move |_| {
            let body =
                br#"{"errors":[{"code":"X","message":"because\u001b[31m of that"}]}"#.to_vec();
            let mut reply = Reply {
                status,
                ..Reply::ok(body)
            };
            if let Some((key, value)) = header {
                reply = reply.with(key, value);
            }
            reply
        })
    };
    let basic = Some(("WWW-Authenticate", "Basic realm=\"x\""));
    let soon = Some(("Retry-After", "0"));
    let mut with_password = how();
    let cases = [
        (
            404,
            None,
            1,
            "has no such image (404 Not Found, because[31m of that)",
        ),
        (
            401,
            basic,
            2,
            "refused access with the given credentials and without (401 Unauthorized",
        ),
        (401, None, 1, "refused access"),
        (403, None, 1, "refused access"),
        (
            429,
            soon,
            5,
            "lets us ask no more for now (429 Too Many Requests",
        ),
        (503, soon, 5, "it answers 503 Service Unavailable"),
        (418, None, 1, "it answers 418"),
    ];
    for (status, header, requests, text) in cases {
        let server = script(status, header);
        with_password.keyring = Keyring::default();
        with_password
            .keyring
            .add_password(&server.address.to_string(), "me", "wrong");
        let error = error(&server, &with_password);
        assert!(error.to_string().contains(text), "{status}: {error}");
        assert_eq!(error.is_unreachable(), status == 503, "{status}");
        // Beside the question which protocol is spoken.
        let manifests = server
            .requests()
            .iter()
            .filter(|r| r.path.contains("manifests"))
            .count();
        assert_eq!(manifests, requests, "{status}");
    }
}

#[test]
fn nobody_there_is_told_apart_from_a_refusal() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dir = tempfile::tempdir().unwrap();
    let reference = format!("{address}/a").parse().unwrap();
    let error = Store::open(dir.path())
        .pull(&reference, &how(), &|_| ())
        .unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(
        error.to_string().contains("cannot reach 127.0.0.1:"),
        "{error}"
    );
}

#[test]
fn tokens_are_fetched_with_a_password_and_renewed() {
    let content = content();
    let uses = Arc::new(AtomicUsize::new(0));
    let server = Server::start({
        let content = content.clone();
        move |request| {
            let host = request.header("host").unwrap();
            if request.path.starts_with("/token?") {
                let wanted = format!(
                    "Basic {}",
                    base64::engine::general_purpose::STANDARD.encode("me:secret")
                );
                assert!(
                    request.path.contains("scope=repository%3Ateam%2Fa%3Apull"),
                    "{}",
                    request.path
                );
                assert!(request.path.contains("service=test"), "{}", request.path);
                return match request.header("authorization") {
                    Some(given) if given == wanted => {
                        let token =
                            format!("{{\"token\":\"t{}\"}}", uses.load(Ordering::SeqCst) / 2);
                        Reply::ok(token.into_bytes())
                    }
                    _ => Reply::status(401),
                };
            }
            // Each token is good for two requests.
            let good = format!("Bearer t{}", uses.load(Ordering::SeqCst) / 2);
            if request.header("authorization") == Some(good.as_str()) {
                uses.fetch_add(1, Ordering::SeqCst);
                return content.answer(request);
            }
            let challenge = format!(
                "Bearer realm=\"http://{host}/token\",service=\"test\",scope=\"repository:team/a:pull\""
            );
            Reply::status(401).with("WWW-Authenticate", challenge)
        }
    });
    let mut how = how();
    let text = error(&server, &how).to_string();
    assert!(
        text.contains("refused access without credentials"),
        "{text}"
    );
    how.keyring
        .add_password(&format!("{}/team", server.address), "me", "wrong");
    how.keyring
        .add(
            format!(
                "{{\"{}\":{{\"username\":\"me\",\"password\":\"secret\"}}}}",
                server.address
            )
            .as_bytes(),
        )
        .unwrap();
    let image = pull(&server, &how).2.unwrap();
    assert_eq!(
        image.repo_digests,
        [format!("{}/team/a@{}", server.address, content.manifest)]
    );
}

#[test]
fn a_password_is_not_shown_to_where_a_blob_is_redirected() {
    let content = content();
    let elsewhere = Arc::new(honest(&content));
    let server = Server::start({
        let (content, elsewhere) = (content.clone(), elsewhere.address);
        move |request| match request.header("authorization") {
            None => Reply::status(401).with("WWW-Authenticate", "Basic realm=x"),
            Some(_) if request.path.contains("/blobs/") => {
                Reply::status(307).with("Location", format!("http://{elsewhere}{}", request.path))
            }
            Some(_) => content.answer(request),
        }
    });
    let mut how = how();
    how.keyring
        .add_password(&server.address.to_string(), "me", "secret");
    pull(&server, &how).2.unwrap();
    assert!(
        elsewhere
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
    assert_eq!(elsewhere.requests().len(), 2, "configuration and layer");
}

#[test]
fn mirrors_are_asked_first_and_the_registry_when_they_fail() {
    let content = content();
    let empty = Server::start(|_| Reply::status(404));
    let full = honest(&content);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    let mut how = how();
    how.registries.entry("registry.invalid").mirrors = vec![
        format!("http://{}", empty.address),
        format!("http://{}/hub", full.address),
    ];
    let image = store
        .pull(&"registry.invalid/team/a:1".parse().unwrap(), &how, &|_| ())
        .unwrap();
    assert_eq!(image.reference.to_string(), "registry.invalid/team/a:1");
    assert!(
        full.requests()
            .iter()
            .all(|r| r.path.starts_with("/hub/v2/team/a/")
                && r.path.ends_with("?ns=registry.invalid"))
    );
    assert_eq!(empty.requests().len(), 1);
}

#[test]
fn what_is_here_is_not_fetched_again() {
    let content = content();
    let server = honest(&content);
    let (_dir, store, first) = pull(&server, &how());
    let before = server.requests().len();
    let again = store
        .pull(&server.image("team/a:1"), &how(), &|_| ())
        .unwrap();
    assert_eq!(again, first.unwrap());
    let methods: BTreeMap<String, usize> =
        server.requests()[before..]
            .iter()
            .fold(BTreeMap::new(), |mut map, r| {
                *map.entry(r.method.clone()).or_default() +=
                    usize::from(r.path.contains("/v2/team"));
                map
            });
    assert_eq!(methods.get("HEAD"), Some(&1));
    assert_eq!(methods.get("GET").copied().unwrap_or(0), 0);
}

#[test]
fn a_damaged_layer_that_is_here_is_fetched_anew() {
    let content = content();
    let server = honest(&content);
    let (dir, store, first) = pull(&server, &how());
    let blob = dir
        .path()
        .join("images/blobs/sha256")
        .join(content.layer.hex());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let layer = first.unwrap().layers.remove(0);
    std::fs::remove_dir_all(layer.parent().unwrap()).unwrap();
    let reference = server.image("team/a:1");
    let broken = store.find(&reference).unwrap_err().to_string();
    assert!(broken.contains("the file is damaged"), "{broken}");
    store.pull(&reference, &how(), &|_| ()).unwrap();
    assert!(layer.join("noise").exists());
}
