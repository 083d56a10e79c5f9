//! Every process of a cluster, found in every way there is, and ended.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sealane_netlink::netns;

use crate::cgroup;
use crate::layout::Layout;
use crate::process::{Identity, PidFd, called_with, descendants, holders_of_sockets, in_netns};
use crate::supervisor::role::SUPERVISOR;
use crate::topology;

/// How long a supervisor may take to stop everything when it is asked to.
const GENTLE: Duration = Duration::from_secs(10);
/// How long a process may take to end once it is killed.
const KILLED: Duration = Duration::from_secs(10);

/// Ends every process of the cluster; `gently` gives the roles a chance to
/// leave a tidy store. Returns how many there were.
pub fn end_all(layout: &Layout, gently: bool, left: &mut Vec<String>) -> usize {
    let group = layout.name.cgroup();
    let grouped = cgroup::processes(&group);
    end_supervisor(layout, gently);
    end_newborn(layout);
    // Found before anything is killed: afterwards nobody is anybody's child.
    let strays = strays(layout, &grouped);
    for pid in cgroup::kill_all(&group, KILLED) {
        left.push(format!("kill process {pid}: it does not end"));
    }
    let deadline = Instant::now() + KILLED;
    for identity in &strays {
        let patience = deadline.saturating_duration_since(Instant::now());
        if let Err(error) = kill(*identity, Signal::SIGKILL, patience) {
            left.push(error);
        }
    }
    grouped.len() + strays.len()
}

/// The supervisor first, or it would start again what is ended.
fn end_supervisor(layout: &Layout, gently: bool) {
    let Some(identity) = Identity::read(&layout.pid_file(SUPERVISOR)) else {
        return;
    };
    if gently && kill(identity, Signal::SIGTERM, GENTLE).is_ok() {
        return;
    }
    if let Err(error) = kill(identity, Signal::SIGKILL, KILLED) {
        tracing::warn!("{error}");
    }
}

/// A supervisor whose `up` was killed right after starting it: it is in no control
/// group yet and has no pid file. We hold the lock, which its fork shared until it
/// became this program, so by now its command line tells who it is.
fn end_newborn(layout: &Layout) {
    for pid in called_with(&["supervise", "--name", layout.name.as_str()]) {
        let Some(identity) = Identity::of(pid) else {
            continue;
        };
        if let Err(error) = kill(identity, Signal::SIGKILL, KILLED) {
            tracing::warn!("{error}");
        }
    }
}

/// Processes that are in no control group of ours: where this machine has none,
/// or somebody has moved them.
fn strays(layout: &Layout, grouped: &BTreeSet<i32>) -> Vec<Identity> {
    let mut pids: BTreeSet<i32> = files(layout.pids())
        .filter_map(|path| Identity::read(&path))
        .filter(Identity::is_alive)
        .map(|identity| identity.pid)
        .collect();
    for node in files(layout.run.clone()) {
        pids.extend(holders_of_sockets(&node.join("pods")));
    }
    for name in topology::namespaces(&layout.name) {
        pids.extend(in_netns(&netns::path_of(&name)));
    }
    pids.extend(descendants(&pids));
    let me = i32::try_from(std::process::id()).unwrap_or_default();
    let strays = pids.difference(grouped).filter(|pid| **pid != me);
    strays.filter_map(|pid| Identity::of(*pid)).collect()
}

fn files(directory: PathBuf) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

fn kill(identity: Identity, signal: Signal, patience: Duration) -> Result<(), String> {
    let failed = |why: String| format!("end process {} with {signal}: {why}", identity.pid);
    match PidFd::open(identity) {
        Ok(Some(process)) => {
            process
                .signal(signal)
                .map_err(|error| failed(error.to_string()))?;
            if process.wait(patience) {
                Ok(())
            } else {
                Err(failed("it does not end".to_owned()))
            }
        }
        Ok(None) => Ok(()),
        Err(error) => Err(failed(error.to_string())),
    }
}
