//! Documents of a few resources: everything in them leads somewhere, and says what clients look for.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use sealane_openapi::{Carries, Facts, Part, Resource, Schema, v2_json, v2_protobuf, v3_document};
use serde_json::{Value, json};

const ALL: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

fn pods() -> Resource<'static> {
    let part = |name, verbs, carries| Part {
        name,
        kind: ["", "v1", "Pod"],
        verbs,
        carries,
    };
    Resource {
        group: "",
        version: "v1",
        kind: "Pod",
        list_kind: "PodList".into(),
        plural: "pods",
        namespaced: true,
        verbs: ALL,
        patches: vec![MERGE, STRATEGIC],
        schema: Schema::Library,
        parts: vec![
            part("status", &["get", "patch", "update"], Carries::Objects),
            part("log", &["get"], Carries::Stream(&[("container", "string")])),
        ],
    }
}

fn definitions() -> Resource<'static> {
    Resource {
        group: "apiextensions.k8s.io",
        kind: "CustomResourceDefinition",
        list_kind: "CustomResourceDefinitionList".into(),
        plural: "customresourcedefinitions",
        namespaced: false,
        parts: Vec::new(),
        ..pods()
    }
}

/// A custom kind, whose schema is the [`Facts`].
struct Tabs(Value);

impl Facts for Tabs {
    fn extensions(&self, _: &str, _: Option<&str>) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    fn schema(&self, _: &Resource<'_>) -> Value {
        self.0.clone()
    }
}

fn tabs() -> Resource<'static> {
    Resource {
        group: "stable.example.com",
        kind: "CronTab",
        list_kind: "CronTabs".into(),
        plural: "crontabs",
        patches: vec![MERGE],
        schema: Schema::Own,
        parts: Vec::new(),
        ..pods()
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What the references in a document begin with, and the names that they go on with.
fn references(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(Value::as_str) {
                found.insert(name.strip_prefix(prefix).expect(name).to_owned());
            }
            members
                .values()
                .for_each(|member| references(member, prefix, found));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| references(item, prefix, found)),
        _ => {}
    }
}

fn leads_somewhere(document: &Value, definitions: &Value, prefix: &str) {
    let mut found = BTreeSet::new();
    references(document, prefix, &mut found);
    let defined: BTreeSet<String> = definitions.as_object().unwrap().keys().cloned().collect();
    // What nothing refers to is served nevertheless: clients look for it by kind.
    assert!(
        found.is_subset(&defined),
        "{:?}",
        found.difference(&defined)
    );
}

#[test]
fn every_reference_leads_to_a_definition() {
    let schema = json!({ "type": "object", "properties": { "spec": { "type": "object" } } });
    let facts = Tabs(schema);
    for resource in [pods(), definitions(), tabs()] {
        let document = parsed(&v3_document(&[resource], &facts));
        let schemas = &document["components"]["schemas"];
        leads_somewhere(&document, schemas, "#/components/schemas/");
    }
    let document = parsed(&v2_json(&[pods(), definitions(), tabs()], &facts));
    leads_somewhere(&document, &document["definitions"], "#/definitions/");
}

