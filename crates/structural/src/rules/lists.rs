//! Lists and maps: which there are, and what tells their members apart.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{is_true, schemas, text};
use crate::path::Path;
use crate::problem::Problem;

pub(super) fn lists_and_maps(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let known: [(&str, &str, &[&str]); 2] = [
        ("x-kubernetes-map-type", "object", &["atomic", "granular"]),
        ("x-kubernetes-list-type", "array", &["atomic", "set", "map"]),
    ];
    let kind = text(raw, "type");
    for (keyword, expected, values) in known {
        let value = text(raw, keyword);
        if value.is_empty() {
            continue;
        }
        if kind != expected {
            let detail = format!("must be {expected} if {keyword} is specified");
            let place = at.field("type");
            problems.push(match kind {
                "" => Problem::required(place, detail),
                kind => Problem::invalid(place, kind, detail),
            });
        }
        if !values.contains(&value) {
            problems.push(Problem::not_supported(at.field(keyword), value, values));
        }
    }
    if kind == "array" && text(raw, "x-kubernetes-list-type") == "set" {
        let items = &raw["items"];
        let whole = match text(items, "type") {
            "array" => Some("x-kubernetes-list-type")
                .filter(|keyword| !["", "atomic"].contains(&text(items, keyword))),
            "object" => {
                Some("x-kubernetes-map-type").filter(|keyword| text(items, keyword) != "atomic")
            }
            _ => None,
        };
        if let Some(keyword) = whole {
            let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let place = at.field("items");
            problems.push(Problem::invalid(
                place.field(keyword),
                items[keyword].clone(),
                detail,
            ));
        }
    }
}

pub(super) fn list_of_objects(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let list = text(raw, "x-kubernetes-list-type");
    let keys_at = at.field("x-kubernetes-list-map-keys");
    let keys: Vec<&str> = schemas(raw, "x-kubernetes-list-map-keys")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if !keys.is_empty() && list != "map" {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        let place = at.field("x-kubernetes-list-type");
        problems.push(match list {
            "" => Problem::required(place, detail),
            list => Problem::invalid(place, list, detail),
        });
    }
    if list != "map" {
        return;
    }
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        problems.push(Problem::required(keys_at, detail));
    }
    let items = &raw["items"];
    let items_at = at.field("items");
    if items.is_null() {
        let detail = "must have a schema if x-kubernetes-list-type is map";
        problems.push(Problem::required(items_at, detail));
        return;
    }
    let kind = text(items, "type");
    if kind != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        problems.push(Problem::invalid(items_at.field("type"), kind, detail));
        return;
    }
    let all: Value = keys.clone().into();
    let mut seen = BTreeSet::new();
    for key in keys {
        let property = &items["properties"][key];
        if property.is_null() {
            let detail = "entries must all be names of item properties";
            problems.push(Problem::invalid(keys_at, all.clone(), detail));
        } else if ["array", "object"].contains(&text(property, "type")) {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            let properties = items_at.field("properties");
            let place = properties.key(key);
            problems.push(Problem::invalid(place.field("type"), kind, detail));
        }
        if !seen.insert(key) {
            let detail = "must not contain duplicate entries";
            problems.push(Problem::invalid(keys_at, all.clone(), detail));
        }
    }
}

/// What tells members apart is always there.
pub(super) fn list_keys(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let list = text(raw, "x-kubernetes-list-type");
    let items = &raw["items"];
    if !items.is_object() || !["set", "map"].contains(&list) {
        return;
    }
    let items_at = at.field("items");
    if is_true(items, "nullable") {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list}");
        problems.push(Problem::forbidden(items_at.field("nullable"), detail));
    }
    if list == "set" {
        return;
    }
    let required = schemas(items, "required");
    let properties = items_at.field("properties");
    for key in schemas(raw, "x-kubernetes-list-map-keys")
        .iter()
        .filter_map(Value::as_str)
    {
        let property = &items["properties"][key];
        let place = properties.key(key);
        if property.is_null() {
            continue;
        }
        if property["default"].is_null() && !required.iter().any(|name| name == key) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            problems.push(Problem::required(place.field("default"), detail));
        }
        if is_true(property, "nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            problems.push(Problem::forbidden(place.field("nullable"), detail));
        }
    }
}
