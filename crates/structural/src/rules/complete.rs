//! What combines schemas speaks only of places that are declared outside of it.

use serde_json::Value;

use super::{members, schemas};
use crate::path::Path;
use crate::problem::Problem;

pub(super) fn check(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    combined(raw, Some(raw), at, at, problems);
}

fn combined(
    narrowing: &Value,
    declared: Option<&Value>,
    declared_at: &Path<'_>,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    if narrowing["not"].is_object() {
        visit(
            &narrowing["not"],
            declared,
            declared_at,
            &at.field("not"),
            problems,
        );
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let list = at.field(keyword);
        for (index, schema) in schemas(narrowing, keyword).iter().enumerate() {
            visit(schema, declared, declared_at, &list.index(index), problems);
        }
    }
}

fn visit(
    narrowing: &Value,
    declared: Option<&Value>,
    declared_at: &Path<'_>,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    let Some(declared) = declared else {
        let detail = format!("because it is defined in {at}");
        problems.push(Problem::required(declared_at, detail));
        return;
    };
    combined(narrowing, Some(declared), declared_at, at, problems);
    if narrowing["items"].is_object() {
        let items = Some(&declared["items"]).filter(|items| items.is_object());
        visit(
            &narrowing["items"],
            items,
            &declared_at.field("items"),
            &at.field("items"),
            problems,
        );
    }
    let (properties, declared_properties) =
        (at.field("properties"), declared_at.field("properties"));
    for (name, property) in members(narrowing, "properties") {
        let known = Some(&declared["properties"][name]).filter(|known| known.is_object());
        visit(
            property,
            known,
            &declared_properties.key(name),
            &properties.key(name),
            problems,
        );
    }
}
