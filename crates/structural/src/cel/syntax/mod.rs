//! The language's form: from text to a tree.
//!
//! The grammar is that of the CEL specification with optional fields (`a.?b`, `a[?0]`), which
//! Kubernetes enables. Macros are calls here; [`super::check`] knows them. A chain of `&&` or of
//! `||` is one node, and no tree is deeper than [`MAX_DEPTH`], so that whatever walks it needs
//! little stack.

mod lex;
mod parse;

use std::fmt;

pub(super) use parse::parse;

/// How deep a tree may be.
pub(super) const MAX_DEPTH: u16 = 100;

/// A node and where in the text it begins.
#[derive(Debug, PartialEq)]
pub(super) struct Expr {
    pub kind: Kind,
    pub at: usize,
    pub depth: u16,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Binary {
    /// The operator's name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "_+_",
            Self::Subtract => "_-_",
            Self::Multiply => "_*_",
            Self::Divide => "_/_",
            Self::Remainder => "_%_",
            Self::Equal => "_==_",
            Self::Unequal => "_!=_",
            Self::Less => "_<_",
            Self::LessOrEqual => "_<=_",
            Self::Greater => "_>_",
            Self::GreaterOrEqual => "_>=_",
            Self::In => "@in",
        }
    }
}

/// A member of a list or map literal; optional ones are left out when they have no value.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub optional: bool,
    /// Of a map alone.
    pub key: Option<Expr>,
    pub value: Expr,
}

#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    Literal(Literal),
    Ident(String),
    Select {
        operand: Box<Expr>,
        field: String,
        optional: bool,
    },
    Index {
        operand: Box<Expr>,
        index: Box<Expr>,
        optional: bool,
    },
    Call {
        target: Option<Box<Expr>>,
        function: String,
        args: Vec<Expr>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Conditional(Box<[Expr; 3]>),
    Binary(Binary, Box<[Expr; 2]>),
    List(Vec<Entry>),
    Map(Vec<Entry>),
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub at: usize,
    pub message: String,
}

impl Fault {
    pub fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }

    /// With line, column, and a mark below the place, as cel-go shows it.
    pub fn shown<'a>(&'a self, source: &'a str) -> impl fmt::Display + 'a {
        Shown {
            fault: self,
            source,
        }
    }
}

struct Shown<'a> {
    fault: &'a Fault,
    source: &'a str,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.source.get(..self.fault.at).unwrap_or(self.source);
        let line = before.matches('\n').count();
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count();
        let text = self.source.split('\n').nth(line).unwrap_or_default();
        let message = &self.fault.message;
        write!(f, "ERROR: <input>:{}:{}: {message}", line + 1, column + 1)?;
        write!(f, "\n | {text}\n | {}^", ".".repeat(column))
    }
}
