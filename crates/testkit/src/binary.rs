//! The `sealane` under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::command::{Finished, finish};

/// The binary under test: from `SEALANE_BIN`, else the one that `cargo build` puts beside the tests.
///
/// # Panics
/// When there is none, with the command that builds it.
#[track_caller]
pub fn path() -> PathBuf {
    static FOUND: LazyLock<Result<PathBuf, String>> = LazyLock::new(find);
    FOUND.clone().unwrap_or_else(|reason| panic!("{reason}"))
}

fn find() -> Result<PathBuf, String> {
    if let Some(chosen) = std::env::var_os("SEALANE_BIN") {
        let chosen = PathBuf::from(chosen);
        let missing = || {
            format!(
                "SEALANE_BIN names {}, which does not exist",
                chosen.display()
            )
        };
        return chosen
            .exists()
            .then_some(chosen.clone())
            .ok_or_else(missing);
    }
    let test =
        std::env::current_exe().map_err(|error| format!("find the test's own path: {error}"))?;
    // target/debug/deps/TEST or target/debug/PROGRAM
    let beside = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("sealane"));
    beside
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| missing(&test))
}

fn missing(test: &Path) -> String {
    let release = if test.components().any(|part| part.as_os_str() == "release") {
        " --release"
    } else {
        ""
    };
    format!(
        "no sealane beside {}: build it first with `cargo build{release} --package sealane`, \
         or name one in SEALANE_BIN",
        test.display()
    )
}

/// A command of the binary that is yet to run.
#[track_caller]
pub fn command<I, S>(args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let mut command = Command::new(path());
    command.args(args);
    command
}

/// Runs a command of the binary to its end.
///
/// # Panics
/// When there is no binary, or it does not end in time.
#[track_caller]
pub fn sealane<I, S>(args: I) -> Finished
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    finish(command(args))
}
