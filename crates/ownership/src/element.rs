//! One step of a path through an object.

use std::fmt;

use serde_json::{Map, Value};

/// One step of a path: into a field, or to an element of a list.
///
/// Kept as the text that stands in `fieldsV1`, so that sets are small and quick to compare.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    kind: Kind,
    text: Box<str>,
}

/// In the order in which sets list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Field,
    Key,
    Value,
    Index,
}

/// A text that is no step of a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElementError {
    /// It begins with a letter that stands for nothing yet; whoever reads it leaves it out.
    #[error("unknown path element type")]
    Unknown,
    /// It cannot be read.
    #[error("{0}")]
    Malformed(String),
}

impl Element {
    /// The field with this name.
    pub fn field(name: &str) -> Self {
        Self::new(Kind::Field, name)
    }

    /// The element of a list whose fields have these values.
    pub fn key(fields: &Map<String, Value>) -> Self {
        let members: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
            .collect();
        Self::new(Kind::Key, &format!("{{{}}}", members.join(",")))
    }

    /// The element of a list that is this text, number or boolean.
    pub fn value(value: &Value) -> Self {
        Self::new(Kind::Value, &value.to_string())
    }

    fn new(kind: Kind, text: &str) -> Self {
        let text = text.into();
        Self { kind, text }
    }

    /// Reads a key of `fieldsV1`: `f:NAME`, `k:{…}`, `v:…` or `i:NUMBER`.
    ///
    /// # Errors
    ///
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self, ElementError> {
        let malformed = |cause: String| ElementError::Malformed(cause);
        let Some((kind, rest)) = text.split_once(':').filter(|(kind, _)| kind.len() == 1) else {
            return Err(malformed(format!("missing colon: {text}")));
        };
        let json =
            || serde_json::from_str::<Value>(rest).map_err(|cause| malformed(cause.to_string()));
        match kind {
            "f" => Ok(Self::field(rest)),
            "v" => Ok(Self::value(&json()?)),
            "k" => match json()? {
                Value::Object(fields) => Ok(Self::key(&fields)),
                _ => Err(malformed(format!("not an object: {rest}"))),
            },
            "i" => match rest.parse::<i64>() {
                Ok(index) => Ok(Self::new(Kind::Index, &index.to_string())),
                Err(cause) => Err(malformed(cause.to_string())),
            },
            _ => Err(ElementError::Unknown),
        }
    }

    /// The name, if it is a field.
    pub fn name(&self) -> Option<&str> {
        (self.kind == Kind::Field).then_some(&*self.text)
    }

    /// The key that stands for it in `fieldsV1`.
    pub fn to_key(&self) -> String {
        let letter = match self.kind {
            Kind::Field => 'f',
            Kind::Key => 'k',
            Kind::Value => 'v',
            Kind::Index => 'i',
        };
        format!("{letter}:{}", self.text)
    }

    /// How it compares with the field of this name.
    pub(crate) fn cmp_field(&self, name: &str) -> std::cmp::Ordering {
        self.kind
            .cmp(&Kind::Field)
            .then_with(|| (*self.text).cmp(name))
    }
}

/// As in messages to people: `.spec`, `[name="a"]`, `[="x"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Field => write!(f, ".{}", self.text),
            Kind::Value => write!(f, "[={}]", self.text),
            Kind::Index => write!(f, "[{}]", self.text),
            Kind::Key => {
                let fields: Map<String, Value> =
                    serde_json::from_str(&self.text).unwrap_or_default();
                let shown: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                write!(f, "[{}]", shown.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_and_shown_as_kubernetes_does() {
        for (text, key, shown) in [
            ("f:spec", "f:spec", ".spec"),
            ("f:a:b", "f:a:b", ".a:b"),
            (
                r#"k:{"protocol":"TCP", "port":80}"#,
                r#"k:{"port":80,"protocol":"TCP"}"#,
                r#"[port=80,protocol="TCP"]"#,
            ),
            (r#"v:"a\u003cb""#, r#"v:"a<b""#, r#"[="a<b"]"#),
            ("v:1", "v:1", "[=1]"),
            ("i:007", "i:7", "[7]"),
        ] {
            let element = Element::parse(text).unwrap();
            assert_eq!(element.to_key(), key);
            assert_eq!(element.to_string(), shown);
        }
        assert_eq!(Element::parse("x:1"), Err(ElementError::Unknown));
        for bad in ["", ".", "f", "k:1", "k:{", "v:", "v:1 2", "i:x", "ff:x"] {
            let refused = Element::parse(bad);
            assert!(
                matches!(refused, Err(ElementError::Malformed(_))),
                "{bad}: {refused:?}"
            );
        }
    }
}
