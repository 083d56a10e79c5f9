//! Keywords that are not supported, or not beside each other; lists whose members are told
//! apart; the form of rules.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{is_true, members, schemas, text};
use crate::field_path;
use crate::node::Type;
use crate::path::Path;
use crate::problem::Problem;

/// The keywords that may stand at the root where the status is judged on its own.
const AT_ROOT: [&str; 23] = [
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
    "nullable",
];
const AT_ROOT_WORDS: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum \
    ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required \
    Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";

/// Keywords that `v1` has and nothing may use.
const UNSUPPORTED: [&str; 7] = [
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
    "$ref",
    "$schema",
];

pub(super) fn check_root(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    for (keyword, value) in raw.as_object().into_iter().flatten() {
        let absent = value.is_null() || *value == false;
        if keyword == "type" && value != "object" {
            let detail = "only \"object\" is allowed as the type at the root of the schema if the \
                          status subresource is enabled";
            problems.push(Problem::invalid(at.field("type"), value.clone(), detail));
            return;
        }
        if !absent && !AT_ROOT.contains(&keyword.as_str()) {
            let detail = format!(
                "only {AT_ROOT_WORDS} fields are allowed at the root of the schema if the status subresource is enabled"
            );
            problems.push(Problem::new(at, crate::ProblemKind::Invalid, None, detail));
            return;
        }
    }
}

/// What stands around a schema.
#[derive(Clone, Copy, Default)]
struct Within {
    root: bool,
    /// Below `metadata`, or one of the other fields that every object has.
    meta: bool,
    /// Why there may be no default.
    no_defaults: Option<&'static str>,
}

pub(super) fn check(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let root = Within {
        root: true,
        ..Within::default()
    };
    visit(raw, root, at, problems);
}

fn visit(raw: &Value, within: Within, at: &Path<'_>, problems: &mut Vec<Problem>) {
    single(raw, within, at, problems);
    below(raw, within, at, problems);
    lists_and_maps(raw, at, problems);
    list_of_objects(raw, at, problems);
    list_keys(raw, at, problems);
    rules(raw, at, problems);
}

fn single(raw: &Value, within: Within, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let kind = text(raw, "type");
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        problems.push(Problem::forbidden(at.field("type"), detail));
    } else if !kind.is_empty() && Type::named(kind).is_none() {
        let known = Type::NAMES.map(|(name, _)| name);
        problems.push(Problem::not_supported(at.field("type"), kind, known));
    }
    if let (false, Some(reason)) = (raw["default"].is_null(), within.no_defaults) {
        let detail = format!("must not be set {reason}");
        problems.push(Problem::forbidden(at.field("default"), detail));
    }
    for keyword in UNSUPPORTED {
        if !raw[keyword].is_null() {
            let detail = format!("{keyword} is not supported");
            problems.push(Problem::forbidden(at.field(keyword), detail));
        }
    }
    if raw["items"].is_array() {
        let detail = "items must be a schema object and not an array";
        problems.push(Problem::forbidden(at.field("items"), detail));
    }
    if within.meta && is_true(raw, "x-kubernetes-embedded-resource") {
        let detail = "must not be used inside of resource meta";
        problems.push(Problem::forbidden(
            at.field("x-kubernetes-embedded-resource"),
            detail,
        ));
    }
    if is_true(raw, "uniqueItems") {
        let detail =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        problems.push(Problem::forbidden(at.field("uniqueItems"), detail));
    }
    let has_properties = raw["properties"]
        .as_object()
        .is_some_and(|map| !map.is_empty());
    let additional = &raw["additionalProperties"];
    if has_properties && (additional.is_object() || *additional == false) {
        let detail = "additionalProperties and properties are mutual exclusive";
        problems.push(Problem::forbidden(at.field("additionalProperties"), detail));
    }
    if raw["x-kubernetes-preserve-unknown-fields"] == false {
        let place = at.field("x-kubernetes-preserve-unknown-fields");
        problems.push(Problem::invalid(place, false, "must be true or undefined"));
    }
}

fn below(raw: &Value, within: Within, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let same = Within {
        root: false,
        ..within
    };
    if raw["additionalProperties"].is_object() {
        let within = Within {
            no_defaults: within.no_defaults.or(within
                .meta
                .then_some("inside additionalProperties applying to object metadata")),
            ..same
        };
        visit(
            &raw["additionalProperties"],
            within,
            &at.field("additionalProperties"),
            problems,
        );
    }
    let properties = at.field("properties");
    for (name, property) in members(raw, "properties") {
        let mut within_property = same;
        if within.root || is_true(raw, "x-kubernetes-embedded-resource") {
            let reason = match name.as_str() {
                "metadata" => Some("in top-level metadata"),
                "kind" => Some("in top-level kind"),
                "apiVersion" => Some("in top-level apiVersion"),
                _ => None,
            };
            within_property.meta |= reason.is_some();
            within_property.no_defaults = within_property
                .no_defaults
                .or(reason.filter(|_| within.root));
        }
        visit(property, within_property, &properties.key(name), problems);
    }
    for keyword in ["allOf", "oneOf", "anyOf"] {
        let list = at.field(keyword);
        for (index, schema) in schemas(raw, keyword).iter().enumerate() {
            visit(schema, same, &list.index(index), problems);
        }
    }
    for keyword in ["not", "items"] {
        if raw[keyword].is_object() {
            visit(&raw[keyword], same, &at.field(keyword), problems);
        }
    }
}

fn lists_and_maps(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
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

fn list_of_objects(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
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
fn list_keys(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
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

const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// The form of rules; what they say is [`super::expressions`]'s.
fn rules(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let list = at.field("x-kubernetes-validations");
    let fields = raw["x-kubernetes-validations"]
        .is_array()
        .then(|| crate::read::root(raw));
    for (index, rule) in schemas(raw, "x-kubernetes-validations").iter().enumerate() {
        let place = list.index(index);
        let (expression, message) = (text(rule, "rule"), text(rule, "message"));
        let has_lines = |text: &str| text.contains(['\n', '\r']);
        let blank = |text: &str| !text.is_empty() && text.trim().is_empty();
        if expression.trim().is_empty() {
            problems.push(Problem::required(
                place.field("rule"),
                "rule is not specified",
            ));
        } else if blank(message) {
            problems.push(Problem::invalid(
                place.field("message"),
                message,
                "must be non-empty if specified",
            ));
        } else if has_lines(message.trim()) {
            problems.push(Problem::invalid(
                place.field("message"),
                message,
                "must not contain line breaks",
            ));
        } else if has_lines(expression.trim()) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            problems.push(Problem::required(place.field("message"), detail));
        }
        if blank(text(rule, "messageExpression")) {
            let detail = "messageExpression must be non-empty if specified";
            problems.push(Problem::required(place.field("messageExpression"), detail));
        }
        let reason = text(rule, "reason");
        if !reason.is_empty() && !REASONS.contains(&reason) {
            problems.push(Problem::not_supported(
                place.field("reason"),
                reason,
                REASONS,
            ));
        }
        let field = text(rule, "fieldPath");
        let field_at = place.field("fieldPath");
        if blank(field) {
            problems.push(Problem::invalid(
                field_at,
                field,
                "must be non-empty if specified",
            ));
        }
        if has_lines(field) {
            problems.push(Problem::invalid(
                field_at,
                field,
                "must not contain line breaks",
            ));
        }
        let leads = |node| field_path::find(node, field, true).is_ok();
        if !field.is_empty() && !fields.as_ref().is_some_and(leads) {
            problems.push(Problem::invalid(field_at, field, "must be a valid path"));
        }
    }
}
