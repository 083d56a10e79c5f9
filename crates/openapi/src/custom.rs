//! Schemas of custom kinds, published as kube-apiserver does: every object has an `apiVersion`, a
//! `kind` and `metadata`, whatever its schema says; and OpenAPI v2, which knows less, gets less.

use serde_json::{Map, Value, json};

use crate::{
    Resource,
    definitions::{KIND, OBJECT_META, REFERENCE},
};

/// What every object has before all else, and what is said of it.
pub const TYPE_META: [(&str, &str); 2] = [
    (
        "apiVersion",
        "The group and version of the schema that this object is in, as `GROUP/VERSION`; in the core group the version \
         alone.",
    ),
    (
        "kind",
        "The kind of this object, in CamelCase. It does not change.",
    ),
];
const METADATA: &str =
    "Name, namespace, labels, annotations and whatever else all objects of Kubernetes have.";

/// The schema of a custom kind, whole. Null is a schema that says nothing: to add fields to it would
/// make clients think that there are no others.
pub fn published(resource: &Resource<'_>, mut schema: Value) -> Value {
    if schema.is_object() {
        embed(&mut schema);
        name_fields(&mut schema);
    } else {
        schema = json!({ "type": "object" });
    }
    schema[KIND] = json!([{
        "group": resource.group, "version": resource.version, "kind": resource.kind,
    }]);
    schema
}

/// Adds the fields that every object has.
fn name_fields(schema: &mut Value) {
    let properties = &mut schema["properties"];
    if !properties.is_object() {
        *properties = json!({});
    }
    for (name, said) in TYPE_META {
        properties[name] = json!({ "type": "string", "description": said });
    }
    let metadata = format!("{REFERENCE}{OBJECT_META}");
    properties["metadata"] = json!({ "$ref": metadata, "description": METADATA });
}

/// The same within: objects that are fields of others.
fn embed(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    let properties = members.get_mut("properties").and_then(Value::as_object_mut);
    properties
        .into_iter()
        .flat_map(Map::values_mut)
        .for_each(embed);
    for name in ["items", "additionalProperties"] {
        members.get_mut(name).into_iter().for_each(embed);
    }
    if is(members, "x-kubernetes-embedded-resource") {
        name_fields(schema);
    }
}

fn is(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name) == Some(&Value::Bool(true))
}

/// What OpenAPI v2 cannot say.
const V3_ONLY: [&str; 8] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "nullable",
    "default",
    "writeOnly",
    "deprecated",
];

/// Takes away what OpenAPI v2 does not know, and what old clients would hold against good objects: a
/// field that may be null has any type there, and fields beyond those that are named cannot be allowed.
pub fn for_v2(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    let open = ["nullable", "x-kubernetes-int-or-string"];
    if open.iter().any(|name| is(members, name)) {
        for gone in [
            "type",
            "format",
            "items",
            "properties",
            "additionalProperties",
            "required",
        ] {
            members.remove(gone);
        }
    }
    if is(members, "x-kubernetes-preserve-unknown-fields") {
        for gone in ["items", "properties", "required"] {
            members.remove(gone);
        }
    }
    for gone in V3_ONLY {
        members.remove(gone);
    }
    let properties = members.get_mut("properties").and_then(Value::as_object_mut);
    properties
        .into_iter()
        .flat_map(Map::values_mut)
        .for_each(for_v2);
    for inner in ["items", "additionalProperties"] {
        members.get_mut(inner).into_iter().for_each(for_v2);
    }
}
