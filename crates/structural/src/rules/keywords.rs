//! Keywords that are not supported, or not beside each other.

use serde_json::Value;

use super::{forms, is_true, lists, members, schemas, text};
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
    lists::lists_and_maps(raw, at, problems);
    lists::list_of_objects(raw, at, problems);
    lists::list_keys(raw, at, problems);
    forms::rules(raw, at, problems);
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
