//! A `kubectl` that is new enough, found or refused loudly.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::command::run;

/// Oldest minor version of `kubectl` 1 that `exec` works with: it must speak WebSocket.
const OLDEST_MINOR: u32 = 30;

/// The `kubectl` that tests use: from `KUBECTL`, else where `make` puts it (target/tools), else from PATH.
///
/// # Panics
/// When none is new enough, with each that was tried.
#[track_caller]
pub fn path() -> PathBuf {
    static FOUND: LazyLock<Result<PathBuf, String>> = LazyLock::new(find);
    FOUND.clone().unwrap_or_else(|reason| panic!("{reason}"))
}

fn find() -> Result<PathBuf, String> {
    let named = std::env::var_os("KUBECTL").map(PathBuf::from);
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/kubectl");
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join("kubectl"));
    let mut tried = Vec::new();
    for path in named
        .into_iter()
        .chain([tools])
        .chain(on_path)
        .filter(|path| path.is_file())
    {
        match minor_version(&path) {
            Some(minor) if minor >= OLDEST_MINOR => return Ok(path),
            Some(minor) => tried.push(format!("{} is 1.{minor}", path.display())),
            None => tried.push(format!("{} does not tell its version", path.display())),
        }
    }
    Err(format!(
        "tests need kubectl 1.{OLDEST_MINOR} or newer in KUBECTL, target/tools or PATH; `make setup` installs one \
         (tried: [{}])",
        tried.join(", ")
    ))
}

fn minor_version(path: &Path) -> Option<u32> {
    let done = run(path.to_str()?, ["version", "--client", "--output=json"]);
    let version: serde_json::Value = serde_json::from_str(&done.stdout).ok()?;
    let minor = version["clientVersion"]["minor"].as_str()?;
    minor.trim_end_matches('+').parse().ok()
}
