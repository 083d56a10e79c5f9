//! The shim itself.

use std::ffi::OsString;
use std::process::ExitCode;

/// The whole life of a shim. `args` are those after `sealane shim`. The binary
/// calls this before anything else: no thread may exist.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _ = args;
    ExitCode::FAILURE
}
