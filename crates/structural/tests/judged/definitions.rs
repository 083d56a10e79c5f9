//! Definitions themselves.

use sealane_structural::definition::{check, complete};
use serde_json::{Value, json};

use crate::shown;

fn definition() -> Value {
    let mut definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "crontabs.stable.example.com" },
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": { "plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"] },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": { "type": "object", "properties": { "image": { "type": "string" }, "replicas": { "type": "integer" }, "tags": { "type": "array", "items": { "type": "string" } } } },
                        "status": { "type": "object", "properties": { "replicas": { "type": "integer" } } },
                    },
                } },
                "subresources": { "status": {}, "scale": { "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas" } },
                "additionalPrinterColumns": [{ "name": "Image", "type": "string", "jsonPath": ".spec.image" }],
                "selectableFields": [{ "jsonPath": ".spec.image" }],
            }],
        },
    });
    complete(&mut definition);
    definition
}

fn wrong(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut definition = definition();
    change(&mut definition);
    shown(&check(&definition, None))
}

#[test]
fn what_is_not_said_is_filled_in() {
    let definition = definition();
    assert_eq!(definition["spec"]["names"]["singular"], "crontab");
    assert_eq!(definition["spec"]["names"]["listKind"], "CronTabList");
    assert_eq!(
        definition["spec"]["conversion"],
        json!({ "strategy": "None" })
    );
    assert_eq!(shown(&check(&definition, None)), Vec::<String>::new());
}

