//! A structural schema as it is used: one node for each place in an object.
//!
//! Texts for people (descriptions, examples) are not kept: they are in the definition, and this
//! lives as long as the kind is served.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::cel::Rule;
use crate::formats::Format;
use crate::pattern::Pattern;

/// A type of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A map or a structure.
    Object,
    /// A list.
    Array,
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
}

impl Type {
    /// All types, by name.
    pub(crate) const NAMES: [(&'static str, Self); 6] = [
        ("array", Self::Array),
        ("boolean", Self::Boolean),
        ("integer", Self::Integer),
        ("number", Self::Number),
        ("object", Self::Object),
        ("string", Self::String),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind)
    }

    /// Its name in a schema.
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, kind)| *kind == self);
        found.map_or("", |(name, _)| name)
    }
}

/// How the members of a list are told apart (`x-kubernetes-list-type`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum List {
    /// The list is one value.
    #[default]
    Atomic,
    /// Members are told apart by their value.
    Set,
    /// Members are objects that are told apart by these fields.
    Map(Vec<Box<str>>),
}

/// What may stand in an object besides its properties.
#[derive(Clone, Debug)]
pub enum Additional {
    /// Members of this form: the object is a map.
    Schema(Arc<Node>),
    /// Anything, or nothing.
    Allowed(bool),
}

/// What a schema says of one place in an object.
#[derive(Debug, Default)]
pub struct Node {
    /// The declared type; none where anything may stand.
    pub kind: Option<Type>,
    /// Whether `null` may stand here (`nullable`).
    pub nullable: bool,
    /// Whether unknown fields are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserves_unknown: bool,
    /// Whether this is a whole Kubernetes object (`x-kubernetes-embedded-resource`).
    pub embedded: bool,
    /// Whether this is the object itself, whose type and metadata are known without being declared.
    pub root: bool,
    /// Whether this is a whole number or a text (`x-kubernetes-int-or-string`).
    pub int_or_string: bool,
    /// Whether anything may stand here and expressions look at it as it is.
    pub(crate) anything: bool,
    /// What stands here when nothing is given.
    pub default: Option<Value>,
    /// The fields of a structure.
    pub properties: BTreeMap<Box<str>, Arc<Node>>,
    /// The members of a map (`additionalProperties`).
    pub additional: Option<Additional>,
    /// The members of a list.
    pub items: Option<Arc<Node>>,
    /// How the members of a list are told apart.
    pub list: List,
    /// Whether a map or structure is one value (`x-kubernetes-map-type: atomic`).
    pub atomic_map: bool,
    pub(crate) limits: Option<Box<Limits>>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) below: Below,
}

/// What is somewhere at or below a node: so that nobody walks in vain.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Below {
    pub defaults: bool,
    pub keyed_lists: bool,
    pub embedded: bool,
    pub rules: bool,
}

/// What a value is held to besides its type.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub format: Option<Format>,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub pattern: Option<Pattern>,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    pub unique_items: bool,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub required: Vec<Box<str>>,
    pub one_of_these: Vec<Value>,
    pub all_of: Vec<Arc<Node>>,
    pub any_of: Vec<Arc<Node>>,
    pub one_of: Vec<Arc<Node>>,
    pub not: Option<Arc<Node>>,
}

impl Node {
    /// The node of a field or of a map's member.
    pub fn member(&self, name: &str) -> Option<&Arc<Node>> {
        self.properties.get(name).or(match &self.additional {
            Some(Additional::Schema(node)) => Some(node),
            _ => None,
        })
    }

    /// The types that may stand here; empty if any may.
    pub(crate) fn types(&self) -> &[Type] {
        const EITHER: [Type; 2] = [Type::Integer, Type::String];
        if self.int_or_string {
            return &EITHER;
        }
        self.kind.as_slice()
    }

    /// Whether this is a whole Kubernetes object.
    pub(crate) fn is_resource(&self) -> bool {
        self.root || self.embedded
    }
}
