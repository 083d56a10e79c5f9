//! Validation: what is wrong with an object, field by field.
//!
//! Most of it is data: a kind's row lists [`Rule`]s, each a field path and a [`Check`]. What
//! compares several fields is a function in the row. Everything is collected, not only the first
//! finding, as Kubernetes does.

mod field_path;
mod findings;
pub use sealane_objects::format;
mod metadata;
mod rules;

pub use field_path::{FieldPath, Place};
pub use findings::Findings;
pub use metadata::{
    NameRule, annotations, check_finalizers, check_metadata, check_metadata_update, labels,
};
pub use rules::{Check, Rule, run};