#[test]
fn a_definition_is_judged_field_by_field() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 25] = [
        (
            |d| d["metadata"]["name"] = "a.b".into(),
            "metadata.name: Invalid value: \"a.b\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            |d| d["spec"]["group"] = "".into(),
            "spec.group: Required value",
        ),
        (
            |d| d["spec"]["group"] = "example".into(),
            "spec.group: Invalid value: \"example\": should be a domain with at least one dot",
        ),
        (
            |d| d["spec"]["scope"] = "World".into(),
            "spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        (
            |d| d["spec"]["names"]["kind"] = "".into(),
            "spec.names.kind: Required value",
        ),
        (
            |d| d["spec"]["names"]["listKind"] = "CronTab".into(),
            "spec.names.listKind: Invalid value: \"CronTab\": kind and listKind may not be the same",
        ),
        (
            |d| d["spec"]["names"]["shortNames"] = json!(["C"]),
            "spec.names.shortNames[0]: Invalid value: \"C\": a DNS-1035 label",
        ),
        (
            |d| d["spec"]["versions"][0]["name"] = "V1".into(),
            "spec.versions[0].name: Invalid value: \"V1\": a DNS-1035 label",
        ),
        (
            |d| d["spec"]["versions"][0]["storage"] = false.into(),
            "spec.versions: Invalid value: must have exactly one version marked as storage version",
        ),
        (
            |d| d["spec"]["versions"] = json!([d["spec"]["versions"][0], d["spec"]["versions"][0]]),
            "spec.versions: Invalid value: must contain unique version names",
        ),
        (
            |d| d["spec"]["versions"][0]["schema"] = Value::Null,
            "spec.versions[0].schema.openAPIV3Schema: Required value",
        ),
        (
            |d| d["spec"]["versions"][0]["deprecationWarning"] = "old".into(),
            "spec.versions[0].deprecationWarning: Invalid value: \"old\": can only be set for deprecated versions",
        ),
        (
            |d| d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["type"] = "array".into(),
            "spec.versions[0].schema.openAPIV3Schema.type: Invalid value: \"array\": only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled",
        ),
        (
            |d| d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["maxProperties"] = 3.into(),
            "spec.versions[0].schema.openAPIV3Schema: Invalid value: only [Description",
        ),
        (
            |d| d["spec"]["versions"][0]["additionalPrinterColumns"][0]["type"] = "text".into(),
            "spec.versions[0].additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
        ),
        (
            |d| d["spec"]["versions"][0]["additionalPrinterColumns"][0]["jsonPath"] = "spec".into(),
            "spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: \"spec\": must be a simple json path starting with .",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["subresources"]["scale"]["specReplicasPath"] =
                    ".status.a".into()
            },
            "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: \".status.a\": should be a json path under .spec",
        ),
        (
            |d| d["spec"]["versions"][0]["subresources"]["scale"]["statusReplicasPath"] = "".into(),
            "spec.versions[0].subresources.scale.statusReplicasPath: Required value",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["selectableFields"] = json!([{ "jsonPath": ".spec.tags" }])
            },
            "spec.versions[0].selectableFields[0].jsonPath: Invalid value: \".spec.tags\": must point to a field of type string, boolean or integer.",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["selectableFields"] =
                    json!([{ "jsonPath": ".spec.nothing" }])
            },
            "spec.versions[0].selectableFields[0].jsonPath: Invalid value: \".spec.nothing\": is an invalid path: does not refer to a valid field",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["selectableFields"] =
                    json!([{ "jsonPath": ".spec['image']" }])
            },
            "is an invalid path: array notation is not allowed",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["selectableFields"] =
                    json!([{ "jsonPath": ".spec.image" }, { "jsonPath": ".spec.image" }])
            },
            "spec.versions[0].selectableFields[1].jsonPath: Duplicate value: \".spec.image\"",
        ),
        (
            |d| d["spec"]["conversion"] = json!({ "strategy": "Webhook" }),
            "spec.conversion.strategy: Unsupported value: \"Webhook\": supported values: \"None\"",
        ),
        (
            |d| d["spec"]["preserveUnknownFields"] = true.into(),
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true",
        ),
        (
            |d| {
                d["spec"]["group"] = "a.k8s.io".into();
                d["metadata"]["name"] = "crontabs.a.k8s.io".into();
            },
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation",
        ),
    ];
    for (change, expected) in cases {
        let found = wrong(change);
        assert!(
            found.iter().any(|problem| problem.contains(expected)),
            "{expected}\n{found:#?}"
        );
    }
    for note in [
        "https://github.com/kubernetes/kubernetes/pull/1",
        "unapproved, experimental",
    ] {
        let found = wrong(|d| {
            d["spec"]["group"] = "a.k8s.io".into();
            d["metadata"] = json!({ "name": "crontabs.a.k8s.io", "annotations": { "api-approved.kubernetes.io": note } });
        });
        assert_eq!(found, Vec::<String>::new(), "{note}");
    }
}

#[test]
fn what_objects_were_stored_by_stays() {
    let mut old = definition();
    old["status"] = json!({ "conditions": [{ "type": "Established", "status": "True" }], "storedVersions": ["v1"] });
    let update = |change: fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        shown(&check(&new, Some(&old)))
    };
    assert_eq!(update(|_| {}), Vec::<String>::new());
    assert_eq!(
        update(|d| d["spec"]["scope"] = "Cluster".into()),
        ["spec.scope: Invalid value: \"Cluster\": field is immutable"]
    );
    assert_eq!(
        update(|d| d["spec"]["names"]["kind"] = "Tab".into()),
        ["spec.names.kind: Invalid value: \"Tab\": field is immutable"]
    );
    let found = update(|d| d["spec"]["versions"][0]["name"] = "v2".into());
    assert!(found[0].starts_with("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version"), "{found:?}");
}

#[test]
fn what_is_no_definition_is_refused_without_a_panic() {
    for strange in [
        json!(null),
        json!([]),
        json!({ "spec": 1 }),
        json!({ "spec": { "versions": 1, "names": [] } }),
        json!({ "spec": { "versions": [1, null] } }),
    ] {
        let mut strange = strange;
        complete(&mut strange);
        assert!(!check(&strange, None).is_empty());
        assert!(!check(&strange, Some(&definition())).is_empty());
    }
}
