//! Which system calls a container may make.
//!
//! ```text
//! RuntimeDefault ── default ──┐
//!                             ├─> policy (an answer for each call) ── program ──> BPF ──> the kernel
//! Localhost: OCI JSON ─ profile ┘
//! ```
//!
//! `seccompiler` was tried and left out: it knows one answer for all calls that match and one for
//! all others, and kills a program of a foreign architecture. Here three answers are needed at
//! least: allowed, `EPERM` for what is forbidden, and `ENOSYS` for calls that nobody knew when the
//! profile was written, so that a libc newer than the profile falls back to an older call instead
//! of giving up. It also compares call numbers one after the other; a search tree needs 7
//! comparisons for the same.
//!
//! The program of `RuntimeDefault` depends on the container's capabilities. It is made in the
//! container's own process, between `fork` and `exec`, in 0.1 ms: so the shim keeps nothing of it,
//! and of the 3 ms that a start takes it cannot be told apart (release build, 186 instructions).
//! Only that of a `Localhost` profile comes from the node process and stays with the container,
//! for the commands that are run in it later.

mod default;
mod policy;
mod profile;
mod program;

use std::io;

use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure};

pub use profile::{ProfileError, parse};

/// The filter of a container's system calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// None.
    #[default]
    Unconfined,
    /// What container runtimes forbid where nothing else is said.
    RuntimeDefault,
    /// That of a profile.
    Custom(SeccompProgram),
}

/// A compiled profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompProgram {
    /// Instructions of classic BPF, each as the eight bytes of a `sock_filter`.
    code: Vec<u64>,
    /// Flags of seccomp(2).
    #[serde(default)]
    flags: u64,
}

impl Seccomp {
    /// The program to load for a container with these capabilities; none if it is not confined.
    pub(crate) fn program(&self, capabilities: u64) -> Result<Option<SeccompProgram>, Failure> {
        match self {
            Self::Unconfined => Ok(None),
            Self::Custom(program) => Ok(Some(program.clone())),
            Self::RuntimeDefault => {
                let code = program::compile(&default::policy(capabilities));
                let code = code.context(|| "compile the default seccomp profile".into())?;
                Ok(Some(SeccompProgram { code, flags: 0 }))
            }
        }
    }
}

impl SeccompProgram {
    /// Confines the calling process, for good.
    pub(crate) fn load(&self) -> io::Result<()> {
        program::load(&self.code, self.flags)
    }
}