#[test]
fn fields_are_described_and_typed() {
    let document = parsed(&v3_document(&[pods()], &()));
    let of = |name: &str| &document["components"]["schemas"][format!("io.k8s.api.core.v1.{name}")];
    let pod = of("Pod");
    assert_eq!(
        pod["x-kubernetes-group-version-kind"],
        json!([{ "group": "", "version": "v1", "kind": "Pod" }])
    );
    assert_eq!(pod["required"], Value::Null, "only Rust requires metadata");
    let spec = &pod["properties"]["spec"];
    assert_eq!(
        spec["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.api.core.v1.PodSpec"
    );
    assert!(
        spec["description"]
            .as_str()
            .unwrap()
            .starts_with("Specification of the desired")
    );
    assert_eq!(of("PodSpec")["required"], json!(["containers"]));
    assert_eq!(
        of("Container")["properties"]["args"]["items"]["type"],
        "string"
    );
    let port = &of("ContainerPort")["properties"]["containerPort"];
    assert_eq!(
        (&port["type"], &port["format"]),
        (&json!("integer"), &json!("int32"))
    );
    let meta = "io.k8s.apimachinery.pkg";
    let quantity = &document["components"]["schemas"][format!("{meta}.api.resource.Quantity")];
    assert_eq!(
        quantity["oneOf"],
        json!([{ "type": "string" }, { "type": "number" }])
    );
    assert_eq!(
        of("PodList")["properties"]["items"]["items"],
        json!({ "$ref": "#/components/schemas/io.k8s.api.core.v1.Pod" })
    );
}

#[test]
fn kubectl_finds_a_kind_by_its_path_and_what_a_patch_takes() {
    let document = parsed(&v3_document(&[pods()], &()));
    let pod = json!({ "group": "", "version": "v1", "kind": "Pod" });
    let list = &document["paths"]["/api/v1/namespaces/{namespace}/pods"]["get"];
    assert_eq!(list["x-kubernetes-group-version-kind"], pod);
    assert_eq!(list["operationId"], "listCoreV1NamespacedPod");
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"], pod);
    let names: Vec<&Value> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert!(names.contains(&&json!("fieldValidation")), "{names:?}");
    assert!(patch["requestBody"]["content"][STRATEGIC].is_object());
    let log = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/log"]["get"];
    assert_eq!(log["operationId"], "connectCoreV1GetNamespacedPodLog");

    let all = parsed(&v2_json(&[pods()], &()));
    let patch = &all["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert_eq!(patch["consumes"], json!([MERGE, STRATEGIC]));
}

#[test]
fn names_of_operations_are_unique() {
    let document = parsed(&v2_json(&[pods(), definitions(), tabs()], &()));
    let mut seen = BTreeSet::new();
    for path in document["paths"].as_object().unwrap().values() {
        for (_, operation) in path
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| *name != "parameters")
        {
            let id = operation["operationId"].as_str().unwrap();
            assert!(seen.insert(id.to_owned()), "{id}");
        }
    }
    assert!(
        seen.contains("readApiextensionsV1CustomResourceDefinition"),
        "{seen:?}"
    );
    assert!(
        seen.contains("listStableExampleComV1NamespacedCronTab"),
        "{seen:?}"
    );
}

/// What is known of fields reaches both versions.
#[test]
fn facts_are_joined() {
    struct Known;
    impl Facts for Known {
        fn extensions(&self, definition: &str, field: Option<&str>) -> Vec<(&'static str, Value)> {
            match (definition, field) {
                ("io.k8s.api.core.v1.PodSpec", Some("containers")) => {
                    vec![("x-kubernetes-patch-merge-key", json!("name"))]
                }
                ("io.k8s.api.core.v1.NodeSelector", None) => {
                    vec![("x-kubernetes-map-type", json!("atomic"))]
                }
                _ => Vec::new(),
            }
        }

        fn schema(&self, _: &Resource<'_>) -> Value {
            Value::Null
        }
    }
    let v3 = parsed(&v3_document(&[pods()], &Known));
    let v2 = parsed(&v2_json(&[pods()], &Known));
    for of in [&v3["components"]["schemas"], &v2["definitions"]] {
        let containers = &of["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        let selector = &of["io.k8s.api.core.v1.NodeSelector"];
        assert_eq!(selector["x-kubernetes-map-type"], "atomic");
    }
}

#[test]
fn custom_kinds_are_published_with_what_all_objects_have() {
    let schema = json!({
        "type": "object", "description": "A table of times.",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "port": { "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }] },
                    "note": { "type": "string", "nullable": true, "default": "x" },
                    "free": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                    "child": { "type": "object", "x-kubernetes-embedded-resource": true },
                },
            },
        },
    });
    let facts = Tabs(schema);
    let v3 = parsed(&v3_document(&[tabs()], &facts));
    let tab = &v3["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(tab["description"], "A table of times.");
    assert_eq!(tab["x-kubernetes-group-version-kind"][0]["kind"], "CronTab");
    assert_eq!(tab["properties"]["apiVersion"]["type"], "string");
    assert!(tab["properties"]["metadata"]["allOf"][0]["$ref"].is_string());
    let spec = &tab["properties"]["spec"]["properties"];
    assert_eq!(spec["note"]["default"], "x");
    assert!(spec["child"]["properties"]["metadata"].is_object());

    let v2 = parsed(&v2_json(&[tabs()], &facts));
    let tab = &v2["definitions"]["com.example.stable.v1.CronTab"];
    let spec = &tab["properties"]["spec"]["properties"];
    assert_eq!(spec["note"], json!({}));
    assert_eq!(spec["port"], json!({ "x-kubernetes-int-or-string": true }));
    assert_eq!(spec["free"]["type"], "object");

    // Nothing is said of its fields, so nothing is.
    let open = parsed(&v3_document(&[tabs()], &()));
    let open = &open["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(open["properties"], Value::Null);
}

/// Reads the fields of a message: numbers and, of those that have a length, bytes.
fn fields(mut rest: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(rest: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, left) = rest.split_first().unwrap();
            *rest = left;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut found = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest);
        let length = match tag & 7 {
            0 => {
                varint(&mut rest);
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)).unwrap(),
            wire => panic!("wire type {wire}"),
        };
        let (bytes, left) = rest.split_at(length);
        rest = left;
        found.push((tag >> 3, bytes));
    }
    found
}

fn only(message: &[u8], number: u64) -> &[u8] {
    fields(message)
        .into_iter()
        .find(|(found, _)| *found == number)
        .expect("the field is there")
        .1
}

#[test]
fn protobuf_says_the_same() {
    let schema = json!({ "type": "object", "properties": { "spec": { "type": "object", "additionalProperties": true } } });
    let (resources, facts) = ([pods(), tabs()], Tabs(schema));
    let (document, json) = (
        v2_protobuf(&resources, &facts),
        parsed(&v2_json(&resources, &facts)),
    );
    assert_eq!(only(&document, 1), b"2.0");
    let definitions = fields(only(&document, 9));
    let names: Vec<String> = definitions
        .iter()
        .map(|(_, one)| String::from_utf8_lossy(only(one, 1)).into())
        .collect();
    let mut sorted = names.clone();
    sorted.sort();
    assert!(
        sorted
            .iter()
            .eq(json["definitions"].as_object().unwrap().keys())
    );
    let pod = names
        .iter()
        .position(|name| name == "io.k8s.api.core.v1.Pod")
        .unwrap();
    let pod = only(definitions[pod].1, 2);
    let said = json["definitions"]["io.k8s.api.core.v1.Pod"]["description"]
        .as_str()
        .unwrap();
    assert_eq!(only(pod, 4), said.as_bytes());
    assert_eq!(only(only(pod, 22), 1), b"object");
    let kind = only(pod, 31);
    assert_eq!(only(kind, 1), b"x-kubernetes-group-version-kind");
    assert_eq!(
        only(only(kind, 2), 2),
        br#"[{"group":"","kind":"Pod","version":"v1"}]"#
    );
    let properties = fields(only(pod, 25));
    let names: Vec<&[u8]> = properties.iter().map(|(_, one)| only(one, 1)).collect();
    assert_eq!(
        names,
        [&b"apiVersion"[..], b"kind", b"metadata", b"spec", b"status"]
    );
    assert_eq!(
        fields(only(&document, 8)).len(),
        json["paths"].as_object().unwrap().len()
    );
}
