//! What the agent says of itself, over its debug socket.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sealane_agent::inspect;
use sealane_introspect::fetch;
use serde::Deserialize;

use crate::snapshot::{Agent, AgentSettings};

/// The settings of the agent that runs here; `None` when none answers.
pub fn settings(run_dir: &Path) -> Option<AgentSettings> {
    #[derive(Deserialize)]
    struct Told {
        config: AgentSettings,
    }
    let got = fetch(&socket(run_dir), "GET", "/debug/config").ok()?;
    let told: Told = serde_json::from_str(&got.body).ok()?;
    Some(told.config)
}

fn socket(run_dir: &Path) -> std::path::PathBuf {
    run_dir.join("agent.debug.sock")
}

/// The part of `/debug/state/network` that is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    ready: bool,
    trouble: Option<String>,
    #[serde(default)]
    problems: Vec<String>,
    #[serde(default)]
    duplicates: Vec<String>,
}

pub(super) fn look(settings: &AgentSettings) -> Agent {
    let ask = |path: &str| fetch(&socket(&settings.run_dir), "GET", path);
    let state = match ask("/debug/state/network") {
        Ok(got) => got,
        Err(error) => return away(cause(&error)),
    };
    let state: State = match serde_json::from_str(&state.body) {
        Ok(state) => state,
        Err(error) => return away(format!("its state cannot be read: {error}")),
    };
    let mut troubles: Vec<String> = state.trouble.into_iter().collect();
    let mut ready = state.ready;
    if let Ok(readyz) = ask("/readyz")
        && readyz.status != 200
    {
        ready = false;
        let known = troubles.clone();
        let is_new = |line: &&str| !known.iter().any(|known| line.contains(known.as_str()));
        let failing = |line| str::strip_prefix(line, "[-] ");
        let lines = readyz.body.lines().filter_map(failing);
        troubles.extend(lines.filter(is_new).map(str::to_owned));
    }
    if !ready && troubles.is_empty() {
        troubles.push("the agent is not ready, and does not say why".into());
    }
    Agent::Here {
        ready,
        troubles,
        problems: state.problems,
        leases: inspect::check(&settings.run_dir).unwrap_or_default(),
        duplicates: state.duplicates,
        same_namespace: same_namespace(&settings.state_dir),
    }
}

fn away(why: String) -> Agent {
    Agent::Away { why }
}

/// The system's words, without what they are repeated with.
fn cause(error: &sealane_introspect::FetchError) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// Its process id is in the lock of its state folder; a container may not see the process.
fn same_namespace(state_dir: &Path) -> Option<bool> {
    let pid: u32 = fs::read_to_string(state_dir.join("lock"))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let theirs = fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
    let ours = fs::metadata("/proc/thread-self/ns/net").ok()?;
    Some((theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()))
}
