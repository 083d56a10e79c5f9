//! Schemas, objects and definitions, and what is said of them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod changes;
mod conditions;
mod corpus;
mod costs;
mod definitions;
mod language;
mod laws;
mod rules;
mod schemas;
mod values;

use sealane_structural::{Problem, Schema};
use serde_json::{Value, json};

/// Each problem as it is shown.
fn shown(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// A schema of an object whose `spec` is of this form; it must be right.
fn of_spec(spec: Value) -> Schema {
    let raw = json!({ "type": "object", "properties": { "spec": spec } });
    Schema::read(&raw, "schema")
        .map_err(|problems| shown(&problems))
        .unwrap()
}

/// What is wrong with `spec`.
fn judged(schema: &Schema, spec: Value) -> Vec<String> {
    shown(&schema.validate(&json!({ "spec": spec }), None))
}
