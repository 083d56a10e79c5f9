//! From the JSON of `openAPIV3Schema` to nodes.
//!
//! Reading refuses nothing: what is wrong with a schema is said by [`crate::rules`], when a
//! definition is posted. A definition that is stored has passed, and is read again at each
//! start, quickly.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::cel::Rule;
use crate::formats::Format;
use crate::node::{Additional, Below, Limits, List, Node, Type};
use crate::pattern::Pattern;

/// Reads the schema of a whole object.
pub(crate) fn root(raw: &Value) -> Arc<Node> {
    let mut root = read(raw);
    root.root = true;
    Arc::new(root)
}

fn node(raw: &Value) -> Arc<Node> {
    Arc::new(read(raw))
}

/// Reads the schema of a place.
pub(crate) fn read(raw: &Value) -> Node {
    let Some(raw) = raw.as_object() else {
        return Node::default();
    };
    let flag = |name: &str| raw.get(name).and_then(Value::as_bool).unwrap_or_default();
    let kind = raw
        .get("type")
        .and_then(Value::as_str)
        .and_then(Type::named);
    let mut read = Node {
        kind,
        nullable: flag("nullable"),
        preserves_unknown: flag("x-kubernetes-preserve-unknown-fields"),
        embedded: flag("x-kubernetes-embedded-resource"),
        root: false,
        int_or_string: flag("x-kubernetes-int-or-string"),
        anything: false,
        default: raw
            .get("default")
            .filter(|default| !default.is_null())
            .cloned(),
        properties: properties(raw),
        additional: additional(raw),
        items: raw.get("items").filter(|items| items.is_object()).map(node),
        list: list(raw),
        atomic_map: raw.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
        limits: limits(raw, kind),
        rules: rules(raw),
        below: Below::default(),
    };
    read.below = below(&read);
    read
}

fn properties(raw: &Map<String, Value>) -> BTreeMap<Box<str>, Arc<Node>> {
    let properties = raw.get("properties").and_then(Value::as_object);
    let one = |(name, schema): (&String, &Value)| (name.as_str().into(), node(schema));
    properties.into_iter().flatten().map(one).collect()
}

fn additional(raw: &Map<String, Value>) -> Option<Additional> {
    match raw.get("additionalProperties")? {
        Value::Bool(allowed) => Some(Additional::Allowed(*allowed)),
        schema @ Value::Object(_) => Some(Additional::Schema(node(schema))),
        _ => None,
    }
}

fn list(raw: &Map<String, Value>) -> List {
    match raw.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => List::Set,
        Some("map") => List::Map(texts(raw, "x-kubernetes-list-map-keys")),
        _ => List::Atomic,
    }
}

fn texts(raw: &Map<String, Value>, name: &str) -> Vec<Box<str>> {
    let texts = raw.get(name).and_then(Value::as_array);
    texts
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(Into::into)
        .collect()
}

fn rules(raw: &Map<String, Value>) -> Vec<Rule> {
    let rules = raw
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    rules.into_iter().flatten().map(Rule::read).collect()
}

/// The names of what is held in [`Limits`]: most nodes have none of them.
const LIMITS: [&str; 19] = [
    "format",
    "maximum",
    "minimum",
    "multipleOf",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxProperties",
    "minProperties",
    "required",
    "enum",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "exclusiveMaximum",
];

fn limits(raw: &Map<String, Value>, kind: Option<Type>) -> Option<Box<Limits>> {
    if !LIMITS.iter().any(|name| raw.contains_key(*name)) {
        return None;
    }
    let flag = |name: &str| raw.get(name).and_then(Value::as_bool).unwrap_or_default();
    let number = |name: &str| raw.get(name).and_then(Value::as_f64);
    let count = |name: &str| raw.get(name).and_then(Value::as_i64);
    let text = |name: &str| {
        raw.get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let nodes = |name: &str| {
        let schemas = raw.get(name).and_then(Value::as_array);
        schemas.into_iter().flatten().map(node).collect()
    };
    Some(Box::new(Limits {
        format: text("format").and_then(|name| Format::read(name, kind)),
        maximum: number("maximum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        minimum: number("minimum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        multiple_of: number("multipleOf"),
        max_length: count("maxLength"),
        min_length: count("minLength"),
        pattern: text("pattern").map(Pattern::new),
        max_items: count("maxItems"),
        min_items: count("minItems"),
        unique_items: flag("uniqueItems"),
        max_properties: count("maxProperties"),
        min_properties: count("minProperties"),
        required: texts(raw, "required"),
        one_of_these: raw
            .get("enum")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
        all_of: nodes("allOf"),
        any_of: nodes("anyOf"),
        one_of: nodes("oneOf"),
        not: raw.get("not").filter(|not| not.is_object()).map(node),
    }))
}

fn below(read: &Node) -> Below {
    let mut below = Below {
        defaults: read.default.is_some(),
        keyed_lists: read.list != List::Atomic,
        embedded: read.embedded,
        rules: !read.rules.is_empty(),
    };
    let additional = match &read.additional {
        Some(Additional::Schema(node)) => Some(node),
        _ => None,
    };
    let all_of = read.limits.iter().flat_map(|limits| &limits.all_of);
    let children = read
        .properties
        .values()
        .chain(&read.items)
        .chain(additional);
    for child in children.chain(all_of) {
        below.defaults |= child.below.defaults;
        below.keyed_lists |= child.below.keyed_lists;
        below.embedded |= child.below.embedded;
        below.rules |= child.below.rules;
    }
    below
}
