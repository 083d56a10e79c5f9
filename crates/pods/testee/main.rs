//! What the `sealane` binary is to a node: `sealane node` itself, a pod's shim, and
//! the programs of `sealane.io/echo`. Without the rest, so that tests of this crate
//! build fast and can kill a whole process.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    node: sealane_pods::Options,
}

fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    let name = argv.first().and_then(|name| Path::new(name).file_name());
    let name = name.and_then(|name| name.to_str()).unwrap_or("");
    if sealane_echo::APPLETS.contains(&name) {
        return sealane_echo::main(argv);
    }
    match argv.get(1).and_then(|word| word.to_str()) {
        Some("shim") => {
            hold();
            sealane_runtime::shim_main(argv.into_iter().skip(2))
        }
        Some("echo") => sealane_echo::main(argv.into_iter().skip(1)),
        Some("node") => node(argv.into_iter().skip(1)),
        _ => ExitCode::from(2),
    }
}

/// Stops here for as long as a test wants: there is a file that says so.
fn hold() {
    let Some(gate) = std::env::var_os("TESTEE_HOLD_SHIM").map(std::path::PathBuf::from) else {
        return;
    };
    if gate.exists() {
        let _ = std::fs::write(gate.with_extension(std::process::id().to_string()), "");
    }
    while gate.exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn node(argv: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = Arguments::parse_from(argv);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let logging = sealane_introspect::init_logging("node", "debug");
    if let Err(error) = logging {
        eprintln!("{error}");
    }
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(sealane_pods::run(arguments.node, CancellationToken::new()))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
