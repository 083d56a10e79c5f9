//! Checks of this workspace that no off-the-shelf tool makes: `cargo xtask help`.
//!
//! | module | checks |
//! |---|---|
//! | [`layers`] | which crate may depend on which |
//! | [`licences`] | that everything we link may be linked |
//! | [`check`] | all of it, with formatting, lints and documentation: what `make check` runs |

mod check;
mod layers;
mod licences;
mod spdx;
mod workspace;

use std::process::ExitCode;

const HELP: &str = "\
Checks of the Sealane workspace.

    cargo xtask check       everything below, and formatting, clippy and rustdoc without warnings
    cargo xtask layers      which crate may depend on which (the table is in xtask/src/layers.rs)
    cargo xtask licences    the licence of every dependency (the list is in xtask/src/licences.rs)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["check"] => check::run(),
        ["layers"] => layers::run(),
        ["licences"] => licences::run(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("no such check: {}\n\n{HELP}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
