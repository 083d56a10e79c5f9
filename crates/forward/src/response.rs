//! What upstreams send: nothing in it is believed before it was looked at.
//!
//! Messages are read with our own [`sealane_message::Records`], the same that clients' messages and our
//! tests go through: bounded, with pointers that only lead backwards, and fuzzed (`fuzz/src/bin/upstream.rs`).
//! The `domain` crate reads every kind of record into a type of its own; we need names in six of them, copy
//! the rest, and would take eight more crates into every build for it.

mod chain;
mod examine;
mod keep;
mod opaque;

use sealane_message::Malformed;

pub use examine::{Examined, Lie, examine};
pub use keep::{Bounds, Kept, Outcome, TtlBounds, keep};

/// Why a reply is of no use, although it is the reply to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// More than we keep.
    #[error("it has more records than anybody needs")]
    TooLong,
    /// A name stands for two others.
    #[error("a name is given two aliases")]
    Aliases,
    /// Aliases go round.
    #[error("aliases go round, or do not end")]
    Circle,
    /// Records of a name that does not exist.
    #[error("it has records of a name that it says does not exist")]
    Contradiction,
    /// How it ended is said by an OPT: EDNS was not to its liking.
    #[error("it refuses our EDNS")]
    Edns,
    /// It names other servers to ask.
    #[error("it refers us to other servers, so it is no resolver")]
    Referral,
}

#[cfg(test)]
mod tests;
