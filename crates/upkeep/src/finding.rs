//! What a check says.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Packets of pods are lost, or pods cannot be wired.
    Error,
    /// It hurts under conditions that were not met now, or hurts a part only.
    Warning,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which rule says so; the same word in every version.
    pub check: &'static str,
    /// The object and its value.
    pub seen: String,
    /// Why it matters.
    pub why: String,
    /// What to do: a command, or where there is none, words.
    pub next: String,
}

/// A check that could not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// What was not looked at.
    pub what: String,
    /// Why not, and what would help.
    pub why: String,
}

/// All about one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The node's name, as far as it is known.
    pub node: String,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// What was not looked at.
    pub skipped: Vec<Skipped>,
}

impl Finding {
    /// Packets are lost.
    pub fn error(check: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Error, check, seen)
    }

    /// They may be.
    pub fn warning(check: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Warning, check, seen)
    }

    /// With a severity that was decided elsewhere; [`Finding::because`] and [`Finding::next`] say the rest.
    pub fn new(severity: Severity, check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            severity,
            check,
            seen: seen.into(),
            why: String::new(),
            next: String::new(),
        }
    }

    /// Why it matters.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            ..self
        }
    }

    /// What to do.
    #[must_use]
    pub fn next(self, next: impl Into<String>) -> Self {
        Self {
            next: next.into(),
            ..self
        }
    }
}
