//! Errors inside the shim: a text for people and an exit code for shells.

use std::fmt::Display;

/// Exit code of a shell for a command that cannot be found.
pub(crate) const NOT_FOUND: i32 = 127;
/// Exit code of a shell for a command that cannot be executed.
pub(crate) const NOT_EXECUTABLE: i32 = 126;
/// Exit code of the container runtimes for everything else.
pub(crate) const OTHER: i32 = 128;

/// Something that was not done. It crosses process and socket as these two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) reason: String,
}

impl Failure {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            code: OTHER,
            reason: reason.into(),
        }
    }
}

/// Adds what was tried to an error: `verb object: cause`.
pub(crate) trait Context<T> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Display> Context<T> for Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|cause| Failure::new(format!("{}: {cause}", doing())))
    }
}
