//! `sealane down`: nothing is left.
//!
//! Nothing is asked, everything is looked for: `down` works on half a cluster,
//! on one whose supervisor is dead, and on one whose files are gone. It goes by
//! what the kernel has under the cluster's names, and goes on after a failure,
//! so that one thing that stays does not keep the others.
//!
//! ```text
//!   supervisor ──► all processes ──► links, rules, namespaces ──► mounts ──► groups ──► RUN, STATE
//!   so that none   so that none                                   so that no removal
//!   is restarted   holds the rest                                 goes through one
//! ```
//!
//! Pods are not asked to stop one by one: they end with the machine that they
//! run on, and a hundred of them take no longer than one.

mod files;
mod processes;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cgroup;
use crate::layout::Layout;
use crate::lock::Lock;
use crate::mounts;
use crate::plan::ClusterName;
use crate::root;
use crate::topology;

pub use files::remove_shared;

/// How long an `up` of the same cluster may still take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long emptied control groups may take to become free.
const GROUPS: Duration = Duration::from_secs(10);

/// Flags of `sealane down`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which cluster.
    #[arg(long, default_value_t, value_name = "NAME")]
    pub name: ClusterName,

    /// Keep what is on disk, so that `sealane up` brings the same cluster back.
    #[arg(long)]
    pub keep_state: bool,

    /// Directory of the cluster's state, where it is neither running nor in the default place.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// What `down` did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The cluster.
    pub name: ClusterName,
    /// Whether there was anything to do.
    pub found: bool,
    /// Whether its state is still on disk, and where.
    pub kept_state: Option<PathBuf>,
    /// How many processes were ended.
    pub processes: usize,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

/// What could not be removed.
#[derive(Debug)]
pub struct Leftovers(pub Vec<String>);

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remove all of the cluster: some of it stayed:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for Leftovers {}

/// Removes a cluster.
///
/// # Errors
/// [`Leftovers`] when something stayed; the rest is gone nevertheless.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    root::require("down")?;
    let layout = Layout::find(&options.name, options.state_dir.as_deref())?;
    let started = Instant::now();
    let state = files::has_state(&layout) && !options.keep_state;
    if !state && !files::has_run(&layout) && !has_kernel_objects(&layout).await {
        return Ok(Report {
            name: options.name.clone(),
            found: false,
            kept_state: None,
            processes: 0,
            ms: milliseconds(started),
        });
    }
    let lock = Lock::acquire(&layout.run.join("lock"), PATIENCE)?;
    let removed = remove(&layout, options.keep_state).await;
    drop(lock);
    Ok(Report {
        name: options.name.clone(),
        found: true,
        kept_state: (options.keep_state && files::has_state(&layout)).then(|| layout.state.clone()),
        processes: removed?,
        ms: milliseconds(started),
    })
}

fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

/// Whether the kernel has anything of the cluster's names.
pub async fn has_kernel_objects(layout: &Layout) -> bool {
    cgroup::exists(&layout.name.cgroup()) || topology::exists(layout).await
}

/// Removes everything, and the state too unless it is to be kept. The caller
/// holds the lock. Returns how many processes were ended.
///
/// # Errors
/// What stayed.
pub async fn remove(layout: &Layout, keep_state: bool) -> Result<usize, Leftovers> {
    let started = Instant::now();
    let mut left = Vec::new();
    let ended = remove_running(layout, keep_state, &mut left).await;
    let mut mounted = false;
    for root in [&layout.state, &layout.run] {
        if let Err(error) = mounts::detach_below(root) {
            mounted = true;
            left.push(error.to_string());
        }
    }
    tracing::debug!("mounts: removed after {:.1} ms", milliseconds(started));
    // A removal would go on into what is mounted there.
    if !mounted && !keep_state {
        left.extend(
            files::remove_state(layout)
                .err()
                .map(|error| error.to_string()),
        );
    }
    if !mounted {
        left.extend(
            files::remove_run(layout)
                .err()
                .map(|error| error.to_string()),
        );
    }
    tracing::debug!("files: removed after {:.1} ms", milliseconds(started));
    if left.is_empty() {
        Ok(ended)
    } else {
        Err(Leftovers(left))
    }
}

/// Removes processes, network and control groups, and touches no file.
///
/// # Errors
/// What stayed.
pub async fn remove_kernel_objects(layout: &Layout) -> Result<(), Leftovers> {
    let mut left = Vec::new();
    remove_running(layout, false, &mut left).await;
    if left.is_empty() {
        Ok(())
    } else {
        Err(Leftovers(left))
    }
}

async fn remove_running(layout: &Layout, gently: bool, left: &mut Vec<String>) -> usize {
    let started = Instant::now();
    let ended = processes::end_all(layout, gently, left);
    tracing::debug!(
        "processes: {ended} ended after {:.1} ms",
        milliseconds(started)
    );
    left.extend(
        topology::remove(layout)
            .await
            .iter()
            .map(ToString::to_string),
    );
    tracing::debug!("network: removed after {:.1} ms", milliseconds(started));
    left.extend(
        cgroup::remove(&layout.name.cgroup(), GROUPS)
            .err()
            .map(|error| error.to_string()),
    );
    tracing::debug!(
        "control groups: removed after {:.1} ms",
        milliseconds(started)
    );
    ended
}
