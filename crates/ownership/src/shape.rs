//! How values merge: what of a type can have owners of its own.

use serde_json::Value;

/// How the values of one type merge. Cheap to copy: a reference into a schema that outlives the
/// work, which is walked only as far as the values go, so types may contain themselves.
pub trait Shape<'a>: Copy {
    /// What a value should be.
    fn form(self) -> Form;

    /// The field with this name, if it is a struct, or the entry, if it is a map; none if the
    /// struct does not declare it.
    fn member(self, name: &str) -> Option<Member<Self>>;

    /// What its elements are, if it is a list.
    fn element(self) -> Of<Self>;

    /// The fields that tell its elements apart, if it is a list of [`Listing::Keys`].
    fn keys(self) -> Vec<&'a str>;

    /// What a field that tells elements apart is where it is left out, if this is such an element.
    fn default_of(self, name: &str) -> Option<Value>;
}

/// The shape of a value: a known one, or one that its type does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of<S> {
    /// What a schema says.
    Known(S),
    /// Whatever there is: maps merge by their entries, lists are owned as a whole.
    Any,
    /// Whatever there is, owned as a whole.
    Opaque,
}

/// What a value should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A single value.
    Scalar(Scalar),
    /// A struct or a map.
    Map {
        /// Whether it is owned as a whole.
        whole: bool,
    },
    /// A list.
    List(Listing),
}

/// A single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Bool,
    /// Any of them.
    Any,
    /// Not known to be single; never descended into.
    Opaque,
}

/// What tells the elements of a list apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Nothing: the list is owned as a whole.
    Whole,
    /// Their values.
    Values,
    /// Some of their fields.
    Keys,
}

/// A field of a struct, or an entry of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<S> {
    /// What its value is.
    pub of: Of<S>,
    /// Whether it is a declared field, not an entry under a name of its own.
    pub declared: bool,
    /// Whether there is always such a field, be it empty: then nobody owns it for itself.
    pub kept: bool,
}

impl<S> Member<S> {
    /// An entry of a map.
    pub fn entry(of: Of<S>) -> Self {
        Self {
            of,
            declared: false,
            kept: false,
        }
    }
}

impl<'a, S: Shape<'a>> Of<S> {
    /// How this value merges.
    pub(crate) fn form(self, value: &Value) -> Form {
        match (self, value) {
            (Self::Known(shape), _) => shape.form(),
            (Self::Opaque, _) => Form::Scalar(Scalar::Opaque),
            (Self::Any, Value::Object(_)) => Form::Map { whole: false },
            (Self::Any, Value::Array(_)) => Form::List(Listing::Whole),
            (Self::Any, _) => Form::Scalar(Scalar::Any),
        }
    }

    /// Its field or entry; none if it declares its fields and this is none.
    pub(crate) fn declared(self, name: &str) -> Option<Member<S>> {
        match self {
            Self::Known(shape) => shape.member(name),
            other => Some(Member::entry(other)),
        }
    }

    /// Its field or entry; what is not declared is owned as a whole.
    pub(crate) fn member(self, name: &str) -> Member<S> {
        let found = self.declared(name);
        found.unwrap_or_else(|| Member::entry(Self::Opaque))
    }

    /// Its elements.
    pub(crate) fn element(self) -> Self {
        match self {
            Self::Known(shape) => shape.element(),
            Self::Any | Self::Opaque => Self::Opaque,
        }
    }
}
