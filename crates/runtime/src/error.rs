//! What can go wrong between the node process and a shim.

use std::io;
use std::path::PathBuf;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a request to a shim; the variants are the decisions that a
/// caller can take.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sandbox was not made; nothing of it is left but its directory.
    #[error("create sandbox of pod {pod}: {reason}")]
    Create {
        /// `namespace/name`.
        pod: String,
        /// What failed.
        reason: String,
    },
    /// There is no shim behind this socket.
    #[error("adopt the shim behind {}: {cause}", socket.display())]
    Adopt {
        /// The socket that was tried.
        socket: PathBuf,
        /// What failed.
        cause: io::Error,
    },
    /// The shim has ended: the pod is dead and must be made anew.
    #[error("shim of pod {pod} (pid {pid}) is gone: {cause}")]
    Gone {
        /// `namespace/name`.
        pod: String,
        /// Process id that it had.
        pid: u32,
        /// What the socket said.
        cause: io::Error,
    },
    /// The container did not start; the text is fit for `RunContainerError`.
    #[error("start container {container} of pod {pod}: {reason}")]
    Start {
        /// `namespace/name`.
        pod: String,
        /// Name of the container.
        container: String,
        /// The exit code that a shell would give: 127 command not found, 126
        /// not executable, 128 anything else.
        code: i32,
        /// What failed.
        reason: String,
    },
    /// The command did not start; the text is fit for `kubectl exec`.
    #[error("exec in container {container} of pod {pod}: {reason}")]
    Exec {
        /// `namespace/name`.
        pod: String,
        /// Name of the container.
        container: String,
        /// The exit code that a shell would give: 127 command not found, 126
        /// not executable, 128 anything else.
        code: i32,
        /// What failed.
        reason: String,
    },
    /// The shim refused the request.
    #[error("{request} in pod {pod}: {reason}")]
    Refused {
        /// `namespace/name`.
        pod: String,
        /// What was asked.
        request: &'static str,
        /// Why not.
        reason: String,
    },
    /// Leftovers of a dead shim could not be removed; the rest was.
    #[error("remove what pod {pod} left: {reason}")]
    Cleanup {
        /// `namespace/name`.
        pod: String,
        /// Everything that failed.
        reason: String,
    },
}
