//! What this crate's tests share: a type with one of everything, and objects of it at random.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{Element, FieldSet, Form, Listing, Member, Of, Scalar, Shape, Writer};

/// A type with one of everything.
pub(crate) const THING: Of<Toy> = Of::Known(Toy::Thing);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toy {
    Thing,
    Text,
    Number,
    Bool,
    Labels,
    WholeMap,
    List,
    Tags,
    Items,
    Item,
    Ports,
    Port,
}

impl Shape<'static> for Toy {
    fn form(self) -> Form {
        match self {
            Self::Thing | Self::Labels | Self::Item | Self::Port => Form::Map { whole: false },
            Self::WholeMap => Form::Map { whole: true },
            Self::Text => Form::Scalar(Scalar::Text),
            Self::Number => Form::Scalar(Scalar::Number),
            Self::Bool => Form::Scalar(Scalar::Bool),
            Self::List => Form::List(Listing::Whole),
            Self::Tags => Form::List(Listing::Values),
            Self::Items | Self::Ports => Form::List(Listing::Keys),
        }
    }

    fn member(self, name: &str) -> Option<Member<Self>> {
        let of = match (self, name) {
            (Self::Labels, _) => return Some(Member::entry(Of::Known(Self::Text))),
            (Self::WholeMap, _) => return Some(Member::entry(Of::Any)),
            (Self::Thing, "anything") => Of::Any,
            (Self::Thing, name) => Of::Known(match name {
                "apiVersion" | "kind" | "text" => Self::Text,
                "metadata" | "inner" | "spec" => Self::Thing,
                "name" | "uid" => Self::Text,
                "count" => Self::Number,
                "on" => Self::Bool,
                "labels" | "annotations" => Self::Labels,
                "whole" => Self::WholeMap,
                "list" => Self::List,
                "tags" => Self::Tags,
                "items" | "kept" => Self::Items,
                "ports" => Self::Ports,
                _ => return None,
            }),
            (Self::Item, "name" | "text") => Of::Known(Self::Text),
            (Self::Item, "value") => Of::Known(Self::Number),
            (Self::Port, "port") => Of::Known(Self::Number),
            (Self::Port, "protocol" | "name") => Of::Known(Self::Text),
            _ => return None,
        };
        Some(Member {
            of,
            declared: true,
            kept: matches!(name, "metadata" | "spec" | "kept"),
        })
    }

    fn element(self) -> Of<Self> {
        match self {
            Self::Items => Of::Known(Self::Item),
            Self::Ports => Of::Known(Self::Port),
            Self::Tags => Of::Known(Self::Text),
            _ => Of::Any,
        }
    }

    fn keys(self) -> Vec<&'static str> {
        match self {
            Self::Ports => vec!["port", "protocol"],
            _ => vec!["name"],
        }
    }

    fn default_of(self, name: &str) -> Option<Value> {
        (self == Self::Port && name == "protocol").then(|| json!("TCP"))
    }
}

/// The set of these paths through fields, `a.b`.
pub(crate) fn set(paths: &[&str]) -> FieldSet {
    let mut set = FieldSet::default();
    for path in paths {
        let path: Vec<Element> = path.split('.').map(Element::field).collect();
        set.insert(&path);
    }
    set
}

/// Somebody who writes at the beginning of 2026.
pub(crate) fn writer(name: &str) -> Writer<'_> {
    Writer {
        name,
        api_version: "v1",
        subresource: "",
        now: "2026-01-01T00:00:00Z",
    }
}

fn any_element() -> impl Strategy<Value = Element> {
    prop_oneof![
        "[abc]".prop_map(|name| Element::field(&name)),
        "[ab\"]".prop_map(|value| Element::value(&json!(value))),
        (0..3).prop_map(|value| Element::value(&json!(value))),
        "[ab]".prop_map(|name| {
            let mut key = Map::new();
            key.insert("name".into(), json!(name));
            Element::key(&key)
        }),
    ]
}

/// Any small set.
pub(crate) fn any_set() -> impl Strategy<Value = FieldSet> {
    let path = prop::collection::vec(any_element(), 1..4);
    prop::collection::vec(path, 0..6).prop_map(|paths| {
        let mut set = FieldSet::default();
        for path in paths {
            set.insert(&path);
        }
        set
    })
}

/// Any configuration of a thing that fits it.
pub(crate) fn any_thing() -> impl Strategy<Value = Value> {
    (
        prop::option::of("[xy]"),
        prop::option::of(0..3),
        prop::collection::btree_map("[abc]", "[xy]", 0..3),
        prop::collection::btree_map("[abc]", prop::option::of(0..3), 0..3),
        prop::collection::btree_set("[abc]", 0..3),
        prop::option::of(prop::collection::vec(0..3, 0..3)),
        prop::option::of("[xy]"),
    )
        .prop_map(|(text, count, labels, items, tags, list, inner)| {
            let mut thing = Map::new();
            let mut put = |name: &str, value: Value| thing.insert(name.into(), value);
            if let Some(text) = text {
                put("text", json!(text));
            }
            if let Some(count) = count {
                put("count", json!(count));
            }
            if !labels.is_empty() {
                put("labels", json!(labels));
            }
            if !items.is_empty() {
                let item = |(name, value): (&String, &Option<i32>)| match value {
                    Some(value) => json!({"name": name, "value": value}),
                    None => json!({"name": name}),
                };
                put("items", items.iter().map(item).collect());
            }
            if !tags.is_empty() {
                put("tags", json!(tags));
            }
            if let Some(list) = list {
                put("list", json!(list));
            }
            if let Some(inner) = inner {
                put("inner", json!({"text": inner, "whole": {"a": inner}}));
            }
            Value::Object(thing)
        })
}
