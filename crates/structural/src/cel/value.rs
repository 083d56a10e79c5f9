//! Values of expressions. What stands in the object is looked at where it stands.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use sealane_objects::Quantity;
use serde_json::Value;

use super::library::{NamedFormat, Semver};
use super::types::{self, Ty};
use crate::node::{Additional, Node, Type};
use crate::time::{Moment, parse_duration};
use crate::url::Url;

/// A text: that of the object, or one that was made.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Given(&'a str),
    Made(Arc<str>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Given(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Text(Text<'a>),
}

#[derive(Clone, Debug)]
pub(super) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Arc<[u8]>),
    Timestamp(Moment),
    /// Nanoseconds.
    Duration(i64),
    /// The name of a type.
    Type(&'static str),
    /// A list, map or structure of the object.
    Given(&'a Value, &'a Arc<Node>),
    List(Arc<Vec<Val<'a>>>),
    Map(Arc<BTreeMap<Key<'a>, Val<'a>>>),
    Optional(Option<Arc<Val<'a>>>),
    Url(Arc<Url>),
    Ip(IpAddr),
    Cidr(IpNet),
    Quantity(Quantity),
    Format(&'static NamedFormat),
    Semver(Arc<Semver>),
    /// A regular expression that is written out in a rule.
    Pattern(Arc<regex::Regex>),
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// In cel-go's words.
    Error(String),
    /// No function takes such arguments.
    NoOverload,
    /// More work than a rule may be.
    TooCostly,
}

impl Fault {
    pub fn error(why: impl Into<String>) -> Self {
        Self::Error(why.into())
    }

    pub fn no_key(key: &str) -> Self {
        Self::Error(format!("no such key: {key}"))
    }
}

pub(super) type Outcome<'a> = Result<Val<'a>, Fault>;

impl<'a> Val<'a> {
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    pub fn list(items: Vec<Val<'a>>) -> Self {
        Self::List(Arc::new(items))
    }

    pub fn some(value: Val<'a>) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    pub const NONE: Val<'static> = Val::Optional(None);

    /// What stands at a place of a schema.
    pub fn given(value: &'a Value, node: &'a Arc<Node>) -> Outcome<'a> {
        if node.anything {
            return Ok(Self::as_it_is(value, node));
        }
        let wrong = |expected: &str| Fault::error(format!("invalid data, expected {expected}"));
        if value.is_null() {
            let null = "invalid data, got null for schema with nullable=false";
            return node
                .nullable
                .then_some(Self::Null)
                .ok_or_else(|| Fault::error(null));
        }
        if node.int_or_string {
            return match value {
                Value::String(text) => Ok(Self::Text(Text::Given(text))),
                value => value
                    .as_i64()
                    .map(Self::Int)
                    .ok_or_else(|| wrong("XIntOrString value to be either a string or integer")),
            };
        }
        match (node.kind, value) {
            (Some(Type::Object), Value::Object(_)) | (Some(Type::Array), Value::Array(_)) => {
                Ok(Self::Given(value, node))
            }
            (Some(Type::Boolean), Value::Bool(value)) => Ok(Self::Bool(*value)),
            (Some(Type::Integer), Value::Number(number)) => {
                number.as_i64().map(Self::Int).ok_or_else(|| wrong("int"))
            }
            (Some(Type::Number), Value::Number(number)) => number
                .as_f64()
                .map(Self::Double)
                .ok_or_else(|| wrong("float")),
            (Some(Type::String), Value::String(text)) => Self::given_text(text, node),
            // Only ever compared.
            (None, _) => Ok(Self::Given(value, node)),
            (Some(kind), _) => Err(wrong(kind.name())),
        }
    }

    /// What no schema describes: its own type counts.
    fn as_it_is(value: &'a Value, node: &'a Arc<Node>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Text(Text::Given(text)),
            value @ (Value::Array(_) | Value::Object(_)) => Self::Given(value, node),
        }
    }

    fn given_text(text: &'a str, node: &Node) -> Outcome<'a> {
        let invalid = |what: &str| Fault::error(format!("Invalid {what} {text}"));
        match types::text_form(node) {
            "byte" => {
                let bytes = STANDARD
                    .decode(text)
                    .map_err(|_| invalid("byte formatted string"))?;
                Ok(Self::Bytes(bytes.into()))
            }
            "duration" => parse_duration(text)
                .map(Self::Duration)
                .ok_or_else(|| invalid("duration")),
            "date" => Moment::of_date(text)
                .map(Self::Timestamp)
                .ok_or_else(|| invalid("date formatted string")),
            "date-time" => Moment::parse_lenient(text)
                .map(Self::Timestamp)
                .ok_or_else(|| invalid("date-time formatted string")),
            _ => Ok(Self::Text(Text::Given(text))),
        }
    }

    /// The name of the value's type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Type(_) => "type",
            Self::Given(Value::Array(_), _) | Self::List(_) => "list",
            Self::Given(..) | Self::Map(_) => "map",
            Self::Bool(_) => Ty::Bool.name(),
            Self::Int(_) => Ty::Int.name(),
            Self::Uint(_) => Ty::Uint.name(),
            Self::Double(_) => Ty::Double.name(),
            Self::Text(_) | Self::Pattern(_) => Ty::Text.name(),
            Self::Bytes(_) => Ty::Bytes.name(),
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Optional(_) => "optional_type",
            Self::Url(_) => Ty::Url.name(),
            Self::Ip(_) => Ty::Ip.name(),
            Self::Cidr(_) => Ty::Cidr.name(),
            Self::Quantity(_) => Ty::Quantity.name(),
            Self::Format(_) => Ty::Format.name(),
            Self::Semver(_) => Ty::Semver.name(),
        }
    }

    pub fn is_list(&self) -> bool {
        matches!(self, Self::List(_) | Self::Given(Value::Array(_), _))
    }

    pub fn is_map(&self) -> bool {
        matches!(self, Self::Map(_) | Self::Given(Value::Object(_), _))
    }

    /// How many members a list or map has, letters a text.
    pub fn size(&self) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.chars().count()),
            Self::Bytes(bytes) => Some(bytes.len()),
            Self::List(items) => Some(items.len()),
            Self::Map(map) => Some(map.len()),
            Self::Given(Value::Array(items), _) => Some(items.len()),
            Self::Given(Value::Object(map), _) => Some(map.len()),
            _ => None,
        }
    }

    /// What it costs to look at the whole value once.
    pub fn weight(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            other => other.size().unwrap_or(1) as u64,
        }
    }

    pub fn item(&self, index: usize) -> Option<Outcome<'a>> {
        match self {
            Self::List(items) => items.get(index).cloned().map(Ok),
            Self::Given(Value::Array(items), node) => {
                let value = items.get(index)?;
                let member = item_node(node)?;
                Some(Val::given(value, member))
            }
            _ => None,
        }
    }

    /// The members of a list.
    pub fn items(&self) -> Result<Vec<Val<'a>>, Fault> {
        match self {
            Self::List(items) => Ok(items.as_ref().clone()),
            Self::Given(Value::Array(items), node) => {
                let member = item_node(node).ok_or(Fault::NoOverload)?;
                items.iter().map(|item| Val::given(item, member)).collect()
            }
            _ => Err(Fault::NoOverload),
        }
    }

    /// The member of a map, or the field of a structure; `None` if there is none.
    pub fn member(&self, key: &Key<'_>) -> Option<Outcome<'a>> {
        match (self, key) {
            (Self::Map(map), _) => map.get(&key.clone().made()).cloned().map(Ok),
            (Self::Given(Value::Object(map), node), Key::Text(name)) => {
                let value = map.get(&**name)?;
                // A field of a structure that is null counts as absent.
                if value.is_null() && !node.properties.is_empty() {
                    return None;
                }
                Some(Val::given(value, member_node(node, name)?))
            }
            _ => None,
        }
    }

    /// The keys of a map, or the fields of a structure that are given.
    pub fn keys(&self) -> Option<Vec<Val<'a>>> {
        match self {
            Self::Map(map) => Some(map.keys().cloned().map(Key::into_val).collect()),
            Self::Given(Value::Object(map), _) => {
                Some(map.keys().map(|key| Self::Text(Text::Given(key))).collect())
            }
            _ => None,
        }
    }

    /// Whether this is the value that a type has without being given.
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Duration(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::Optional(inner) => inner.is_none(),
            Self::Timestamp(at) => Moment::parse("0001-01-01T00:00:00Z") == Some(*at),
            other => other.size() == Some(0),
        }
    }
}

