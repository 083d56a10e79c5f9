//! Task: the built-in image sealane.io/echo, a server and client for HTTP, TCP and UDP.

use std::ffi::OsString;
use std::process::ExitCode;

/// Names under which the binary acts as one of this crate's programs.
pub const APPLETS: [&str; 3] = ["echo-server", "echo-client", "curl"];

/// Runs the program named by the last part of `argv[0]`: `curl`,
/// `echo-client`, anything else is the server.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _ = argv;
    ExitCode::FAILURE
}
