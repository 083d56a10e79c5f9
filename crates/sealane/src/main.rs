//! The whole Kubernetes network in one binary.
//!
//! Arguments and dispatch, nothing else: each command is a file of
//! [`commands`], and what it does is in the crate of its name.
//!
//! Three callers are served [`first`], before a parser, a logger or a runtime
//! exists: the container runtime that calls a CNI plugin, `sealane node` that
//! starts a pod's shim, and a pod whose program is one of the built-in ones.
//! They start hundreds of times a minute and stay for as long as a pod does, so
//! they must be quick and small.

mod cli;
mod commands;
mod first;
mod name_service;
mod output;
mod role;
mod which;

use std::process::ExitCode;

fn main() -> ExitCode {
    name_service::keep_to_builtin();
    let args: Vec<_> = std::env::args_os().collect();
    first::dispatch(&args).unwrap_or_else(cli::main)
}
