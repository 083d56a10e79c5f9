//! How the cluster's processes are.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

use crate::layout::Layout;
use crate::process::Identity;
use crate::supervisor::role::SUPERVISOR;
use crate::supervisor::snapshot::Snapshot;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessStatus {
    /// Name of its log.
    pub role: String,
    /// Its process id, while it runs.
    pub pid: Option<i32>,
    /// How long it has been running.
    pub uptime_seconds: Option<u64>,
    /// How often its supervisor has started it again.
    pub restarts: u32,
    /// How it ended, the last time.
    pub last_end: Option<String>,
    /// Its resident memory.
    pub rss_kib: Option<u64>,
}

/// The supervisor and its processes; from their pid files when nobody tells.
pub fn look(layout: &Layout, snapshot: Option<&Snapshot>) -> Vec<ProcessStatus> {
    let Some(snapshot) = snapshot else {
        return from_pid_files(layout);
    };
    let supervisor = process(SUPERVISOR, Identity::of(snapshot.pid), 0, None);
    let others = snapshot.processes.iter().map(|state| {
        process(
            &state.role,
            state.pid.and_then(Identity::of),
            state.restarts,
            state.last_end.clone(),
        )
    });
    std::iter::once(supervisor).chain(others).collect()
}

fn from_pid_files(layout: &Layout) -> Vec<ProcessStatus> {
    let entries = fs::read_dir(layout.pids()).into_iter().flatten().flatten();
    let mut found: Vec<ProcessStatus> = entries
        .filter_map(|entry| {
            let identity = Identity::read(&entry.path()).filter(Identity::is_alive)?;
            Some(process(
                entry.path().file_stem()?.to_str()?,
                Some(identity),
                0,
                None,
            ))
        })
        .collect();
    found.sort_by(|a, b| a.role.cmp(&b.role));
    found
}

fn process(
    role: &str,
    identity: Option<Identity>,
    restarts: u32,
    last_end: Option<String>,
) -> ProcessStatus {
    ProcessStatus {
        role: role.to_owned(),
        pid: identity.map(|identity| identity.pid),
        uptime_seconds: identity.and_then(uptime),
        restarts,
        last_end,
        rss_kib: identity.and_then(rss_kib),
    }
}

fn uptime(identity: Identity) -> Option<u64> {
    let ticks = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    let since_boot = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = since_boot.split(' ').next()?.parse().ok()?;
    Some((seconds as u64).saturating_sub(identity.start_time / ticks))
}

fn rss_kib(identity: Identity) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", identity.pid)).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_young_and_has_some_memory() {
        let me = Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let status = process("test", Some(me), 0, None);
        assert!(status.uptime_seconds.unwrap() < 3600, "{status:?}");
        assert!(status.rss_kib.unwrap() > 100, "{status:?}");
    }
}
