//! What fields are when nothing is said.

use serde_json::Value;

use crate::check::FieldPath;

/// Gives each field that is absent, and whose parent is there, the JSON beside its path.
pub fn fill(defaults: &[(&'static str, &str)], object: &mut Value) {
    for (path, json) in defaults {
        FieldPath::of(path).visit_mut(object, |map, name| {
            if map.get(name).is_none_or(Value::is_null) {
                let value = serde_json::from_str(json).expect("defaults in the table are JSON");
                map.insert(name.into(), value);
            }
        });
    }
}
