//! Webhooks about subresources: connections, scales, evictions and bindings.

use serde_json::{Value, json};

use super::{Judge, trusted};
use crate::{
    harness::Server,
    streams::{FakeNode, with_pod},
};

const DENIED: &str = "admission webhook \"w.example.com\" denied the request: not on a Sunday";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_are_asked_about_parts_of_objects() {
    let server = Server::start();
    let node = FakeNode::start(&server.pki).await;
    let judge = Judge::start(&server.pki).await;
    let about = |kind: &str, path: &str, operation: &str, resources: &[&str]| {
        let rules = json!([{"operations": [operation], "apiGroups": ["*"], "apiVersions": ["v1"], "resources": resources}]);
        let change = trusted(&server, json!({ "rules": rules }));
        server.apply(&judge.configuration(kind, path, change));
    };
    let kind = |value: &Value| {
        let part = |name: &str| value[name].as_str().unwrap().to_owned();
        format!("{}/{}.{}", part("group"), part("version"), part("kind"))
    };
    tokio::task::block_in_place(|| {
        with_pod(&server, &node);
        server.ok("create deployment web --image=x --replicas=1");
        let refused = |args: &[&str]| {
            let refused = server.refused(args, "");
            assert!(refused.contains(DENIED), "{args:?}: {refused}");
            judge.last()
        };

        // Connections; what only reads is none.
        about("Validating", "/no", "CONNECT", &["pods/exec", "pods/proxy"]);
        let request = refused(&["exec", "p", "--", "sh", "-c", "ls"]);
        assert_eq!(kind(&request["kind"]), "/v1.PodExecOptions");
        assert_eq!(request["object"]["command"], json!(["sh", "-c", "ls"]));
        assert_eq!(request["object"]["apiVersion"], "v1");
        assert_eq!(
            [
                &request["operation"],
                &request["name"],
                &request["namespace"],
                &request["subResource"]
            ],
            ["CONNECT", "p", "default", "exec"]
        );
        assert_eq!(request["options"], Value::Null);
        let request = refused(&[
            "get",
            "--raw",
            "/api/v1/namespaces/default/pods/p:80/proxy/a/b",
        ]);
        assert_eq!(request["object"]["path"], "/a/b");
        server.ok("logs p");

        // A scale is refused, and changed.
        about("Validating", "/no", "UPDATE", &["deployments/scale"]);
        let request = refused(&["scale", "deployment", "web", "--replicas=9"]);
        assert_eq!(kind(&request["kind"]), "autoscaling/v1.Scale");
        let of = |object: &Value| (object["kind"].clone(), object["spec"]["replicas"].clone());
        assert_eq!(of(&request["object"]), (json!("Scale"), json!(9)));
        assert_eq!(of(&request["oldObject"]), (json!("Scale"), json!(1)));
        let replicas = "get deployment web -o jsonpath={.spec.replicas}";
        assert_eq!(server.ok(replicas), "1");
        server.ok("delete validatingwebhookconfiguration w");
        about("Mutating", "/two", "UPDATE", &["*/scale"]);
        server.ok("scale deployment web --replicas=9");
        assert_eq!(server.ok(replicas), "2");
        server.ok("delete mutatingwebhookconfiguration w");

        // What is posted to a pod.
        about(
            "Validating",
            "/no",
            "CREATE",
            &["pods/eviction", "pods/binding"],
        );
        for (part, body, expected) in [
            (
                "eviction",
                json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}),
                "policy/v1.Eviction",
            ),
            (
                "binding",
                json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "nowhere"},
                       "target": {"kind": "Node", "name": "node-1"}}),
                "/v1.Binding",
            ),
        ] {
            let name = body["metadata"]["name"].as_str().unwrap();
            let path = format!("/api/v1/namespaces/default/pods/{name}/{part}");
            let refused = server.refused(&["create", "--raw", &path, "-f", "-"], &body.to_string());
            assert!(refused.contains(DENIED), "{refused}");
            assert_eq!(kind(&judge.last()["kind"]), expected);
        }
        server.ok("get pod p");
        assert_eq!(
            server.ok("get pod nowhere -o jsonpath={.spec.nodeName}"),
            ""
        );
    });
}
