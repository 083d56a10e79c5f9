//! Objects as JSON values: reading them, writing them, checking their types.

mod encode;
mod input;
mod outline;
mod protobuf;
mod quantity;
mod typed;

use jiff::Timestamp;
use serde_json::{Map, Value};

pub use encode::{describe, template};
pub use input::{Input, parse_json, parse_yaml};
pub use outline::outline;
pub use protobuf::parse_protobuf;
pub use quantity::normalize;
pub use sealane_objects::Quantity;
pub use typed::{Decoded, TypeError, decode};

/// `metadata.name`, or empty.
pub fn name(object: &Value) -> &str {
    meta(object, "name")
}

/// `metadata.namespace`, or empty.
pub fn namespace(object: &Value) -> &str {
    meta(object, "namespace")
}

/// A text of `metadata`, or empty.
pub fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or("")
}

/// `metadata` as a map, made if it is absent.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().expect("just made an object")
}

/// Whether a deletion of the object has begun.
pub fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Whether anything still holds back the deletion of the object.
pub fn has_finalizers(object: &Value) -> bool {
    let some = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    some(&object["metadata"]["finalizers"])
}

/// The resource version that the object claims to have.
pub fn resource_version(object: &Value) -> &str {
    meta(object, "resourceVersion")
}

/// A time as Kubernetes writes it: RFC 3339, UTC, whole seconds.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The elements of the list under `name`; none if there is none. Unlike indexing, this makes
/// nothing.
pub fn elements_mut<'a>(object: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(name)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// Sets a top-level part of `object` to what `from` has there, absent if absent.
pub fn copy_part(object: &mut Value, from: &Value, part: &str) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    match from.get(part) {
        Some(value) if !value.is_null() => map.insert(part.into(), value.clone()),
        _ => map.remove(part),
    };
}
