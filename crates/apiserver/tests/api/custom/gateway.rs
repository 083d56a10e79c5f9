//! The Gateway API: its definitions install as they are published, and its example objects are taken
//! or refused as upstream says.
//!
//! They are not ours, so they are read from a clone of it:
//! `GATEWAY_API=DIR cargo test -p sealane-apiserver --test api -- --ignored gateway`.

use std::{collections::BTreeMap, env, fs, path::Path};

use http::Method;
use serde::Deserialize as _;
use serde_json::Value;

use super::ask;
use crate::harness::{Server, wait_for};

/// The documents of the files below `folder`, with the path of each.
fn documents(folder: &str) -> Vec<(String, Value)> {
    let clone =
        env::var("GATEWAY_API").expect("GATEWAY_API has to name a clone of the Gateway API");
    let mut files = Vec::new();
    find(&Path::new(&clone).join(folder), &mut files);
    assert!(!files.is_empty(), "there is nothing in {clone}/{folder}");
    files.sort();
    files
        .into_iter()
        .flat_map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let documents = serde_yaml_ng::Deserializer::from_str(&text);
            let documents = documents.map(|document| Value::deserialize(document).unwrap());
            let objects = documents.filter(Value::is_object);
            objects
                .map(|object| (path.clone(), object))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn find(folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            files.push(path.to_str().unwrap().to_owned());
        }
    }
}

/// Where an object of a kind goes.
fn place(object: &Value, plurals: &BTreeMap<String, (String, bool)>) -> Option<String> {
    let kind = object["kind"].as_str()?;
    let (plural, namespaced) = plurals.get(kind)?;
    let version = object["apiVersion"].as_str()?;
    let within = if *namespaced {
        "namespaces/default/"
    } else {
        ""
    };
    Some(format!("/apis/{version}/{within}{plural}"))
}

/// Installs the definitions of a channel; plural name and scope of each kind.
async fn install(server: &Server, channel: &str) -> BTreeMap<String, (String, bool)> {
    let client = server.client().await;
    let mut plurals = BTreeMap::new();
    for (path, definition) in documents(&format!("config/crd/{channel}")) {
        if definition["kind"] != "CustomResourceDefinition" {
            continue;
        }
        let spec = &definition["spec"];
        let text = |part: &Value| part.as_str().unwrap().to_owned();
        let namespaced = spec["scope"] == "Namespaced";
        plurals.insert(
            text(&spec["names"]["kind"]),
            (text(&spec["names"]["plural"]), namespaced),
        );
        let to = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let (status, said) = ask(&client, Method::POST, to, definition).await;
        assert_eq!(status.as_u16(), 201, "{path}: {}", said["message"]);
    }
    wait_for("the definitions", || {
        let shown = server.ok("get crd -o jsonpath={.items[*].status.conditions[1].status}");
        let established = shown.split(' ').filter(|word| *word == "True").count();
        (established == plurals.len()).then_some(())
    });
    plurals
}

#[tokio::test]
#[ignore = "reads a clone of the Gateway API"]
async fn definitions_install_and_examples_are_judged() {
    for channel in ["standard", "experimental"] {
        let server = Server::start();
        let plurals = install(&server, channel).await;
        assert!(plurals.len() >= 10, "{plurals:?}");
        let client = server.client().await;
        let mut wrong = Vec::new();
        let (mut taken, mut refused) = (0, 0);
        for (folder, expected) in [("examples", 201), ("hack/invalid-examples", 422)] {
            for (path, mut object) in documents(&format!("{folder}/{channel}")) {
                let Some(to) = place(&object, &plurals) else {
                    continue;
                };
                object["metadata"]["namespace"].take();
                let to = format!("{to}?dryRun=All&fieldValidation=Strict");
                let (status, said) = ask(&client, Method::POST, &to, object).await;
                match status.as_u16() {
                    201 => taken += 1,
                    _ => refused += 1,
                }
                if status.as_u16() != expected {
                    wrong.push(format!("{path}: {status} {}", said["message"]));
                }
            }
        }
        assert!(wrong.is_empty(), "{channel}:\n{}", wrong.join("\n"));
        println!("{channel}: {taken} taken, {refused} refused");
        assert!(taken > 3 && refused > 3);
    }
}

#[tokio::test]
#[ignore = "reads a clone of the Gateway API"]
async fn a_route_is_served_in_both_its_versions() {
    let server = Server::start();
    let plurals = install(&server, "standard").await;
    assert_eq!(plurals["HTTPRoute"].0, "httproutes");
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web}\nspec:\n  hostnames: [a.example.com]\n  rules: [{backendRefs: [{name: web, port: 80}]}]\n";
    assert_eq!(
        server.apply(route),
        "httproute.gateway.networking.k8s.io/web created\n"
    );
    let version = || server.ok("get httproute web -o jsonpath={.metadata.resourceVersion}");
    let before = version();
    server.apply(route);
    assert_eq!(version(), before, "the same again is no change");
    let shown = server.ok("get httproutes.v1beta1.gateway.networking.k8s.io web -o jsonpath={.apiVersion}{.spec.rules[0].matches}{.spec.rules[0].backendRefs[0].kind}");
    assert_eq!(
        shown,
        "gateway.networking.k8s.io/v1beta1[{\"path\":{\"type\":\"PathPrefix\",\"value\":\"/\"}}]Service"
    );
    let table = server.ok("get httproute");
    assert!(table.contains("[\"a.example.com\"]"), "{table}");
}
