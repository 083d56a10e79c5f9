//! Waiting until the cluster is ready, and saying why it is not.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Progress;
use crate::attach::Listening;
use crate::layout::Layout;
use crate::supervisor::role::SUPERVISOR;
use crate::supervisor::snapshot::Snapshot;

/// How many of a log's last lines are shown.
const TAIL: usize = 5;

/// Waits until everything is ready.
///
/// # Errors
/// When that takes longer than `patience`, with what is missing and the last
/// words of the processes concerned.
pub async fn wait(
    layout: &Layout,
    mut listening: Listening,
    patience: Duration,
    interrupted: CancellationToken,
    progress: Progress<'_>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    let mut last = Snapshot::default();
    let mut told = BTreeSet::new();
    loop {
        let next = tokio::select! {
            next = timeout_at(deadline, listening.next()) => next,
            () = interrupted.cancelled() => bail!("interrupted"),
        };
        match next {
            Ok(Some(snapshot)) if snapshot.is_ready() => {
                tell(&snapshot, &mut told, progress);
                return Ok(());
            }
            Ok(Some(snapshot)) => {
                tell(&snapshot, &mut told, progress);
                last = snapshot;
            }
            Ok(None) => bail!("the supervisor has ended; {}", tail(layout, SUPERVISOR)),
            Err(_) => bail!("{}", explain(layout, &last, patience)),
        }
    }
}

/// One line for each thing that has become ready, once.
fn tell(snapshot: &Snapshot, told: &mut BTreeSet<String>, progress: Progress<'_>) {
    let api = snapshot.api.then(|| "the API answers".to_owned());
    let nodes = snapshot
        .nodes
        .iter()
        .filter(|node| node.ready)
        .map(|node| format!("{} is ready", node.name));
    for line in api.into_iter().chain(nodes) {
        if told.insert(line.clone()) {
            progress(&line);
        }
    }
}

fn explain(layout: &Layout, snapshot: &Snapshot, patience: Duration) -> String {
    let mut lines = vec![format!(
        "the cluster is not ready after {} s:",
        patience.as_secs()
    )];
    if !snapshot.api {
        lines.push("  the API does not answer".to_owned());
    }
    for node in &snapshot.nodes {
        let reason = node
            .reason
            .as_deref()
            .unwrap_or("its pod subnet has no route yet");
        if !node.ready || node.routed.is_empty() {
            lines.push(format!("  {}: {reason}", node.name));
        }
    }
    if snapshot.api && snapshot.nodes.iter().all(|node| !node.ready) {
        let link = layout.name.machine_link();
        lines.push(format!(
            "  no node has reached the API: does a firewall on this machine drop what comes in by {link}?"
        ));
    }
    for process in &snapshot.processes {
        if process.pid.is_none() || process.restarts > 0 {
            let end = process.last_end.as_deref().unwrap_or("never started");
            lines.push(format!(
                "  {}: {end}, restarted {} times",
                process.role, process.restarts
            ));
            lines.push(format!("    {}", tail(layout, &process.role)));
        }
    }
    lines.join("\n")
}

/// The end of a log, indented under the line that names it.
fn tail(layout: &Layout, role: &str) -> String {
    let path = layout.log(role);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(TAIL).collect();
    if lines.is_empty() {
        return format!("{} is empty", path.display());
    }
    let quoted: Vec<String> = lines
        .iter()
        .rev()
        .map(|line| format!("\n      {line}"))
        .collect();
    format!("{} ends with:{}", path.display(), quoted.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ClusterName;
    use crate::supervisor::snapshot::{NodeState, ProcessState};

    #[test]
    fn what_is_missing_is_named_with_the_last_words_of_what_failed() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(ClusterName::default(), dir.path().to_owned());
        fs::create_dir(layout.logs()).unwrap();
        fs::write(layout.log("controllers"), "one\ntwo\n").unwrap();
        let snapshot = Snapshot {
            api: true,
            processes: vec![
                ProcessState {
                    role: "apiserver".into(),
                    pid: Some(1),
                    ..ProcessState::default()
                },
                ProcessState {
                    role: "controllers".into(),
                    restarts: 7,
                    last_end: Some("exit code 1".into()),
                    ..ProcessState::default()
                },
            ],
            nodes: vec![NodeState {
                name: "node-1".into(),
                reason: Some("no pod subnet yet".into()),
                ..NodeState::default()
            }],
            ..Snapshot::default()
        };
        let text = explain(&layout, &snapshot, Duration::from_secs(60));
        for words in [
            "not ready after 60 s",
            "node-1: no pod subnet yet",
            "controllers: exit code 1, restarted 7 times",
            "ends with:\n      one\n      two",
        ] {
            assert!(text.contains(words), "{text}");
        }
        assert!(!text.contains("apiserver"), "{text}");
    }
}
