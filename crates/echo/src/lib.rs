//! Task: the built-in image `sealane.io/echo`, a server and client for HTTP,
//! TCP and UDP.
//!
//! The server tells who it is, where it was reached and by whom, so that every
//! question about a network ("which pod answered? was the source address
//! changed?") is answered by one request. The client is there because the image
//! holds nothing else: `kubectl exec pod-a -- curl -s http://POD-B-IP:8080`.
//!
//! It is part of the one static binary, and runs as process 1 of containers by
//! the hundred: one thread, one `epoll` loop, buffers that live no longer than
//! what is in them. The programs also run on a plain machine, as `sealane echo`.
#![warn(missing_docs)]

mod client;
mod curl;
mod server;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Names under which the binary acts as one of this crate's programs.
pub const APPLETS: [&str; 3] = ["echo-server", "echo-client", "curl"];

/// Runs the program named by the last part of `argv[0]`: `curl`,
/// `echo-client`, anything else is the server. The server also takes a
/// program's name as its first argument, so `sealane echo curl URL` works.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut argv = argv.into_iter();
    let name = argv.next().unwrap_or_default();
    let mut args: Vec<String> = argv
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let name = Path::new(&name).file_name().unwrap_or_default().to_owned();
    match name.to_str() {
        Some("curl") => curl::main(&args),
        Some("echo-client") => client::main(&args),
        _ if args.first().is_some_and(|a| APPLETS.contains(&a.as_str())) => {
            let applet = OsString::from(args.remove(0));
            main(std::iter::once(applet).chain(args.into_iter().map(OsString::from)))
        }
        _ => server::main(&args),
    }
}
