//! Types of expressions: those of the language, those of Kubernetes' libraries, and the places
//! of a schema.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::formats::Format;
use crate::node::{Additional, Node, Type};

#[derive(Clone, Debug)]
pub(super) enum Ty {
    /// Known only at run time.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Timestamp,
    Duration,
    Type,
    List(Arc<Ty>),
    Map(Arc<Ty>, Arc<Ty>),
    Optional(Arc<Ty>),
    /// A structure with declared fields.
    Node(Arc<Node>),
    Url,
    Ip,
    Cidr,
    Quantity,
    Format,
    Semver,
}

impl PartialEq for Ty {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a == b,
            (Self::Map(a, b), Self::Map(c, d)) => a == c && b == d,
            (Self::Node(a), Self::Node(b)) => Arc::ptr_eq(a, b),
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(item) => write!(f, "list({item})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
            other => f.write_str(other.name()),
        }
    }
}

impl Ty {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dyn => "dyn",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::Type => "type",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Optional(_) => "optional_type",
            Self::Node(_) => "object",
            Self::Url => "kubernetes.URL",
            Self::Ip => "net.IP",
            Self::Cidr => "net.CIDR",
            Self::Quantity => "kubernetes.Quantity",
            Self::Format => "kubernetes.NamedFormat",
            Self::Semver => "kubernetes.Semver",
        }
    }

    pub fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    pub fn optional(inner: Self) -> Self {
        Self::Optional(Arc::new(inner))
    }

    /// The type of what stands at a place of a schema; `None` where expressions may not look.
    pub fn of(node: &Arc<Node>) -> Option<Self> {
        if node.int_or_string || node.anything {
            return Some(Self::Dyn);
        }
        Some(match node.kind? {
            Type::Boolean => Self::Bool,
            Type::Integer => Self::Int,
            Type::Number => Self::Double,
            Type::Array => Self::list(Self::of(node.items.as_ref()?)?),
            Type::Object => match &node.additional {
                Some(Additional::Schema(member)) if node.properties.is_empty() => {
                    Self::Map(Arc::new(Self::Text), Arc::new(Self::of(member)?))
                }
                _ => Self::Node(Arc::clone(node)),
            },
            Type::String => match text_form(node) {
                "byte" => Self::Bytes,
                "duration" => Self::Duration,
                "date" | "date-time" => Self::Timestamp,
                _ => Self::Text,
            },
        })
    }

    /// Whether a value of this type may stand where the other is expected.
    pub fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.agrees(b),
            (Self::Map(a, b), Self::Map(c, d)) => a.agrees(c) && b.agrees(d),
            (a, b) => a == b,
        }
    }

    /// The type of what is of either; `None` if nothing can be.
    pub fn joined(&self, other: &Self) -> Option<Self> {
        if self == other {
            return Some(self.clone());
        }
        match (self, other) {
            (Self::List(a), Self::List(b)) => a.joined(b).map(Self::list),
            (Self::Optional(a), Self::Optional(b)) => a.joined(b).map(Self::optional),
            (Self::Map(a, b), Self::Map(c, d)) => {
                Some(Self::Map(Arc::new(a.joined(c)?), Arc::new(b.joined(d)?)))
            }
            (a, b) => a.agrees(b).then_some(Self::Dyn),
        }
    }

    /// Whether `null` may be spoken of in place of a value of this type.
    pub fn may_be_null(&self) -> bool {
        let never = matches!(
            self,
            Self::Bool | Self::Text | Self::Bytes | Self::Type | Self::List(_) | Self::Map(..)
        );
        !never && !self.is_number()
    }

    /// Whether values of this type can be compared.
    pub fn is_ordered(&self) -> bool {
        self.is_number()
            || matches!(
                self,
                Self::Bool
                    | Self::Text
                    | Self::Bytes
                    | Self::Timestamp
                    | Self::Duration
                    | Self::Dyn
            )
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }
}

/// The format of a text that makes it something else in expressions.
pub(super) fn text_form(node: &Node) -> &'static str {
    match node.limits.as_ref().and_then(|limits| limits.format) {
        Some(Format::Text(format)) => format.name,
        _ => "",
    }
}

/// What stands below a structure; apart from what is declared, objects have a type and a name.
pub(super) fn field<'a>(node: &'a Arc<Node>, name: &str) -> Option<&'a Arc<Node>> {
    if node.is_resource() {
        match name {
            "apiVersion" | "kind" => return Some(plain_text()),
            "metadata" => return Some(declared_metadata(node).unwrap_or_else(|| metadata())),
            _ => {}
        }
    }
    node.properties.get(name)
}

/// The declared metadata, if it has everything that all metadata have.
fn declared_metadata(node: &Arc<Node>) -> Option<&Arc<Node>> {
    let declared = node.properties.get("metadata")?;
    let names = ["name", "generateName"];
    names
        .iter()
        .all(|name| declared.properties.contains_key(*name))
        .then_some(declared)
}

fn plain_text() -> &'static Arc<Node> {
    static TEXT: OnceLock<Arc<Node>> = OnceLock::new();
    TEXT.get_or_init(|| {
        Arc::new(Node {
            kind: Some(Type::String),
            ..Node::default()
        })
    })
}

fn metadata() -> &'static Arc<Node> {
    static METADATA: OnceLock<Arc<Node>> = OnceLock::new();
    METADATA.get_or_init(|| {
        let names = ["name", "generateName"].map(|name| (name.into(), Arc::clone(plain_text())));
        Arc::new(Node {
            kind: Some(Type::Object),
            properties: names.into(),
            ..Node::default()
        })
    })
}
