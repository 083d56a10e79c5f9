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
mod connect;
mod curl;
mod server;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Names under which the binary acts as one of this crate's programs: its own,
/// and those of the programs in whose way it serves.
pub const APPLETS: [&str; 20] = [
    "echo-server",
    "echo-client",
    "curl",
    "agnhost",
    "netexec",
    "serve-hostname",
    "connect",
    "pause",
    "http-echo",
    "whoami",
    "nginx",
    "nginx-debug",
    "httpd",
    "httpd-foreground",
    "python3",
    "python",
    "nc",
    "ncat",
    "socat",
    "sleep",
];
/// So many of these are this crate's own; the rest are other programs.
const OWN: usize = 3;

/// Names that manifests call by a path outside `/bin`.
pub const AT_ROOT: [&str; 4] = ["agnhost", "http-echo", "pause", "whoami"];

/// Runs the program named by the last part of `argv[0]`: `curl`,
/// `echo-client`, anything else is the server. The server also takes a
/// program's name as its first argument, so `sealane echo curl URL` works.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut argv = argv.into_iter();
    let name = argv.next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let args = argv.map(|word| word.to_string_lossy().into_owned());
    if APPLETS.contains(&name.as_str()) {
        let words: Vec<String> = std::iter::once(name).chain(args).collect();
        return program(&words);
    }
    server::main(&args.collect::<Vec<_>>())
}

/// Runs the program that the first word names.
pub(crate) fn program(words: &[String]) -> ExitCode {
    match words {
        [name, args @ ..] if name == "curl" => curl::main(args),
        [name, args @ ..] if name == "echo-client" => client::main(args),
        [name, args @ ..] if name == "connect" => connect::main(args),
        [name, args @ ..] if name == "echo-server" => server::main(args),
        words => server::main(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_in_whose_way_is_served_has_a_name() {
        for name in AT_ROOT {
            assert!(APPLETS.contains(&name), "{name}");
        }
        assert_eq!(server::NAMES.first(), Some(&"agnhost"), "ours come first");
    }
}
