//! What the node process and a shim say to each other.
//!
//! ```text
//! node process                      shim
//!   connect, one Request  ------->
//!                         <-------  one Reply, then the end            most requests
//!                         <-------  ExecStarted … ExecExited           Exec: closing earlier kills it
//!   Attach, CloseInput    <-------  Attached … Done once the container has ended
//!                         <-------  Hello, then Exited …               Subscribe: until either side ends
//! ```
//!
//! One connection carries one request (`CloseInput` is a second word to `Attach`): nothing has to be told apart, a caller
//! that dies takes back only what it asked for, and connecting costs some
//! 20 µs. Frames are lines of JSON; descriptors travel beside them
//! (`SCM_RIGHTS`). The same program is at both ends, but perhaps not the same
//! version of it, since a shim outlives an upgrade: fields may be added, with a
//! default, never changed.

use serde::{Deserialize, Serialize};

use crate::init::Identity;
use crate::spec::{AttachSpec, ContainerSpec, ExecSpec, SandboxSpec};
use crate::state::{Exit, ShimState, Started};

/// A request of the node process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Start a container.
    Start(Box<ContainerSpec>),
    /// Send a signal to a container's first process.
    Signal { container: String, signal: i32 },
    /// Run a command; with three descriptors unless `window` asks for a terminal.
    Exec {
        spec: ExecSpec,
        #[serde(default)]
        window: Option<Window>,
    },
    /// Follow a container, with a descriptor for each output that is wanted.
    Attach(AttachSpec),
    /// The one who follows has no more input; on the same connection.
    CloseInput,
    /// Tell the state.
    State,
    /// Tell who you are, then each exit.
    Subscribe,
    /// Kill what is left and end.
    Shutdown,
}

/// Size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

/// An answer or a piece of news of a shim.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// Done, with nothing to tell.
    Done,
    /// Not done. `code` is the exit code that a shell would give, 128 if none fits.
    Failed { code: i32, reason: String },
    /// The container runs.
    Started(Started),
    /// The state.
    State(ShimState),
    /// The subscription stands.
    Hello { pid: u32, sandbox: Box<SandboxSpec> },
    /// A container ended.
    Exited {
        name: String,
        attempt: u32,
        exit: Exit,
    },
    /// The command runs; its terminal, if any, comes with this.
    ExecStarted {
        pid: u32,
        /// From a container's child to the shim: who its image says that it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<Identity>,
    },
    /// The container is followed; its input or its terminal, if it has one, comes with this.
    Attached { input: bool, terminal: bool },
    /// The command ended.
    ExecExited { code: i32 },
}

/// Longest frame; a specification beyond it is refused.
pub(crate) const MAX_FRAME_BYTES: usize = 4 << 20;
