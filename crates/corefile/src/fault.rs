//! What is wrong with a Corefile, and what of it has no effect.

use std::fmt;
use std::sync::Arc;

/// A line of a Corefile, or of a file that it imports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    /// The file: `Corefile`, or the path of what was imported.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why a Corefile cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {about}{}{problem}", if about.is_empty() { "" } else { ": " })]
pub struct Fault {
    /// Where.
    pub at: At,
    /// The plugin and its option, such as `forward max_fails`; empty when it is none of a plugin.
    pub about: String,
    /// What is wrong, what was expected.
    pub problem: String,
}

/// All that is wrong with a Corefile, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

/// A part of a Corefile that has no effect; the rest is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Where.
    pub at: At,
    /// The plugin and its option.
    pub about: String,
    /// What follows from that, and what to do about it.
    pub consequence: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.at, self.about, self.consequence)
    }
}