/// The schema of a map's member or of a structure's field, for values as for types.
fn member_node<'a>(node: &'a Arc<Node>, name: &str) -> Option<&'a Arc<Node>> {
    if node.anything {
        return Some(node);
    }
    types::field(node, name).or(match &node.additional {
        Some(Additional::Schema(member)) => Some(member),
        _ => None,
    })
}

/// The schema of a list's member.
fn item_node(node: &Arc<Node>) -> Option<&Arc<Node>> {
    match node.anything {
        true => Some(node),
        false => node.items.as_ref(),
    }
}

impl<'a> Key<'a> {
    pub fn of(value: &Val<'a>) -> Result<Self, Fault> {
        match value {
            Val::Bool(value) => Ok(Self::Bool(*value)),
            Val::Int(value) => Ok(Self::Int(*value)),
            // The same number is the same key, whatever its type.
            Val::Uint(value) => Ok(i64::try_from(*value).map_or(Self::Uint(*value), Self::Int)),
            #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
            Val::Double(value) if value.fract() == 0.0 && value.abs() < 9e15 => {
                Ok(Self::Int(*value as i64))
            }
            Val::Text(text) => Ok(Self::Text(text.clone())),
            other => Err(Fault::error(format!(
                "unsupported key type: {}",
                other.type_name()
            ))),
        }
    }

    /// The same key, of nobody else's text: keys of different lives cannot be compared in a map.
    pub fn made<'b>(self) -> Key<'b> {
        match self {
            Self::Bool(value) => Key::Bool(value),
            Self::Int(value) => Key::Int(value),
            Self::Uint(value) => Key::Uint(value),
            Self::Text(text) => Key::Text(Text::Made(Arc::from(&*text))),
        }
    }

    pub fn into_val(self) -> Val<'a> {
        match self {
            Self::Bool(value) => Val::Bool(value),
            Self::Int(value) => Val::Int(value),
            Self::Uint(value) => Val::Uint(value),
            Self::Text(text) => Val::Text(text),
        }
    }
}
