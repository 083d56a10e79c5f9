//! Regular expressions, with a bound on what one can cost.
//!
//! Corefiles have Go's, which `regex-lite` reads but for rarely used classes (`\pL`); neither
//! knows look-around and back-references, so matching takes time in proportion to the pattern and
//! the name. Both are bounded here: a name has 255 bytes, and a pattern that would be compiled to
//! more than [`LARGEST_BYTES`] is refused.

use regex_lite::{Regex, RegexBuilder};

/// What a pattern may be compiled to.
const LARGEST_BYTES: usize = 100_000;

pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(text);
    builder.size_limit(LARGEST_BYTES).nest_limit(50);
    builder
        .build()
        .map_err(|error| format!("{text:?} is no regular expression that is understood: {error}"))
}
