//! Expressions whose names and types are known, ready to be evaluated.

use super::library::Overload;
use super::syntax::Binary;
use super::value::Val;

/// A compiled expression.
#[derive(Debug)]
pub(super) enum Code {
    Const(Val<'static>),
    /// A variable: its place on the stack.
    Slot(usize),
    /// A field that must be there.
    Field(Box<Code>, Box<str>),
    /// `has(a.b)`.
    Has(Box<Code>, Box<str>),
    /// `a.?b`, and `.b` of an optional.
    MaybeField(Box<Code>, Box<str>),
    Index(Box<[Code; 2]>),
    /// `a[?b]`, and `[b]` of an optional.
    MaybeIndex(Box<[Code; 2]>),
    And(Vec<Code>),
    Or(Vec<Code>),
    Not(Box<Code>),
    Negate(Box<Code>),
    Conditional(Box<[Code; 3]>),
    Binary(Binary, Box<[Code; 2]>),
    /// A function, by what it takes.
    Call(Vec<&'static Overload>, Vec<Code>),
    List(Vec<(bool, Code)>),
    Map(Vec<(bool, Code, Code)>),
    Fold(Box<Fold>),
    /// `optional.optMap(v, expression)`; the flag says that the expression is optional itself.
    MapOptional(Box<[Code; 2]>, bool),
    /// `list.sortBy(v, key)`.
    SortBy(Box<[Code; 2]>),
}

/// What is made of the members of a list or map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Makes {
    All,
    Exists,
    ExistsOne,
    /// A list of what the expression says of each.
    Mapped,
    /// A list of those of which the expression is true.
    Filtered,
    /// A map with the same keys.
    MappedValues,
    /// A map of what the expression says, itself a map of one.
    Entries,
}

/// A macro that visits the members of a list or map.
#[derive(Debug)]
pub(super) struct Fold {
    pub range: Code,
    pub makes: Makes,
    /// Whether there are two variables: index or key, and value.
    pub pairs: bool,
    /// Which members are visited.
    pub filter: Option<Code>,
    pub body: Code,
}
