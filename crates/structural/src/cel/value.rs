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
use crate::node::{Additional, List, Node, Type};
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
                let member = node.items.as_ref()?;
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
                let member = node.items.as_ref().ok_or(Fault::NoOverload)?;
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
    types::field(node, name).or(match &node.additional {
        Some(Additional::Schema(member)) => Some(member),
        _ => None,
    })
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

/// How two values of an order stand to each other.
pub(super) fn compare(a: &Val<'_>, b: &Val<'_>) -> Option<Ordering> {
    use Val::{Bool, Bytes, Double, Duration, Int, Text, Timestamp, Uint};
    match (a, b) {
        (Bool(a), Bool(b)) => Some(a.cmp(b)),
        (Int(a), Int(b)) | (Duration(a), Duration(b)) => Some(a.cmp(b)),
        (Uint(a), Uint(b)) => Some(a.cmp(b)),
        (Int(a), Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Uint(a), Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Text(a), Text(b)) => Some(a.cmp(b)),
        (Bytes(a), Bytes(b)) => Some(a.cmp(b)),
        (Timestamp(a), Timestamp(b)) => Some(a.cmp(b)),
        (Val::Quantity(a), Val::Quantity(b)) => Some(a.milli.cmp(&b.milli)),
        (Val::Semver(a), Val::Semver(b)) => Some(a.cmp(b)),
        (Double(_), Int(_) | Uint(_) | Double(_)) | (Int(_) | Uint(_), Double(_)) => {
            as_double(a)?.partial_cmp(&as_double(b)?)
        }
        _ => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of different types compare as doubles"
)]
fn as_double(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Int(value) => Some(*value as f64),
        Val::Uint(value) => Some(*value as f64),
        Val::Double(value) => Some(*value),
        _ => None,
    }
}

/// Whether two values are the same. Lists whose members are told apart have no order.
pub(super) fn equal(a: &Val<'_>, b: &Val<'_>) -> Result<bool, Fault> {
    match (a, b) {
        (Val::Null, Val::Null) => Ok(true),
        (Val::Type(a), Val::Type(b)) => Ok(a == b),
        (Val::Url(a), Val::Url(b)) => Ok(a.text() == b.text()),
        (Val::Ip(a), Val::Ip(b)) => Ok(a == b),
        (Val::Cidr(a), Val::Cidr(b)) => Ok(a == b),
        (Val::Format(a), Val::Format(b)) => Ok(a.name == b.name),
        (Val::Optional(a), Val::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b),
            (a, b) => Ok(a.is_none() && b.is_none()),
        },
        (Val::Given(a, _), Val::Given(b, _)) if std::ptr::eq(*a, *b) => Ok(true),
        (a, b) if a.is_list() && b.is_list() => equal_lists(a, b),
        (a, b) if a.is_map() && b.is_map() => equal_maps(a, b),
        (Val::Given(a, _), Val::Given(b, _)) => Ok(a == b),
        (a, b) => Ok(compare(a, b) == Some(Ordering::Equal)),
    }
}

/// How the members of a list are told apart.
pub(super) fn list_form<'v>(value: &Val<'v>) -> &'v List {
    match value {
        Val::Given(_, node) => &node.list,
        _ => &List::Atomic,
    }
}

fn equal_lists(a: &Val<'_>, b: &Val<'_>) -> Result<bool, Fault> {
    if a.size() != b.size() {
        return Ok(false);
    }
    let (ours, theirs) = (a.items()?, b.items()?);
    if *list_form(a) == List::Atomic && *list_form(b) == List::Atomic {
        for (one, other) in ours.iter().zip(&theirs) {
            if !equal(one, other)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    for one in &ours {
        if !contains(&theirs, one)? {
            return Ok(false);
        }
    }
    for other in &theirs {
        if !contains(&ours, other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn contains(items: &[Val<'_>], value: &Val<'_>) -> Result<bool, Fault> {
    for item in items {
        if equal(item, value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal_maps(a: &Val<'_>, b: &Val<'_>) -> Result<bool, Fault> {
    if a.size() != b.size() {
        return Ok(false);
    }
    // What no schema describes is compared as it stands.
    if let (Val::Given(a, node), Val::Given(b, _)) = (a, b)
        && node.properties.is_empty()
        && !node.is_resource()
        && node.additional.is_none()
    {
        return Ok(a == b);
    }
    for key in a.keys().unwrap_or_default() {
        let key = Key::of(&key)?;
        match (a.member(&key), b.member(&key)) {
            (Some(one), Some(other)) => {
                if !equal(&one?, &other?)? {
                    return Ok(false);
                }
            }
            (None, None) => {
                // What no schema describes is compared as it stands, if both have it.
                let raw = |value: &Val<'_>| match (value, &key) {
                    (Val::Given(value, _), Key::Text(name)) => value.get(&**name).cloned(),
                    _ => None,
                };
                if let (one, Some(other)) = (raw(a), raw(b))
                    && one != Some(other)
                {
                    return Ok(false);
                }
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The one list after the other; of a set or map, what is told apart is there once.
pub(super) fn joined<'a>(a: &Val<'a>, b: &Val<'a>) -> Outcome<'a> {
    let mut items = a.items()?;
    let others = b.items()?;
    match list_form(a) {
        List::Atomic => items.extend(others),
        List::Set => {
            for other in others {
                if !contains(&items, &other)? {
                    items.push(other);
                }
            }
        }
        List::Map(keys) => {
            for other in others {
                match position(&items, &other, keys)? {
                    Some(at) => items[at] = other,
                    None => items.push(other),
                }
            }
        }
    }
    Ok(Val::list(items))
}

fn position(
    items: &[Val<'_>],
    wanted: &Val<'_>,
    keys: &[Box<str>],
) -> Result<Option<usize>, Fault> {
    for (at, item) in items.iter().enumerate() {
        let mut same = true;
        for key in keys {
            let key = Key::Text(Text::Given(key));
            same &= match (item.member(&key), wanted.member(&key)) {
                (Some(one), Some(other)) => equal(&one?, &other?)?,
                (one, other) => one.is_none() && other.is_none(),
            };
        }
        if same {
            return Ok(Some(at));
        }
    }
    Ok(None)
}
