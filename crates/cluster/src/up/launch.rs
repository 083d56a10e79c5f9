//! Starting the supervisor, or finding the one that runs.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::errno::Errno;
use nix::unistd::setsid;
use tokio::time::timeout;

use super::claim;
use crate::attach::Listening;
use crate::layout::Layout;
use crate::process::{Identity, PidFd};
use crate::supervisor::role::SUPERVISOR;
use crate::supervisor::{bind, spawn::open_log};

/// How long a supervisor that is there may take to say a word, or to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What of this environment the cluster's processes inherit. The rest belongs to
/// whoever typed the command.
const INHERITED: [&str; 4] = ["PATH", "SEALANE_LOG", "RUST_BACKTRACE", "TZ"];

/// Connects to the cluster's supervisor, started before if none runs.
///
/// # Errors
/// When it cannot be started or reached.
pub async fn supervisor(layout: &Layout) -> anyhow::Result<Listening> {
    let socket = layout.supervisor_socket();
    if let Some(identity) = claim::supervisor(layout) {
        if let Some(listening) = greeted(&socket).await {
            return Ok(listening);
        }
        // It was killed a moment ago.
        ensure!(
            ended(identity).await,
            "connect to the running supervisor at {}: process {} does not answer and does not end",
            socket.display(),
            identity.pid
        );
    }
    start(layout)?;
    // The socket listens since before the supervisor runs: no need to wait for it.
    Listening::to(&socket)
        .await
        .with_context(|| format!("connect to {}", socket.display()))
}

/// A connection to a supervisor that answers.
async fn greeted(socket: &Path) -> Option<Listening> {
    let greeted = async { Listening::to(socket).await.ok()?.greeted().await };
    timeout(PATIENCE, greeted).await.ok().flatten()
}

/// Waits for a process to end; whether it did.
async fn ended(identity: Identity) -> bool {
    let wait = move || match PidFd::open(identity) {
        Ok(Some(process)) => process.wait(PATIENCE),
        Ok(None) => true,
        Err(_) => !identity.is_alive(),
    };
    tokio::task::spawn_blocking(wait).await.unwrap_or(false)
}

/// Starts the supervisor in a session of its own, with the socket already bound.
fn start(layout: &Layout) -> anyhow::Result<()> {
    let socket = layout.supervisor_socket();
    let listener = bind(&socket).with_context(|| format!("listen on {}", socket.display()))?;
    let descriptor = listener.as_raw_fd();
    let path = layout.log(SUPERVISOR);
    let log: File = open_log(&path).with_context(|| format!("open log {}", path.display()))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("sealane")
        .args(["supervise", "--name", layout.name.as_str(), "--state-dir"])
        .arg(&layout.state)
        .args(["--socket", &descriptor.to_string()])
        .current_dir("/")
        .env_clear()
        .envs(
            INHERITED
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let detach = move || {
        setsid()?;
        // SAFETY: these set and clear a flag of descriptors; no memory is involved.
        unsafe {
            // Whatever the caller of `up` has open, such as a pipe that somebody
            // reads to its end, must not stay open for as long as the cluster
            // runs. Older kernels (before 5.11) cannot; then it does stay open.
            libc::syscall(
                libc::SYS_close_range,
                3,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            );
            Errno::result(libc::fcntl(descriptor, libc::F_SETFD, 0))?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls, no allocation and no lock.
    unsafe { command.pre_exec(detach) };
    command.spawn().context("start the supervisor")?;
    Ok(())
}
