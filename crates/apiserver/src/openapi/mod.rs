//! OpenAPI v3 and v2 of what is served: for `kubectl explain`, for what kubectl checks and computes
//! before a request, and for generators of clients.
//!
//! `sealane_openapi` writes the documents; here is which kinds are in them, what `kubernetes.txt`
//! knows of their fields, and what lets a client keep what it has read. A document is written when it
//! is asked for and kept by nobody but the client: each has a fingerprint of what it is made of, known without
//! writing it, which is its ETag and, in v3, part of its address.

mod fingerprint;
mod merging;
mod served;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Map, Value, json};

use crate::{
    answer::{self, Body},
    kinds::{KindRef, Served},
    request::{Accept, Query},
};
use served::Known;

const JSON: &str = "application/json";
/// The content type of v2 as protobuf: what clients accept, but for the `@`, which none may have.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Answers an OpenAPI path; `None` if it is none.
pub fn answer(
    served: &Served,
    parts: &[&str],
    headers: &HeaderMap,
    query: &Query,
) -> Option<Response<Body>> {
    match parts {
        ["openapi", "v2"] => Some(v2(served, headers)),
        ["openapi", "v3"] => Some(answer::value(StatusCode::OK, Accept::PLAIN, &root(served))),
        ["openapi", "v3", "api", version] => v3(served, "", version, headers, query),
        ["openapi", "v3", "apis", group, version] => v3(served, group, version, headers, query),
        _ => None,
    }
}

/// Where the document of each group version is.
fn root(served: &Served) -> Value {
    let mut paths = Map::new();
    for kind in served.iter() {
        let place = place(kind.group, kind.version);
        if !paths.contains_key(&place) {
            let print = fingerprint::of(&kinds_of(served, kind.group, kind.version));
            let url = json!({ "serverRelativeURL": address(&place, &print) });
            paths.insert(place, url);
        }
    }
    json!({ "paths": paths })
}

fn place(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    }
}

fn address(place: &str, print: &str) -> String {
    format!("/openapi/v3/{place}?hash={print}")
}

fn kinds_of(served: &Served, group: &str, version: &str) -> Vec<KindRef> {
    let wanted = |kind: &KindRef| kind.group == group && kind.version == version;
    served.iter().filter(wanted).collect()
}

fn v3(
    served: &Served,
    group: &str,
    version: &str,
    headers: &HeaderMap,
    query: &Query,
) -> Option<Response<Body>> {
    let kinds = kinds_of(served, group, version);
    if kinds.is_empty() {
        return None;
    }
    let print = fingerprint::of(&kinds);
    let hash = query.get("hash").filter(|hash| !hash.is_empty());
    if hash.is_some_and(|hash| hash != print) {
        return Some(moved(&address(&place(group, version), &print)));
    }
    let write = || {
        let resources: Vec<_> = kinds.iter().map(|kind| served::resource(kind)).collect();
        sealane_openapi::v3_document(&resources, &Known(&kinds)).into_bytes()
    };
    let mut response = unless_known(headers, &print, JSON, write);
    if hash.is_some() {
        keep(response.headers_mut());
    }
    Some(response)
}

fn v2(served: &Served, headers: &HeaderMap) -> Response<Body> {
    let kinds: Vec<KindRef> = served.iter().collect();
    let print = fingerprint::of(&kinds);
    let resources = || -> Vec<_> { kinds.iter().map(|kind| served::resource(kind)).collect() };
    if wants_protobuf(headers) {
        let write = || sealane_openapi::v2_protobuf(&resources(), &Known(&kinds));
        // The two forms are not the same to whoever has kept one of them.
        return unless_known(headers, &format!("{print}PB"), V2_PROTOBUF, write);
    }
    let write = || sealane_openapi::v2_json(&resources(), &Known(&kinds)).into_bytes();
    unless_known(headers, &print, JSON, write)
}

fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("proto-openapi.spec.v2"))
}

/// The document, or that the client has it already.
fn unless_known(
    headers: &HeaderMap,
    print: &str,
    content_type: &str,
    write: impl FnOnce() -> Vec<u8>,
) -> Response<Body> {
    let etag = format!("\"{print}\"");
    let (code, body) = if knows(headers, &etag) {
        (StatusCode::NOT_MODIFIED, Vec::new())
    } else {
        (StatusCode::OK, write())
    };
    let mut response = answer::respond(code, content_type, answer::full(body));
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

/// Whether `If-None-Match` names this one (RFC 9110 §13.1.2).
fn knows(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == etag || one == "*")
}

/// What is at an address with a fingerprint never changes.
fn keep(headers: &mut HeaderMap) {
    let public = HeaderValue::from_static("public, immutable");
    headers.insert(header::CACHE_CONTROL, public);
    let day = Timestamp::now() + (365 * 24).hours();
    let expires = day.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(expires) = HeaderValue::from_str(&expires) {
        headers.insert(header::EXPIRES, expires);
    }
}

fn moved(to: &str) -> Response<Body> {
    let body = answer::full(Vec::new());
    let mut response = answer::respond(StatusCode::MOVED_PERMANENTLY, JSON, body);
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is served is described, and what it is made of tells its document from others.
    #[test]
    fn every_kind_is_described() {
        let served = Served::default();
        let mut prints = Vec::new();
        for (place, _) in root(&served)["paths"].as_object().unwrap() {
            let (group, version) = match place.split('/').collect::<Vec<_>>()[..] {
                ["api", version] => ("", version),
                ["apis", group, version] => (group, version),
                _ => panic!("{place}"),
            };
            let kinds = kinds_of(&served, group, version);
            prints.push(fingerprint::of(&kinds));
            let resources: Vec<_> = kinds.iter().map(|kind| served::resource(kind)).collect();
            let document = sealane_openapi::v3_document(&resources, &Known(&kinds));
            let document: Value = serde_json::from_str(&document).unwrap();
            for kind in &kinds {
                let name = json!([{ "group": group, "version": version, "kind": kind.kind }]);
                let schemas = document["components"]["schemas"].as_object().unwrap();
                let is_it = |one: &&Value| one["x-kubernetes-group-version-kind"] == name;
                let found = schemas.values().find(is_it).expect(kind.kind);
                assert!(found["description"].is_string(), "{kind:?}");
                assert!(found["properties"]["kind"].is_object(), "{kind:?}");
            }
        }
        let all = prints.len();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), all);
    }
}
