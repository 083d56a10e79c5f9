//! A webhook behind a Service: the API server reaches its pod through the pod's node.

use serde_json::{Value, json};

use super::{Judge, trusted};
use crate::{
    harness::Server,
    streams::{FakeNode, with_pod},
};

/// A port of the pod that is the webhook.
const PORT: u16 = 8443;

/// A definition, and the Service with its EndpointSlice, as a controller would write it.
fn objects() -> String {
    let labels = json!({"kubernetes.io/service-name": "judge"});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "judge"},
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": PORT}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "judge-1", "labels": labels},
            "endpoints": [{"addresses": ["10.0.0.9"], "conditions": {"ready": true},
                           "targetRef": {"kind": "Pod", "name": "p", "namespace": "default"}}],
            "ports": [{"name": "https", "port": PORT, "protocol": "TCP"}],
        },
        {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "mills.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"kind": "Mill", "plural": "mills", "singular": "mill", "listKind": "MillList"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": {
                        "stones": {"type": "integer", "default": 1},
                    }}},
                }}}],
            },
        },
    ]})
    .to_string()
}

fn mill(name: &str) -> String {
    json!({"apiVersion": "example.com/v1", "kind": "Mill", "metadata": {"name": name}, "spec": {}})
        .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_behind_a_service_is_asked_about_all_kinds() {
    let server = Server::start();
    let node = FakeNode::start(&server.pki).await;
    let judge = Judge::start(&server.pki).await;
    node.doors.lock().unwrap().insert(PORT, judge.port);
    let behind = |kind: &str, path: &str, change: Value| {
        let mut change = trusted(&server, change);
        change["rules"] = json!([{
            "operations": ["CREATE", "DELETE"], "apiGroups": ["", "example.com"], "apiVersions": ["v1"],
            "resources": ["configmaps", "mills"],
        }]);
        change["clientConfig"]["service"] =
            json!({"namespace": "default", "name": "judge", "path": path});
        let configuration = judge.configuration(kind, path, change);
        let mut configuration: Value = serde_json::from_str(&configuration).unwrap();
        let client = &mut configuration["webhooks"][0]["clientConfig"];
        client.as_object_mut().unwrap().remove("url");
        configuration.to_string()
    };
    tokio::task::block_in_place(|| {
        with_pod(&server, &node);
        server.apply(&objects());
        server.ok("wait --for=condition=Established crd/mills.example.com --timeout=30s");

        // Changed.
        server.apply(&behind("Mutating", "/label", json!({})));
        server.ok("create configmap a");
        server.apply(&mill("a"));
        assert_eq!(
            judge.last()["object"]["spec"]["stones"],
            1,
            "with its defaults"
        );
        for what in ["configmap a", "mill a"] {
            let labels = server.ok(&format!("get {what} -o jsonpath={{.metadata.labels}}"));
            assert_eq!(labels, "{\"seen\":\"yes\"}", "{what}");
        }
        server.ok("delete mutatingwebhookconfiguration w");

        // Refused, if the labels say so.
        let chosen = json!({
            "objectSelector": {"matchLabels": {"seen": "yes"}},
            "namespaceSelector": {"matchLabels": {"judged": "yes"}},
        });
        server.apply(&behind("Validating", "/no", chosen));
        server.apply(&mill("b"));
        server.ok("delete mill b");
        server.ok("label namespace default judged=yes");
        server.apply(&mill("b"));
        for what in ["configmap", "mill"] {
            let refused = server.refused(&["delete", what, "a"], "");
            let expected =
                "admission webhook \"w.example.com\" denied the request: not on a Sunday";
            assert!(refused.contains(expected), "{refused}");
        }

        // Not in time, or not there: as the failure policy says.
        let fail = |path: &str, cause: &str| {
            let seconds = json!({"timeoutSeconds": 1});
            server.apply(&behind("Validating", path, seconds));
            let refused = server.refused(&["create", "-f", "-"], &mill("c"));
            let post = format!("Post \"https://judge.default.svc:443{path}?timeout=1s\": {cause}");
            let expected =
                format!("failed calling webhook \"w.example.com\": failed to call webhook: {post}");
            assert!(refused.contains(&expected), "{refused}");
        };
        fail("/still", "context deadline exceeded");
        server.ok("delete endpointslice judge-1");
        fail("/yes", "no endpoints available for service \"judge\"");
        let ignored = json!({"failurePolicy": "Ignore"});
        server.apply(&behind("Validating", "/yes", ignored));
        server.apply(&mill("c"));
    });
}
