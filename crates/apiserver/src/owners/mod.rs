//! Who owns which field of an object: what is recorded in `metadata.managedFields`.
//!
//! Every write goes by [`Writing::owners`], which says who owns what after it. What that means is
//! decided in `sealane-ownership`; here are the shapes of the kinds that are served, and whose
//! word counts: the one of the request where it speaks of managed fields, else what was stored.
//!
//! The entries are stored within the object, as clients get them. They cost nothing where nothing
//! changes: a write that leaves the object as it is leaves them as they are.

mod shape;
mod writing;

pub use shape::shape_of;
pub use writing::Writing;

use serde_json::Value;

use crate::object;

/// Takes the managed fields out of an object; null if it has none.
pub fn take_entries(object: &mut Value) -> Value {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    metadata
        .and_then(|metadata| metadata.remove("managedFields"))
        .unwrap_or_default()
}

/// Puts managed fields into an object that has none; null stands for none.
pub fn put_entries(object: &mut Value, entries: Value) {
    if !entries.is_null() {
        object::metadata_mut(object).insert("managedFields".into(), entries);
    }
}
