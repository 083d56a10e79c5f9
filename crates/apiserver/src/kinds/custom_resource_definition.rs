//! CustomResourceDefinition: what a custom kind is called and what its objects look like.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use serde_json::{Value, json};

use sealane_structural::definition;

use super::{Deletion, Generation, Kind, PLAIN, fill, typed};
use crate::{check::Findings, custom::schema};

pub static CUSTOM_RESOURCE_DEFINITION: Kind = Kind {
    group: "apiextensions.k8s.io",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    namespaced: false,
    status: true,
    decode: typed::<apiextensions::CustomResourceDefinition>,
    complete,
    examine,
    generation: Generation::Spec,
    names_version: true,
    deletion: Deletion::Instances,
    ..PLAIN
};

fn complete(object: &mut Value) {
    definition::complete(object);
    fill(
        &[
            ("status", "{}"),
            ("status.acceptedNames", "{\"kind\":\"\",\"plural\":\"\"}"),
            ("status.conditions", "[]"),
            ("status.storedVersions", "[]"),
        ],
        object,
    );
    remember_storage(object);
    for_each_schema(object, whole_bounds);
}

/// The version that objects are stored as from now on is one that there may be objects of.
fn remember_storage(definition: &mut Value) {
    let versions = definition["spec"]["versions"].as_array();
    let mut versions = versions.into_iter().flatten();
    let storage = versions.find(|version| version["storage"] == true);
    let Some(name) = storage.map(|version| version["name"].clone()) else {
        return;
    };
    if let Some(stored) = definition["status"]["storedVersions"].as_array_mut()
        && !stored.contains(&name)
    {
        stored.push(name);
    }
}

fn for_each_schema(definition: &mut Value, work: fn(&mut Value)) {
    let versions = definition["spec"]["versions"].as_array_mut();
    for version in versions.into_iter().flatten() {
        if let Some(schema) = version.get_mut("schema") {
            work(schema);
        }
    }
}

/// Bounds are floating point by type, and whole numbers by what people write: `100`, not `100.0`.
fn whole_bounds(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(whole_bounds),
        Value::Object(members) => {
            for (name, value) in members {
                let bound = ["maximum", "minimum", "multipleOf"].contains(&name.as_str());
                match value.as_f64().filter(|_| bound && !value.is_i64()) {
                    Some(whole) if whole.fract() == 0.0 && whole.abs() < EXACT => {
                        *value = json!(whole as i64);
                    }
                    _ => whole_bounds(value),
                }
            }
        }
        _ => {}
    }
}

/// Up to here all whole numbers are floating point numbers too: 2⁵³.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn examine(object: &Value, old: Option<&Value>, findings: &mut Findings) {
    schema::add(findings, definition::check(object, old));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_filled_in() {
        let mut definition = json!({
            "metadata": {"name": "mills.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": "mills", "kind": "WaterMill"},
                "versions": [
                    {"name": "v1", "served": true, "storage": false},
                    {"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                        "properties": {"maximum": {"maximum": 5.0, "minimum": 0.5}},
                    }}},
                ],
            },
            "status": {"storedVersions": ["v1"]},
        });
        complete(&mut definition);
        let spec = &definition["spec"];
        assert_eq!(spec["names"]["singular"], "watermill");
        assert_eq!(spec["names"]["listKind"], "WaterMillList");
        assert_eq!(spec["conversion"], json!({"strategy": "None"}));
        let schema = &spec["versions"][1]["schema"]["openAPIV3Schema"];
        let bounds = schema["properties"]["maximum"].to_string();
        assert_eq!(bounds, "{\"maximum\":5,\"minimum\":0.5}");
        assert_eq!(definition["status"]["storedVersions"], json!(["v1", "v2"]));
        let once = definition.clone();
        complete(&mut definition);
        assert_eq!(definition, once);
    }
}
