//! How large values may be: what the schema lets pass, or what a request has room for.

use std::sync::Arc;

use serde_json::Value;

use crate::cel::types::{self, Ty, text_form};
use crate::node::{Additional, Limits, Node, Type};

/// Largest request in bytes.
pub(crate) const LARGEST_REQUEST: u64 = 3 * 1024 * 1024;
/// A text fills a request but for its quotes, a list but for its brackets.
const LARGEST_VALUE: u64 = LARGEST_REQUEST - 2;
/// Moments and spans, with their quotes.
const LARGEST_TIME: u64 = 32;
const DATE: u64 = 12;

/// Letters of a text, members of a list or map: at least and at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size {
    pub min: u64,
    pub max: u64,
}

impl Size {
    pub const UNKNOWN: Self = Self::up_to(u64::MAX);

    pub const fn exactly(size: u64) -> Self {
        Self {
            min: size,
            max: size,
        }
    }

    pub const fn up_to(max: u64) -> Self {
        Self { min: 0, max }
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    pub fn times(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    /// What is of either.
    pub fn or(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// So many times a factor, rounded up.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as Kubernetes computes it, to the last digit"
)]
pub(super) fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// Where in the schema a value stands, which tells its size.
///
/// Kubernetes notes the way from `self`, and forgets its first step when it looks the place up. So what is taken out of
/// a value that stands nowhere, as a member of a list that was made, counts as the whole of `self`.
#[derive(Clone)]
pub(super) enum Place {
    /// It was made.
    Nowhere,
    /// A place that no size is known of.
    Lost,
    At(Arc<Node>),
    /// A key of a map, which Kubernetes takes for nothing.
    Key,
}

impl Place {
    pub fn size(&self) -> Option<Size> {
        match self {
            Self::Nowhere | Self::Lost => None,
            Self::At(node) => Some(Size::up_to(largest(node))),
            Self::Key => Some(Size::exactly(0)),
        }
    }

    pub fn field(&self, name: &str, root: &Arc<Node>) -> Self {
        self.step(root, |node| {
            let below = types::field(node, name).filter(|_| !is_map(node))?;
            Ty::of(below).map(|_| Self::At(Arc::clone(below)))
        })
    }

    /// A member of a list, a value of a map.
    pub fn member(&self, root: &Arc<Node>) -> Self {
        self.step(root, |node| {
            let below = match &node.additional {
                Some(Additional::Schema(member)) => Some(member),
                _ => node.items.as_ref(),
            };
            below.map(|below| Self::At(Arc::clone(below)))
        })
    }

    pub fn key(&self, root: &Arc<Node>) -> Self {
        self.step(root, |node| is_map(node).then_some(Self::Key))
    }

    /// The number of a member.
    pub fn index(&self, root: &Arc<Node>) -> Self {
        self.step(root, |_| None)
    }

    fn step(&self, root: &Arc<Node>, below: impl FnOnce(&Arc<Node>) -> Option<Self>) -> Self {
        match self {
            Self::Nowhere => Self::At(Arc::clone(root)),
            Self::At(node) => below(node).unwrap_or(Self::Lost),
            Self::Lost | Self::Key => Self::Lost,
        }
    }
}

fn is_map(node: &Node) -> bool {
    matches!(node.additional, Some(Additional::Schema(_)))
}

/// How many members or letters a value of a place may have; none of a structure, a number or a truth.
fn largest(node: &Node) -> u64 {
    let limits = node.limits.as_deref();
    match node.kind {
        _ if node.int_or_string => longest(limits).unwrap_or(LARGEST_VALUE),
        Some(Type::String) => match text_form(node) {
            "duration" | "date-time" => LARGEST_TIME,
            "date" => DATE,
            "byte" => given(limits.and_then(|limits| limits.max_length)).unwrap_or(LARGEST_VALUE),
            _ => longest(limits)
                .or_else(|| limits.and_then(longest_of_these))
                .unwrap_or(LARGEST_VALUE),
        },
        Some(Type::Array) => {
            let given = given(limits.and_then(|limits| limits.max_items));
            let item = node.items.as_ref().map_or(1, |item| smallest(item));
            given.unwrap_or(LARGEST_VALUE / (item + 1))
        }
        Some(Type::Object) => match &node.additional {
            Some(Additional::Schema(member)) => {
                let given = given(limits.and_then(|limits| limits.max_properties));
                // Two quotes, two letters, a colon and a comma.
                given.unwrap_or_else(|| LARGEST_VALUE / (smallest(member) + 6))
            }
            _ => 0,
        },
        _ => 0,
    }
}

fn given(limit: Option<i64>) -> Option<u64> {
    limit.map(|limit| u64::try_from(limit).unwrap_or_default())
}

/// A letter is up to four bytes.
fn longest(limits: Option<&Limits>) -> Option<u64> {
    let letters = given(limits.and_then(|limits| limits.max_length));
    letters.map(|letters| letters.saturating_mul(4))
}

fn longest_of_these(limits: &Limits) -> Option<u64> {
    let named = limits.one_of_these.iter();
    let texts = named.clone().filter_map(Value::as_str);
    let longest = texts.map(|text| text.len() as u64).max().unwrap_or(0);
    (!limits.one_of_these.is_empty()).then_some(longest)
}

/// The fewest bytes that a value of a place takes.
pub(crate) fn smallest(node: &Node) -> u64 {
    match node.kind {
        _ if node.int_or_string => 1,
        Some(Type::String) => match text_form(node) {
            "date" => DATE,
            "date-time" => 21,
            "duration" => 3,
            _ => 2,
        },
        Some(Type::Boolean) => 4,
        Some(Type::Array) => 2,
        Some(Type::Object) if is_map(node) => 2,
        Some(Type::Object) => {
            let required = node.limits.iter().flat_map(|limits| &limits.required);
            let fields = required.filter_map(|name| Some((name, node.properties.get(name)?)));
            let given =
                fields.filter(|(_, field)| field.default.is_none() && Ty::of(field).is_some());
            2 + given
                .map(|(name, field)| name.len() as u64 + smallest(field) + 4)
                .sum::<u64>()
        }
        _ => 1,
    }
}
