//! How custom objects go: with their definition, their namespace, their owner's permission.

use std::fs;

use futures::StreamExt;
use http::Method;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, WatchEvent, WatchParams},
    core::GroupVersionKind,
};
use serde_json::json;

use super::{MILLS, PATH, ask, establish, mill};
use crate::harness::{Server, wait_for, within};

fn mills(client: kube::Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("example.com", "v1", "Mill");
    Api::default_namespaced_with(client, &ApiResource::from_gvk_with_plural(&kind, "mills"))
}

#[tokio::test]
async fn a_definition_goes_with_its_objects() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    server.apply(&mill("one", "{grain: rye}"));
    let held = mill("held", "{grain: rye}").replace(
        "{name: held}",
        "{name: held, finalizers: [example.com/hold]}",
    );
    server.apply(&held);
    let client = server.client().await;
    let watch = mills(client.clone())
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap();
    let mut watch = watch.boxed();
    server.ok("delete crd mills.example.com --wait=false");
    wait_for("the objects' end", || {
        (server.ok("get mills -o name") == "mill.example.com/held\n").then_some(())
    });
    let path = "{.metadata.finalizers}{.status.conditions[?(@.type==\"Terminating\")].status}";
    let path = format!("-o=jsonpath={path}");
    let shown = server
        .kubectl_with(&["get", "crd", "mills.example.com", &path], "")
        .out;
    assert_eq!(
        shown,
        "[\"customresourcecleanup.apiextensions.k8s.io\"]True"
    );
    let body = json!({"apiVersion": "example.com/v1", "kind": "Mill", "metadata": {"name": "new"}, "spec": {"grain": "rye"}});
    let (status, said) = ask(&client, Method::POST, PATH, body).await;
    assert_eq!(status.as_u16(), 405, "{said}");
    assert_eq!(
        said["message"],
        "create not allowed while custom resource definition is terminating"
    );
    let (status, said) = ask(
        &client,
        Method::PATCH,
        &format!("{PATH}/held"),
        json!({"metadata": {"finalizers": null}}),
    )
    .await;
    assert_eq!(status.as_u16(), 200, "{said}");
    server.ok("wait --for=delete crd/mills.example.com --timeout=60s");
    let (status, _) = ask(&client, Method::GET, PATH, serde_json::Value::Null).await;
    assert_eq!(status.as_u16(), 404);

    // Watchers have seen it all, and are told that it is over.
    let mut deleted = Vec::new();
    while let Some(event) = within("the end of the watch", watch.next()).await {
        if let WatchEvent::Deleted(object) = event.unwrap() {
            deleted.push(object.metadata.name.unwrap());
        }
    }
    assert_eq!(deleted, ["one", "held"]);

    // A definition of the same name begins with nothing.
    establish(&server, "mills.example.com", MILLS);
    assert_eq!(server.ok("get mills -A -o name"), "");
}

#[test]
fn a_namespace_goes_with_the_custom_objects_in_it() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    server.ok("create namespace valley");
    let said = server.kubectl_with(
        &["apply", "-n", "valley", "-f", "-"],
        &mill("one", "{grain: rye}"),
    );
    assert!(said.ok, "{}", said.err);
    server.ok("delete namespace valley --timeout=60s");
    assert_eq!(server.ok("get mills -A -o name"), "");
}

#[test]
fn roles_speak_of_custom_kinds() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    server.apply(&mill("one", "{grain: rye}"));
    server.ok("create role miller --verb=get,list --resource=mills.example.com");
    server.ok("create rolebinding miller --role=miller --user=ann");
    server.add(&server.pki.client("ann", "people"), "ann");
    let path = server.path().join("kubeconfig-of-ann");
    fs::write(&path, server.kubeconfig(Some("ann"))).unwrap();
    let run = |words: &str| server.kubectl(&format!("--kubeconfig={} {words}", path.display()));
    assert_eq!(run("get mills -o name").out, "mill.example.com/one\n");
    let refused = run("delete mill one").err;
    assert!(
        refused
            .contains("User \"ann\" cannot delete resource \"mills\" in API group \"example.com\""),
        "{refused}"
    );
    assert_eq!(run("auth can-i list mills").out, "yes\n");
    assert_eq!(
        run("auth can-i update mills --subresource=status").out,
        "no\n"
    );
    // Our own controllers collect them, and do no more.
    let can = |what: &str| {
        let user = "--as=system:sealane:controllers --as-group=system:sealane";
        server.kubectl(&format!("auth can-i {what} {user}")).out
    };
    assert_eq!(can("delete mills"), "yes\n");
    assert_eq!(can("create mills"), "no\n");
    assert_eq!(can("update mills --subresource=status"), "no\n");
}

#[test]
fn a_restart_keeps_all() {
    let mut server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    server.apply(&mill("one", "{grain: rye}"));
    let before = server.ok("get mill one -o yaml");
    server.kill_and_launch();
    assert_eq!(
        server.ok("get mill one -o yaml"),
        before,
        "it is served from the first request on"
    );
    assert_eq!(
        server.ok("scale mill one --replicas=3"),
        "mill.example.com/one scaled\n"
    );
    // One that is going goes on.
    server.ok("delete crd mills.example.com --wait=false");
    server.kill_and_launch();
    server.ok("wait --for=delete crd/mills.example.com --timeout=60s");
}
