//! What may be left when a shim has been killed: no process, no mount and no
//! namespace (the kernel sees to that), but names on disk: its socket, its
//! cgroups, and the mount points in the pod's directory.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Pid;

use crate::cgroup::{self, Cgroup};
use crate::error::{Error, Result};
use crate::shim::Places;
use crate::spec::SandboxSpec;
use crate::sys;

/// How long killed processes may take to go away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removes everything of a pod, whether its shim is alive, dying or dead: the
/// shim, processes in its cgroup, the cgroup, socket, and its directory with
/// logs and exit records. Blocking, but short. "Already absent" is success.
///
/// # Errors
/// [`Error::Cleanup`] after everything was tried.
pub fn cleanup(spec: &SandboxSpec) -> Result<()> {
    let mut troubles = remove_live_parts(spec);
    note(&mut troubles, absent_is_fine(fs::remove_dir_all(&spec.dir)));
    outcome(spec, &troubles)
}

/// As [`cleanup`], but keeps the directory, for the pod's next sandbox.
///
/// # Errors
/// [`Error::Cleanup`] after everything was tried.
pub fn reset(spec: &SandboxSpec) -> Result<()> {
    outcome(spec, &remove_live_parts(spec))
}

/// [`reset`] from a task.
pub(super) async fn reset_async(spec: SandboxSpec) -> Result<()> {
    let pod = spec.pod();
    let done = tokio::task::spawn_blocking(move || reset(&spec)).await;
    done.unwrap_or_else(|error| {
        Err(Error::Cleanup {
            pod,
            reason: error.to_string(),
        })
    })
}

fn outcome(spec: &SandboxSpec, troubles: &[String]) -> Result<()> {
    if troubles.is_empty() {
        return Ok(());
    }
    Err(Error::Cleanup {
        pod: spec.pod(),
        reason: troubles.join("; "),
    })
}

fn remove_live_parts(spec: &SandboxSpec) -> Vec<String> {
    let mut troubles = Vec::new();
    note(&mut troubles, kill_shim(&spec.socket));
    note(&mut troubles, remove_cgroup(spec));
    note(&mut troubles, absent_is_fine(fs::remove_file(&spec.socket)));
    for dir in Places::of(&spec.dir).all() {
        note(&mut troubles, absent_is_fine(fs::remove_dir(dir)));
    }
    troubles
}

fn note(troubles: &mut Vec<String>, result: io::Result<()>) {
    if let Err(error) = result {
        troubles.push(error.to_string());
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Kills whoever listens on the socket, and waits for its end.
fn kill_shim(socket: &Path) -> io::Result<()> {
    let Ok(stream) = UnixStream::connect(socket) else {
        return Ok(());
    };
    let peer = getsockopt(&stream, PeerCredentials)?;
    let process = sys::pidfd_open(peer.pid().unsigned_abs())?;
    match kill(Pid::from_raw(peer.pid()), Signal::SIGKILL) {
        Err(nix::errno::Errno::ESRCH) => return Ok(()),
        other => other?,
    }
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    poll(
        &mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)],
        patience,
    )?;
    Ok(())
}

fn remove_cgroup(spec: &SandboxSpec) -> io::Result<()> {
    let hierarchies = cgroup::mounted()?;
    let cgroup = Cgroup::new(&hierarchies, spec.cgroup.clone());
    cgroup.kill_all(PATIENCE)?;
    cgroup.remove()
}
