//! Selectors: which objects a list or watch is about.

mod field;
mod label;

pub use field::FieldSelector;
pub use label::LabelSelector;

/// A selector that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub(crate) String);
