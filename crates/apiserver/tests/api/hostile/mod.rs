//! Input that nobody sends by mistake, or only by a bad one: the API's own words, and the server lives.

pub mod connections;
mod types;

use http::{Method, Request, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use crate::harness::{Server, within};

/// Sends a request; the status and what the answer says.
pub async fn send(
    client: &kube::Client,
    method: &str,
    path: &str,
    content_type: &str,
    body: impl Into<Vec<u8>>,
) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path)
        .header("content-type", content_type)
        .body(Body::from(body.into()))
        .unwrap();
    let response = within("an answer", client.send(request)).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect_bytes().await.unwrap();
    let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (status, value)
}

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MAP: &str = "/api/v1/namespaces/default/configmaps/there";

/// Method, path, content type, body; code, reason, part of the message.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u16,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Bodies
    ("POST", MAPS, JSON, "nonsense", 400, "BadRequest", "unrecognized"),
    ("POST", MAPS, JSON, "{\"metadata\":{\"name\":\"\u{0}\"}}", 400, "BadRequest", "control character"),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"a"}} {}"#, 400, "BadRequest", "trailing characters"),
    ("POST", MAPS, JSON, r#"{"metadata":"x"}"#, 400, "BadRequest", "cannot unmarshal string into Go struct field ConfigMap.metadata"),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"a"},"data":[]}"#, 400, "BadRequest", "cannot unmarshal array"),
    ("POST", MAPS, JSON, r#"{"data":{"a":1e999},"metadata":{"name":"a"}}"#, 400, "BadRequest", "out of range"),
    ("POST", MAPS, JSON, "null", 400, "BadRequest", "must be of type Object"),
    ("POST", MAPS, YAML, "a: *nowhere", 400, "BadRequest", "anchor"),
    ("POST", MAPS, YAML, "- 1\n- 2", 400, "BadRequest", "must be of type Object"),
    ("POST", MAPS, YAML, "a: 1\n b: 2", 400, "BadRequest", "mapping values are not allowed"),
    ("POST", MAPS, YAML, "? {a: b}\n: c", 400, "BadRequest", "invalid type"),
    ("POST", MAPS, "application/vnd.kubernetes.protobuf", "{}", 400, "BadRequest", "magic"),
    ("POST", MAPS, "application/xml", "<a/>", 415, "UnsupportedMediaType", "application/json"),
    ("POST", MAPS, MERGE, "{}", 415, "UnsupportedMediaType", "application/json"),
    ("POST", MAPS, "multipart/form-data; boundary=x", "--x--", 415, "UnsupportedMediaType", "application/json"),
    // Names
    ("POST", MAPS, JSON, "{}", 422, "Invalid", "name or generateName is required"),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"a/b"}}"#, 422, "Invalid", "metadata.name: Invalid value: \"a/b\""),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":".."}}"#, 422, "Invalid", "metadata.name: Invalid value: \"..\""),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"ä"}}"#, 422, "Invalid", "lowercase RFC 1123 subdomain"),
    ("POST", MAPS, JSON, r#"{"metadata":{"generateName":"Bad_"}}"#, 422, "Invalid", "lowercase RFC 1123 subdomain"),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"a","labels":{"a b":"c"}}}"#, 422, "Invalid", "metadata.labels: Invalid value: \"a b\""),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"a","annotations":{"":"c"}}}"#, 422, "Invalid", "metadata.annotations"),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"a","finalizers":["nodomain"]}}"#, 422, "Invalid", "finalizers"),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"a"},"data":{"b c":""}}"#, 422, "Invalid", "data[b c]: Invalid value: \"b c\""),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"a"},"data":{"b":""},"binaryData":{"b":""}}"#, 422, "Invalid", "duplicate of key present in"),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"a"},"binaryData":{"b":"%%%"}}"#, 400, "BadRequest", "illegal base64"),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"a","creationTimestamp":"yesterday"}}"#, 400, "BadRequest", "metadata.creationTimestamp"),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"a","resourceVersion":"1"}}"#, 400, "BadRequest", "resourceVersion should not be set on objects to be created"),
    ("POST", MAPS, JSON, r#"{"metadata":{"name":"there"}}"#, 409, "AlreadyExists", "configmaps \"there\" already exists"),
    ("POST", "/api/v1/namespaces/nowhere/configmaps", JSON, r#"{"metadata":{"name":"a"}}"#, 404, "NotFound", "namespaces \"nowhere\" not found"),
    // Unknown and duplicate fields
    ("POST", "/api/v1/namespaces/default/configmaps?fieldValidation=Strict", JSON, r#"{"metadata":{"name":"a"},"x":1,"y":{"z":1}}"#, 400, "BadRequest", "strict decoding error: unknown field \"x\", unknown field \"y\""),
    ("POST", "/api/v1/namespaces/default/configmaps?fieldValidation=Strict", YAML, "metadata: {name: a}\ndata: {a: b, a: c}", 400, "BadRequest", "duplicate field \"data.a\""),
    ("POST", "/api/v1/namespaces/default/configmaps?fieldValidation=Maybe", JSON, r#"{"metadata":{"name":"a"}}"#, 422, "Invalid", "fieldValidation: Unsupported value: \"Maybe\""),
    ("POST", "/api/v1/namespaces/default/configmaps?dryRun=None", JSON, r#"{"metadata":{"name":"a"}}"#, 422, "Invalid", "dryRun: Unsupported value: \"None\""),
    // Updates
    ("PUT", MAP, JSON, r#"{"metadata":{"name":"other"}}"#, 400, "BadRequest", "the name of the object (other) does not match the name on the URL (there)"),
    ("PUT", MAP, JSON, r#"{"metadata":{"name":"there","resourceVersion":"x"}}"#, 409, "Conflict", "the object has been modified"),
    ("PUT", MAP, JSON, r#"{"metadata":{"name":"there","uid":"x"}}"#, 409, "Conflict", "UID"),
    ("PUT", MAPS, JSON, "{}", 405, "MethodNotAllowed", "does not allow this method"),
    ("PUT", "/api/v1/namespaces/default/configmaps/absent", JSON, r#"{"metadata":{"name":"absent"}}"#, 404, "NotFound", "configmaps \"absent\" not found"),
    // Patches
    ("PATCH", MAP, "application/apply-patch+cbor", "{}", 415, "UnsupportedMediaType", "application/strategic-merge-patch+json"),
    ("PATCH", MAP, "application/apply-patch+yaml", "{}", 422, "Invalid", "fieldManager: Required value"),
    ("PATCH", MAP, "application/json", "{}", 415, "UnsupportedMediaType", "application/merge-patch+json"),
    ("PATCH", MAP, MERGE, "[]", 400, "BadRequest", "cannot unmarshal array into Go value of type map[string]interface {}"),
    ("PATCH", MAP, MERGE, "{", 400, "BadRequest", "EOF"),
    ("PATCH", MAP, MERGE, r#"{"data":7}"#, 422, "Invalid", "patch: Invalid value"),
    ("PATCH", MAP, MERGE, r#"{"metadata":null}"#, 400, "BadRequest", "does not match the name on the URL"),
    ("PATCH", MAP, MERGE, r#"{"kind":"Secret"}"#, 400, "BadRequest", "does not match the expected kind"),
    ("PATCH", MAP, JSON_PATCH, "{}", 400, "BadRequest", "jsonpatch.Patch"),
    ("PATCH", MAP, JSON_PATCH, r#"[{"op":"burn","path":"/data"}]"#, 400, "BadRequest", "burn"),
    ("PATCH", MAP, JSON_PATCH, r#"[{"op":"add","path":"data","value":1}]"#, 422, "Invalid", "due to an error in our request"),
    ("PATCH", MAP, JSON_PATCH, r#"[{"op":"remove","path":"/data/none"}]"#, 422, "Invalid", "remove operation does not apply"),
    ("PATCH", MAP, JSON_PATCH, r#"[{"op":"test","path":"/metadata/name","value":"x"}]"#, 422, "Invalid", "test operation does not apply"),
    ("PATCH", MAP, JSON_PATCH, r#"[{"op":"replace","path":"","value":7}]"#, 400, "BadRequest", "must be of type Object"),
    ("PATCH", MAP, STRATEGIC, "7", 400, "BadRequest", "cannot unmarshal number"),
    ("PATCH", MAP, STRATEGIC, r#"{"metadata":{"finalizers":7}}"#, 422, "Invalid", ""),
    ("PATCH", MAP, STRATEGIC, r#"{"$patch":"explode"}"#, 422, "Invalid", ""),
    ("PATCH", "/api/v1/namespaces/default/configmaps?x", MERGE, "{}", 405, "MethodNotAllowed", ""),
    // Deletions
    ("DELETE", MAP, JSON, "7", 400, "BadRequest", "DeleteOptions"),
    ("DELETE", MAP, JSON, r#"{"propagationPolicy":"Sideways"}"#, 422, "Invalid", "propagationPolicy: Unsupported value: \"Sideways\""),
    ("DELETE", MAP, JSON, r#"{"preconditions":{"uid":"x"}}"#, 409, "Conflict", "UID"),
    ("DELETE", "/api/v1/namespaces/default/configmaps/there?gracePeriodSeconds=soon", JSON, "", 400, "BadRequest", "soon"),
    ("DELETE", "/api/v1/configmaps", JSON, "", 405, "MethodNotAllowed", ""),
    ("DELETE", "/api/v1/namespaces/default/configmaps?labelSelector=(", JSON, "", 400, "BadRequest", "unable to parse requirement"),
    // Selectors, versions, pages
    ("GET", "/api/v1/pods?labelSelector=a%20in%20b", JSON, "", 400, "BadRequest", "found 'b', expected: '('"),
    ("GET", "/api/v1/pods?labelSelector=a%3Db%20c", JSON, "", 400, "BadRequest", "unable to parse requirement"),
    ("GET", "/api/v1/pods?labelSelector=a%3E", JSON, "", 400, "BadRequest", "unable to parse requirement"),
    ("GET", "/api/v1/pods?labelSelector=a%3Ex", JSON, "", 400, "BadRequest", "unable to parse requirement"),
    ("GET", "/api/v1/pods?labelSelector=%C3%A4%3D1", JSON, "", 400, "BadRequest", "unable to parse requirement"),
    ("GET", "/api/v1/pods?fieldSelector=x", JSON, "", 400, "BadRequest", "invalid selector: 'x'; can't understand 'x'"),
    ("GET", "/api/v1/pods?fieldSelector=spec.color%3Dred", JSON, "", 400, "BadRequest", "field label not supported: spec.color"),
    ("GET", "/api/v1/pods?resourceVersion=abc", JSON, "", 400, "BadRequest", "Invalid value: \"abc\""),
    ("GET", "/api/v1/pods?resourceVersion=-1", JSON, "", 400, "BadRequest", "Invalid value: \"-1\""),
    ("GET", "/api/v1/pods?resourceVersion=18446744073709551616", JSON, "", 400, "BadRequest", "18446744073709551616"),
    ("GET", "/api/v1/pods?resourceVersionMatch=Exact", JSON, "", 422, "Invalid", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
    ("GET", "/api/v1/pods?resourceVersionMatch=Near&resourceVersion=1", JSON, "", 422, "Invalid", "resourceVersionMatch"),
    ("GET", "/api/v1/pods?watch=perhaps", JSON, "", 400, "BadRequest", "perhaps"),
    ("GET", "/api/v1/pods?watch=1&sendInitialEvents=true", JSON, "", 422, "Invalid", "sendInitialEvents"),
    ("GET", "/api/v1/pods?timeoutSeconds=long&watch=1", JSON, "", 400, "BadRequest", "long"),
    ("GET", "/api/v1/pods?continue=%00", JSON, "", 400, "BadRequest", "continue key is not valid"),
    ("GET", "/api/v1/pods?limit=1&continue=eyJ2IjoxfQ", JSON, "", 400, "BadRequest", "continue key is not valid"),
    // Paths
    ("GET", "/api/v1/sandwiches", JSON, "", 404, "NotFound", "the server could not find the requested resource"),
    ("GET", "/api/v2/pods", JSON, "", 404, "NotFound", "the server could not find the requested resource"),
    ("GET", "/apis/example.com/v1/things", JSON, "", 404, "NotFound", "the server could not find the requested resource"),
    ("GET", "/api/v1/namespaces/default/pods/a/b/c", JSON, "", 404, "NotFound", ""),
    ("GET", "/api/v1/namespaces/default/pods/%2e%2e%2fsecrets", JSON, "", 404, "NotFound", ""),
    ("GET", "/api/v1/namespaces/default/pods/..", JSON, "", 404, "NotFound", ""),
    ("GET", "/../../etc/passwd", JSON, "", 404, "NotFound", ""),
    ("TRACE", "/api/v1/pods", JSON, "", 405, "MethodNotAllowed", ""),
    ("BREW", MAPS, JSON, "", 405, "MethodNotAllowed", ""),
];

#[tokio::test]
async fn wrong_requests_are_refused_in_kubernetes_words() {
    let server = Server::start();
    let client = server.client().await;
    let there = json!({"metadata": {"name": "there"}, "data": {"a": "b"}}).to_string();
    let (status, _) = send(&client, "POST", MAPS, JSON, there).await;
    assert_eq!(status, StatusCode::CREATED);
    let mut wrong = Vec::new();
    for (method, path, content_type, body, code, reason, words) in CASES {
        let (status, answer) = send(&client, method, path, content_type, *body).await;
        let message = answer["message"].as_str().unwrap_or("");
        let is_right = status.as_u16() == *code
            && answer["kind"] == "Status"
            && answer["code"] == *code
            && answer["reason"] == *reason
            && message.contains(words);
        if !is_right {
            wrong.push(format!(
                "{method} {path} {body}\n  wanted {code} {reason} {words}\n  found {status} {answer}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} are wrong",
        wrong.join("\n"),
        wrong.len()
    );
    assert_eq!(
        send(&client, "GET", MAP, JSON, "").await.0,
        StatusCode::OK,
        "what is there is unharmed"
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_costs_little() {
    let server = Server::start();
    let client = server.client().await;
    let before = server.resident_mb();
    let value = "x".repeat(3 << 20);
    let body = json!({"metadata": {"name": "big"}, "data": {"a": value}}).to_string();
    for _ in 0..10 {
        let (status, answer) = send(&client, "POST", MAPS, JSON, body.clone()).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer["reason"], "RequestEntityTooLarge", "{answer}");
    }
    // Within the limit of requests, beyond that of a ConfigMap.
    let value = "x".repeat((1 << 20) + 1);
    let body = json!({"metadata": {"name": "big"}, "data": {"a": value}}).to_string();
    let (status, answer) = send(&client, "POST", MAPS, JSON, body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert!(
        answer["message"].as_str().unwrap().contains("Too long"),
        "{answer}"
    );
    let grown = server.resident_mb() - before;
    assert!(grown < 64.0, "{grown} MB more");
}
