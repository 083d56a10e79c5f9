//! What the `sealane` binary is to a pod: its shim, and the programs of
//! `sealane.io/echo`. Without the rest, so that tests of this crate build fast.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    let name = argv.first().and_then(|name| Path::new(name).file_name());
    let name = name.and_then(|name| name.to_str()).unwrap_or("");
    if sealane_echo::APPLETS.contains(&name) {
        return sealane_echo::main(argv);
    }
    match argv.get(1).and_then(|word| word.to_str()) {
        Some("shim") => sealane_runtime::shim_main(argv.into_iter().skip(2)),
        Some("echo") => sealane_echo::main(argv.into_iter().skip(1)),
        _ => ExitCode::from(2),
    }
}
