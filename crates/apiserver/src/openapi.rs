//! OpenAPI v3, as far as kubectl asks it before it applies or creates: does the PATCH of this
//! kind take `fieldValidation`?
//!
//! No schemas are served: kubectl then leaves validation to the server, which is stricter, and
//! computes patches with the types that it has built in. (`kubectl explain` has nothing to show.)
//! For a `List`, kubectl falls back on checking by the schemas of OpenAPI v2; it passes what has
//! none, so that document is empty, in JSON as in protobuf.

use http::{HeaderMap, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{
    answer::{self, Body},
    kinds::{Kind, Served},
    request::Accept,
};

/// The content type of that document: what clients accept, but for the `@`, which none may have.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// `{swagger: "2.0", info: {title: "Kubernetes", version: "v1"}}` as a gnostic `Document`.
const V2_DOCUMENT: &[u8] = b"\x0a\x032.0\x12\x10\x0a\x0aKubernetes\x12\x02v1";

/// Answers an OpenAPI path; `None` if it is none.
pub fn answer(served: &Served, parts: &[&str], headers: &HeaderMap) -> Option<Response<Body>> {
    let document = match parts {
        ["openapi", "v2"] if wants_protobuf(headers) => {
            return Some(answer::respond(
                StatusCode::OK,
                V2_PROTOBUF,
                answer::full(V2_DOCUMENT),
            ));
        }
        ["openapi", "v2"] => json!({
            "swagger": "2.0", "info": { "title": "Kubernetes", "version": "v1" }, "paths": {},
        }),
        ["openapi", "v3"] => root(served),
        ["openapi", "v3", "api", version] => document(served, "", version)?,
        ["openapi", "v3", "apis", group, version] => document(served, group, version)?,
        _ => return None,
    };
    Some(answer::value(StatusCode::OK, Accept::PLAIN, &document))
}

fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("proto-openapi.spec.v2"))
}

fn root(served: &Served) -> Value {
    let mut paths = Map::new();
    for kind in served.iter() {
        let place = place(kind.group, kind.version);
        // The hash lets clients cache the document; it changes with the program.
        let url = format!(
            "/openapi/v3/{place}?hash=sealane-{}",
            env!("CARGO_PKG_VERSION")
        );
        paths.insert(place, json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": paths })
}

fn place(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    }
}

fn document(served: &Served, group: &str, version: &str) -> Option<Value> {
    let kinds = served
        .iter()
        .filter(|kind| kind.group == group && kind.version == version);
    let paths: Map<String, Value> = kinds
        .map(|kind| (path(&kind), json!({ "patch": patch(&kind) })))
        .collect();
    if paths.is_empty() {
        return None;
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "v1" },
        "paths": paths,
        "components": { "schemas": {} },
    }))
}

fn path(kind: &Kind) -> String {
    let within = if kind.namespaced {
        "namespaces/{namespace}/"
    } else {
        ""
    };
    format!(
        "/{}/{within}{}/{{name}}",
        place(kind.group, kind.version),
        kind.plural
    )
}

fn patch(kind: &Kind) -> Value {
    let parameter = |name: &str| {
        json!({
            "name": name, "in": "query",
            "schema": { "type": "string", "uniqueItems": true },
        })
    };
    let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation"]
        .into_iter()
        .map(parameter)
        .collect();
    json!({
        "operationId": format!("patch{}", kind.kind),
        "parameters": parameters,
        "responses": { "200": { "description": "OK" } },
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": {
            "group": kind.group, "kind": kind.kind, "version": kind.version,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_says_that_it_validates_fields() {
        let served = Served::default();
        let document = document(&served, "", "v1").unwrap();
        let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Pod");
        assert_eq!(patch["parameters"][2]["name"], "fieldValidation");
        assert!(root(&served)["paths"]["apis/coordination.k8s.io/v1"].is_object());
        assert!(super::document(&served, "nope", "v1").is_none());
    }
}
