//! The formats of texts and numbers that `format` may name and that are held to.
//!
//! They are those of `k8s.io/apiextensions-apiserver/pkg/apiserver/validation/formats.go`, judged as
//! `k8s.io/kube-openapi/pkg/validation/strfmt` judges them. A format that is not
//! in this table says nothing, as there.

mod numbers;
mod texts;

use std::fmt;

use crate::node::Type;

/// A format that is held to.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    Int32,
    Int64,
    Float,
    Double,
    Text(TextFormat),
}

/// A format of texts: its name as the schema has it, and the judge.
#[derive(Clone, Copy)]
pub(crate) struct TextFormat {
    pub name: &'static str,
    pub judge: fn(&str) -> bool,
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Format {
    /// The format of that name for values of that type.
    pub fn read(name: &str, kind: Option<Type>) -> Option<Self> {
        match (kind, name) {
            (Some(Type::Integer), "int32") => Some(Self::Int32),
            (Some(Type::Integer), "int64") => Some(Self::Int64),
            (Some(Type::Number), "float") => Some(Self::Float),
            (Some(Type::Number), "double") => Some(Self::Double),
            (None | Some(Type::String), name) => {
                let bare = |name: &str| name.replace('-', "");
                let found = texts::ALL.iter().find(|one| bare(one.name) == bare(name));
                found.map(|format| Self::Text(*format))
            }
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float => "float",
            Self::Double => "double",
            Self::Text(format) => format.name,
        }
    }
}

/// Whether a text is of a format, by its name.
pub(crate) fn judges(name: &str, text: &str) -> bool {
    let format = texts::ALL.iter().find(|format| format.name == name);
    format.is_some_and(|format| (format.judge)(text))
}
