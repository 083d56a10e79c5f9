//! What is wrong with a value, in the words of `k8s.io/apimachinery/pkg/util/validation/field`.

use std::fmt;

use serde_json::Value;

/// The kind of a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// A field that must be given is absent.
    Required,
    /// A value that cannot be.
    Invalid,
    /// A value of another type than is declared.
    TypeInvalid,
    /// A value that is none of those that can be.
    NotSupported,
    /// A value that is there twice.
    Duplicate,
    /// A field that may not be set.
    Forbidden,
    /// A text that is too long.
    TooLong,
    /// A list or map with too many members.
    TooMany,
    /// Something that should never happen.
    Internal,
}

impl ProblemKind {
    /// The reason of a cause in a `Status`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }

    /// Whether the value is in the message.
    fn shows_value(self) -> bool {
        !matches!(
            self,
            Self::Required | Self::Forbidden | Self::TooLong | Self::Internal
        )
    }
}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The field, as `spec.rules[0].name`; `<nil>` for what Kubernetes says of no field.
    pub path: String,
    /// The kind of the mistake.
    pub kind: ProblemKind,
    /// The value that is wrong, if it is to be shown.
    pub value: Option<Value>,
    /// What is wrong with it; may be empty.
    pub detail: String,
}

/// What stands where Kubernetes names no field.
pub(crate) const NO_PATH: &str = "<nil>";

impl Problem {
    pub(crate) fn new(
        path: impl ToString,
        kind: ProblemKind,
        value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        let path = match path.to_string() {
            path if path.is_empty() => NO_PATH.into(),
            path => path,
        };
        Self {
            path,
            kind,
            value,
            detail: detail.into(),
        }
    }

    pub(crate) fn required(path: impl ToString, detail: impl Into<String>) -> Self {
        Self::new(path, ProblemKind::Required, None, detail)
    }

    pub(crate) fn invalid(
        path: impl ToString,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(path, ProblemKind::Invalid, Some(value.into()), detail)
    }

    pub(crate) fn wrong_type(
        path: impl ToString,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(path, ProblemKind::TypeInvalid, Some(value.into()), detail)
    }

    pub(crate) fn forbidden(path: impl ToString, detail: impl Into<String>) -> Self {
        Self::new(path, ProblemKind::Forbidden, None, detail)
    }

    pub(crate) fn duplicate(path: impl ToString, value: impl Into<Value>) -> Self {
        Self::new(path, ProblemKind::Duplicate, Some(value.into()), "")
    }

    pub(crate) fn not_supported(
        path: impl ToString,
        value: impl Into<Value>,
        supported: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        let supported = supported.into_iter();
        let supported: Vec<String> = supported.map(|one| format!("{:?}", one.as_ref())).collect();
        let detail = format!("supported values: {}", supported.join(", "));
        Self::new(path, ProblemKind::NotSupported, Some(value.into()), detail)
    }

    pub(crate) fn too_long(path: impl ToString, max: i64) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {max} {unit}");
        Self::new(path, ProblemKind::TooLong, None, detail)
    }

    pub(crate) fn too_many(path: impl ToString, actual: usize, max: i64) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {unit}");
        Self::new(path, ProblemKind::TooMany, Some(actual.into()), detail)
    }

    /// What is said of the field, without its path.
    pub fn message(&self) -> String {
        let mut message = self.kind.words().to_owned();
        if let Some(value) = self.value.as_ref().filter(|_| self.kind.shows_value()) {
            message.push_str(": ");
            message.push_str(&value.to_string());
        }
        if !self.detail.is_empty() {
            message.push_str(": ");
            message.push_str(&self.detail);
        }
        message
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message())
    }
}
