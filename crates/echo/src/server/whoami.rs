//! The report of `traefik/whoami`, which many tutorials show.

use std::fmt::Write;

use serde_json::json;

use super::http;
use super::persona::{Around, Content};
use super::query::Query;
use super::report::{Request, addresses};

/// Answers a request.
pub(super) fn answer(name: &str, around: Around<'_>, request: &Request) -> Content {
    match Query::of(&request.path).path {
        "/api" => Content::json(api(name, around, request)),
        "/health" => Content::text("").with_status((200, http::words(200))),
        "/bench" => Content::text("1"),
        _ => Content::text(text(name, around, request)),
    }
}

fn text(name: &str, around: Around<'_>, request: &Request) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key}: {value}");
    };
    if !name.is_empty() {
        line("Name", name);
    }
    line("Hostname", &around.identity.name);
    for address in addresses() {
        line("IP", &address.to_string());
    }
    line("RemoteAddr", &around.peer.to_string());
    let Request {
        method,
        path,
        version,
        ..
    } = request;
    let _ = writeln!(text, "{method} {path} {version}");
    for (name, value) in &request.headers {
        let _ = writeln!(text, "{name}: {value}");
    }
    text.push('\n');
    text
}

fn api(name: &str, around: Around<'_>, request: &Request) -> String {
    let headers: serde_json::Map<_, _> = request
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), json!([value])))
        .collect();
    let mut headers_but_host = headers.clone();
    let host = headers_but_host.remove("Host");
    let told = json!({
        "name": name,
        "hostname": around.identity.name,
        "ip": addresses(),
        "headers": headers_but_host,
        "url": request.path,
        "host": host.and_then(|host| host.get(0).cloned()),
        "method": request.method,
        "remoteAddr": around.peer.to_string(),
    });
    format!("{told}\n")
}
