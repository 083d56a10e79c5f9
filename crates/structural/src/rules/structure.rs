//! Each place has a type, and what combines schemas says nothing of structure.

use serde_json::{Value, json};

use super::{is_true, members, schemas, text};
use crate::path::Path;
use crate::pattern;
use crate::problem::Problem;

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

pub(super) fn check(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    visit(raw, Level::Root, at, problems);
}

fn visit(raw: &Value, level: Level, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let kind = text(raw, "type");
    let items = &raw["items"];
    if kind == "array" && items.is_null() {
        problems.push(Problem::required(at.field("items"), "must be specified"));
    }
    if items.is_object() {
        visit(items, Level::Item, &at.field("items"), problems);
    }
    let properties = at.field("properties");
    for (name, property) in members(raw, "properties") {
        visit(property, Level::Field, &properties.key(name), problems);
    }
    let additional = &raw["additionalProperties"];
    let additional_at = at.field("additionalProperties");
    if !additional.is_null() && level == Level::Root {
        problems.push(Problem::forbidden(
            additional_at,
            "must not be used at the root",
        ));
    }
    if additional.is_object() {
        visit(additional, Level::Field, &additional_at, problems);
    }
    int_or_string(raw, at, problems);
    combined(raw, is_either(raw), first_is_either(raw), at, problems);
    type_is_given(raw, kind, level, at, problems);
    resource(raw, level, at, problems);
}

/// Whether `anyOf` says "integer or string", which is what may be said there of a type.
fn is_either(raw: &Value) -> bool {
    raw["anyOf"] == json!([{ "type": "integer" }, { "type": "string" }])
}

/// Whether the first of `allOf` says so.
fn first_is_either(raw: &Value) -> bool {
    schemas(raw, "allOf").first().is_some_and(is_either)
}

fn int_or_string(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    for other in [
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
    ] {
        if is_true(raw, "x-kubernetes-int-or-string") && is_true(raw, other) {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            problems.push(Problem::invalid(at.field(other), true, detail));
        }
    }
}

fn type_is_given(
    raw: &Value,
    kind: &str,
    level: Level,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    let place = at.field("type");
    if is_true(raw, "x-kubernetes-embedded-resource") {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        match kind {
            "object" => {}
            "" => problems.push(Problem::required(place, detail)),
            kind => problems.push(Problem::invalid(place, kind, detail)),
        }
    } else if kind.is_empty()
        && !is_true(raw, "x-kubernetes-int-or-string")
        && !is_true(raw, "x-kubernetes-preserve-unknown-fields")
    {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        problems.push(Problem::required(place, detail));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        problems.push(Problem::invalid(place, kind, "must be object at the root"));
    }
}

/// What is said of `apiVersion`, `kind` and `metadata`, which are what they are.
fn resource(raw: &Value, level: Level, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let embedded = is_true(raw, "x-kubernetes-embedded-resource");
    if embedded && !raw["additionalProperties"].is_null() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        problems.push(Problem::forbidden(at.field("additionalProperties"), detail));
    }
    let properties_at = at.field("properties");
    let properties = &raw["properties"];
    if embedded || level == Level::Root {
        for (name, expected) in [
            ("kind", "string"),
            ("apiVersion", "string"),
            ("metadata", "object"),
        ] {
            let kind = text(&properties[name], "type");
            if !properties[name].is_null() && kind != expected {
                let place = properties_at.key(name);
                let detail = format!("must be {expected}");
                problems.push(Problem::invalid(place.field("type"), kind, detail));
            }
        }
    }
    if level == Level::Root && !only_names(&properties["metadata"]) {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        problems.push(Problem::forbidden(properties_at.key("metadata"), detail));
    }
    let empty = properties.as_object().is_none_or(serde_json::Map::is_empty);
    if embedded && empty && !is_true(raw, "x-kubernetes-preserve-unknown-fields") {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        problems.push(Problem::required(properties_at, detail));
    }
}

/// Whether a schema of metadata says nothing but what a name may be.
fn only_names(metadata: &Value) -> bool {
    let keywords = metadata.as_object().into_iter().flatten();
    keywords
        .filter(|(_, value)| !value.is_null())
        .all(|(keyword, value)| match keyword.as_str() {
            "type" | "default" => true,
            "properties" => members(metadata, "properties")
                .all(|(name, _)| name == "name" || name == "generateName"),
            _ => is_zero(value),
        })
}

fn is_zero(value: &Value) -> bool {
    *value == false
        || *value == ""
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// `allOf`, `anyOf`, `oneOf`, `not`, and the pattern.
fn combined(
    raw: &Value,
    skip_any_of: bool,
    skip_first_all_of: bool,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    for keyword in ["anyOf", "allOf", "oneOf"] {
        if keyword == "anyOf" && skip_any_of {
            continue;
        }
        let list = at.field(keyword);
        for (index, schema) in schemas(raw, keyword).iter().enumerate() {
            let skip = keyword == "allOf" && index == 0 && skip_first_all_of;
            narrowing(schema, skip, &list.index(index), problems);
        }
    }
    if raw["not"].is_object() {
        narrowing(&raw["not"], false, &at.field("not"), problems);
    }
    let pattern = text(raw, "pattern");
    if let Err(why) = pattern::compile(pattern) {
        let detail = format!("must be a valid regular expression, but isn't: {why}");
        problems.push(Problem::invalid(at.field("pattern"), pattern, detail));
    }
}

/// What may not be said where schemas are combined.
const FORBIDDEN: [(&str, &str); 12] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    (
        "x-kubernetes-preserve-unknown-fields",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-embedded-resource",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-int-or-string",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-list-map-keys",
        "must be empty to be structural",
    ),
    (
        "x-kubernetes-list-type",
        "must be undefined to be structural",
    ),
    (
        "x-kubernetes-map-type",
        "must be undefined to be structural",
    ),
];

fn narrowing(raw: &Value, skip_any_of: bool, at: &Path<'_>, problems: &mut Vec<Problem>) {
    combined(raw, skip_any_of, false, at, problems);
    if raw["items"].is_object() {
        narrowing(&raw["items"], false, &at.field("items"), problems);
    }
    let properties = at.field("properties");
    for (name, property) in members(raw, "properties") {
        narrowing(property, false, &properties.key(name), problems);
    }
    for (keyword, detail) in FORBIDDEN {
        let value = &raw[keyword];
        if !value.is_null() && !is_zero(value) {
            problems.push(Problem::forbidden(at.field(keyword), detail));
        }
    }
    let rules = "x-kubernetes-validations";
    if !schemas(raw, rules).is_empty() {
        problems.push(Problem::forbidden(
            at.field(rules),
            "must be empty to be structural",
        ));
    }
    if !raw["properties"]["metadata"].is_null() {
        let detail = "must not be specified in a nested context";
        problems.push(Problem::forbidden(properties.key("metadata"), detail));
    }
}
