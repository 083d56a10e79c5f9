//! `kubectl`, found or refused loudly: the one that tests use, and one of each generation.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::command::run;

/// Oldest minor version of `kubectl` 1 that is supported.
const OLDEST_MINOR: u32 = 28;

/// A `kubectl`, and which one.
#[derive(Debug, Clone)]
pub struct Generation {
    /// The program.
    pub path: PathBuf,
    /// N of version 1.N.
    pub minor: u32,
}

impl std::fmt::Display for Generation {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "1.{} ({})", self.minor, self.path.display())
    }
}

/// The `kubectl` that tests use, and an older one where there is one: from `KUBECTL_OLD`, else
/// where `make` puts it.
///
/// # Panics
/// As [`path`], and when `KUBECTL_OLD` names none that is supported.
#[track_caller]
pub fn generations() -> Vec<Generation> {
    let newest = path();
    let minor = minor_version(&newest).expect("its version was read before");
    let newest = Generation {
        path: newest,
        minor,
    };
    let named = std::env::var_os("KUBECTL_OLD").map(PathBuf::from);
    let old = named.clone().or_else(|| Some(tools()?.join("kubectl-old")));
    let older = old.and_then(|path| {
        let minor = minor_version(&path)?;
        (OLDEST_MINOR..newest.minor)
            .contains(&minor)
            .then_some(Generation { path, minor })
    });
    assert!(
        named.is_none() || older.is_some(),
        "KUBECTL_OLD={named:?} is no kubectl between 1.{OLDEST_MINOR} and {newest}"
    );
    older.into_iter().chain([newest]).collect()
}

/// Where `make` puts what it fetches: `tools` in the target directory of this test.
pub fn tools() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let beside = test.ancestors().map(|folder| folder.join("tools"));
    beside
        .into_iter()
        .find(|tools| tools.join("kubectl").exists())
}

/// The `kubectl` that tests use: from `KUBECTL`, else where `make` puts it ([`tools`]), else from PATH.
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
    let tools = tools().map(|tools| tools.join("kubectl"));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join("kubectl"));
    let mut tried = Vec::new();
    for path in named
        .into_iter()
        .chain(tools)
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
    if !path.is_file() {
        return None;
    }
    let done = run(path.to_str()?, ["version", "--client", "--output=json"]);
    let version: serde_json::Value = serde_json::from_str(&done.stdout).ok()?;
    let minor = version["clientVersion"]["minor"].as_str()?;
    minor.trim_end_matches('+').parse().ok()
}
