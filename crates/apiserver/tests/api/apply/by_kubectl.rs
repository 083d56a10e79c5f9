//! `kubectl apply --server-side`, `diff`, `view-last-applied`, and from client-side apply to it.

use serde_json::Value;

use super::{names, owners};
use crate::harness::Server;

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: 'sealane.io/echo:1', ports: [{containerPort: 80}]}]
";

fn applied(server: &Server, more: &[&str], manifest: &str) -> String {
    let arguments = [&["apply", "--server-side", "-f", "-"], more].concat();
    let said = server.kubectl_with(&arguments, manifest);
    assert!(said.ok, "{}", said.err);
    said.out
}

fn shown(server: &Server) -> Value {
    let json = server.ok("get deployment web -o json --show-managed-fields");
    serde_json::from_str(&json).unwrap()
}

#[test]
fn kubectl_applies_on_the_server() {
    let server = Server::start();
    let done = "deployment.apps/web serverside-applied\n";
    assert_eq!(applied(&server, &[], MANIFEST), done);
    assert_eq!(names(&shown(&server)), ["kubectl Apply"]);
    let plain = server.ok("get deployment web -o yaml");
    assert!(!plain.contains("managedFields"), "{plain}");
    assert!(
        server
            .ok("scale deployment web --replicas=5")
            .contains("scaled")
    );
    let refused = server.refused(&["apply", "--server-side", "-f", "-"], MANIFEST);
    assert!(
        refused.starts_with(
            "error: Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \
             \"scale\" using apps/v1: .spec.replicas\n"
        ),
        "{refused}"
    );
    assert!(refused.contains("--force-conflicts"), "{refused}");
    assert_eq!(applied(&server, &["--force-conflicts"], MANIFEST), done);
    assert_eq!(
        server.ok("get deployment web -o jsonpath={.spec.replicas}"),
        "3"
    );
    assert_eq!(names(&shown(&server)), ["kubectl Apply"]);
    // Two teams on one object.
    let label = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {team: b}}
";
    applied(&server, &["--field-manager=team-b"], label);
    assert_eq!(
        server.ok("get deployment web -o jsonpath={.metadata.labels}"),
        "{\"app\":\"web\",\"team\":\"b\"}"
    );
    // A dry run, as `kubectl diff --server-side` makes one.
    let changed = MANIFEST.replace("echo:1", "echo:2");
    let said = server.kubectl_with(&["diff", "--server-side", "-f", "-"], &changed);
    assert!(
        said.out.contains("\n-      - image: sealane.io/echo:1\n"),
        "{said:?}"
    );
    assert!(
        said.out.contains("\n+      - image: sealane.io/echo:2\n"),
        "{said:?}"
    );
    let said = server.kubectl_with(&["diff", "--server-side", "-f", "-"], MANIFEST);
    assert!(said.ok && said.out.is_empty(), "{said:?}");
}

#[test]
fn kubectl_goes_from_client_to_server() {
    let server = Server::start();
    server.apply(MANIFEST);
    let before = shown(&server);
    assert_eq!(names(&before), ["kubectl-client-side-apply Update"]);
    let said = server.kubectl_with(
        &["diff", "-f", "-"],
        &MANIFEST.replace("replicas: 3", "replicas: 4"),
    );
    assert!(
        said.out.contains("\n-  replicas: 3\n+  replicas: 4\n"),
        "{said:?}"
    );
    let said = server.kubectl_with(&["diff", "-f", "-"], MANIFEST);
    assert!(said.ok && said.out.is_empty(), "{said:?}");
    let last = server.ok("apply view-last-applied deployment web");
    assert!(last.contains("replicas: 3"), "{last}");

    // A changed value is no conflict with what kubectl itself applied.
    let changed = MANIFEST.replace("replicas: 3", "replicas: 2");
    applied(&server, &[], &changed);
    let after = shown(&server);
    assert_eq!(after["spec"]["replicas"], 2);
    assert!(
        !names(&after).contains(&"kubectl-client-side-apply Update".to_owned()),
        "{:?}",
        names(&after)
    );
    let (_, fields) = &owners(&after)[0];
    assert!(fields["f:spec"]["f:replicas"].is_object(), "{fields}");
    // What is left out goes, though it was applied by the client.
    let less = changed.replace(", labels: {app: web}}\nspec:", "}\nspec:");
    applied(&server, &[], &less);
    assert_eq!(
        server.ok("get deployment web -o jsonpath={.metadata.labels}"),
        ""
    );
    // And back.
    let said = server.kubectl_with(&["apply", "-f", "-"], MANIFEST);
    assert!(said.ok, "{}", said.err);
    assert_eq!(
        server.ok("get deployment web -o jsonpath={.spec.replicas}"),
        "3"
    );
}
