//! What there is already, and so what `up` has to do.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::down;
use crate::layout::Layout;
use crate::lock::Lock;
use crate::observe::observe;
use crate::plan::{Asked, Difference, Plan, recheck, resolve};
use crate::process::Identity;
use crate::record::{Record, UNFINISHED};
use crate::supervisor::role::SUPERVISOR;

/// How long an `up` or `down` of the same cluster may still take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What there was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing at all.
    Nothing,
    /// State on disk, and nothing that runs.
    Kept,
    /// Processes, with or without their supervisor.
    Running,
}

/// A cluster that this `up` may work on, since it holds its lock.
#[derive(Debug)]
pub struct Claim {
    /// Where its files are.
    pub layout: Layout,
    /// What it is, or is to be.
    pub plan: Plan,
    /// What there was before.
    pub before: Before,
    /// Until the plan is recorded, ranges must not be promised to two clusters.
    choosing: Option<Lock>,
    _lock: Lock,
}

impl Claim {
    /// Takes the cluster's lock and decides on a plan.
    ///
    /// # Errors
    /// When the flags contradict the cluster that exists, or this machine.
    pub async fn take(asked: &Asked, state_dir: Option<&Path>) -> anyhow::Result<Self> {
        let layout = Layout::find(&asked.name, state_dir)?;
        let lock = Lock::acquire(&layout.run.join("lock"), PATIENCE)?;
        match decide(asked, &layout).await {
            Ok((plan, before, choosing)) => Ok(Self {
                layout,
                plan,
                before,
                choosing: Some(choosing),
                _lock: lock,
            }),
            Err(error) => {
                forget(&layout, lock);
                Err(error)
            }
        }
    }

    /// Writes the plan down, before anything of it is made.
    ///
    /// # Errors
    /// When a file or directory cannot be made.
    pub fn record(&mut self) -> anyhow::Result<()> {
        let written = write(&self.layout, &self.plan);
        self.choosing = None;
        written
    }
}

async fn decide(asked: &Asked, layout: &Layout) -> anyhow::Result<(Plan, Before, Lock)> {
    check_state_link(layout)?;
    let record = Record::read(&layout.cluster_file())?;
    let choosing = Lock::acquire(&layout.machine_lock(), PATIENCE)?;
    let (plan, before) = match record {
        Some(record) => existing(asked, record.plan, layout).await?,
        None => (new(asked, layout).await?, Before::Nothing),
    };
    Ok((plan, before, choosing))
}

/// A cluster that does not exist yet.
async fn new(asked: &Asked, layout: &Layout) -> anyhow::Result<Plan> {
    check_state_dir(&layout.state)?;
    if down::has_kernel_objects(layout).await {
        // Its state was removed by hand; what is left of it would be in the way.
        tracing::info!(
            "removing what is left of an earlier cluster {}",
            layout.name
        );
        down::remove_kernel_objects(layout).await?;
    }
    Ok(resolve(asked, &observe(&asked.name).await?)?)
}

/// A cluster that is on disk, and may be running.
async fn existing(asked: &Asked, plan: Plan, layout: &Layout) -> anyhow::Result<(Plan, Before)> {
    let runs = is_running(layout);
    let differences = asked.differences(&plan);
    let (may_change, fixed): (Vec<_>, Vec<_>) = differences
        .into_iter()
        .partition(|difference| !runs && can_change(difference, &plan));
    if !fixed.is_empty() {
        bail!("{}", contradiction(layout, &fixed, runs));
    }
    if runs {
        return Ok((plan, Before::Running));
    }
    let mut plan = plan;
    for difference in may_change {
        match difference.flag {
            "--nodes" => plan.nodes = asked.nodes.unwrap_or(plan.nodes),
            "--image-alias" => plan.image_aliases.clone_from(&asked.image_aliases),
            "--node-cpu" => plan.node_cpu.clone_from(&asked.node_cpu),
            "--node-memory" => plan.node_memory.clone_from(&asked.node_memory),
            _ => plan.internet = false,
        }
    }
    Ok((recheck(&plan, &observe(&asked.name).await?)?, Before::Kept))
}

/// Flags that a cluster on disk takes at its next start.
const NEEDS_RESTART: [&str; 3] = ["--image-alias", "--node-cpu", "--node-memory"];

/// More nodes, the way out, other sizes of nodes and rules for images fit what is stored; other ranges would not, and
/// fewer nodes would leave Nodes in the store that never become ready.
fn can_change(difference: &Difference, plan: &Plan) -> bool {
    match difference.flag {
        "--nodes" => difference
            .asked
            .parse()
            .is_ok_and(|asked: u32| asked > plan.nodes),
        flag => flag == "--no-internet" || NEEDS_RESTART.contains(&flag),
    }
}

fn contradiction(layout: &Layout, differences: &[Difference], runs: bool) -> String {
    let state = if runs { "is up" } else { "is kept on disk" };
    let lines: Vec<String> = differences
        .iter()
        .map(|difference| format!("  {difference}"))
        .collect();
    // What a cluster on disk can be given, a running one can after a stop.
    let stoppable = runs
        && differences
            .iter()
            .all(|difference| NEEDS_RESTART.contains(&difference.flag));
    let change = match stoppable {
        true => format!(
            "stop it first (`sealane down --keep-state --name {}`)",
            layout.name
        ),
        false => format!("remove it first (`sealane down --name {}`)", layout.name),
    };
    format!(
        "cluster {name} {state}, and is not what was asked for:\n{lines}\n\
         leave these flags out to use it as it is, {change}, \
         or choose another --name",
        name = layout.name,
        lines = lines.join("\n"),
    )
}

fn is_running(layout: &Layout) -> bool {
    let entries = fs::read_dir(layout.pids()).into_iter().flatten().flatten();
    let mut identities = entries.filter_map(|entry| Identity::read(&entry.path()));
    identities.any(|identity| identity.is_alive())
}

/// Refuses a cluster whose state is somewhere else than these flags say.
fn check_state_link(layout: &Layout) -> anyhow::Result<()> {
    let Ok(state) = fs::read_link(layout.state_link()) else {
        return Ok(());
    };
    ensure!(
        state == layout.state || !state.join("cluster.json").exists(),
        "--state-dir {}: cluster {name} has its state in {}; leave --state-dir out, \
         remove that cluster (`sealane down --name {name}`), or choose another --name",
        layout.state.display(),
        state.display(),
        name = layout.name,
    );
    Ok(())
}

/// Refuses a directory with somebody else's files: `down` removes what is in it.
fn check_state_dir(state: &Path) -> anyhow::Result<()> {
    match fs::read_dir(state) {
        Ok(entries) => {
            let names = entries.flatten().map(|entry| entry.file_name());
            // A record that was being written when its writer was killed.
            let mut foreign = names.filter(|name| name != UNFINISHED);
            if let Some(name) = foreign.next() {
                bail!(
                    "--state-dir {}: has files that are no cluster's, such as {}; give an empty directory or a new one",
                    state.display(),
                    name.to_string_lossy()
                );
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("--state-dir {}", state.display())),
    }
}

fn write(layout: &Layout, plan: &Plan) -> anyhow::Result<()> {
    // Others may pass through, to reach what is theirs by a name they know.
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(&layout.state)
        .and_then(|()| fs::set_permissions(&layout.state, Permissions::from_mode(0o711)))
        .with_context(|| format!("make directory {}", layout.state.display()))?;
    // By the link `down` finds the directory, also when nothing follows.
    let link = layout.state_link();
    if fs::read_link(&link).ok().as_deref() != Some(&layout.state) {
        let new: PathBuf = link.with_extension("new");
        _ = fs::remove_file(&new);
        symlink(&layout.state, &new)
            .and_then(|()| fs::rename(&new, &link))
            .with_context(|| format!("make link {}", link.display()))?;
    }
    Record::new(plan.clone()).write(&layout.cluster_file())?;
    for directory in [layout.logs(), layout.pids()] {
        fs::create_dir_all(&directory)
            .with_context(|| format!("make directory {}", directory.display()))?;
    }
    Ok(())
}

/// After a refusal nothing is left, not even the lock, unless there was
/// something before.
fn forget(layout: &Layout, lock: Lock) {
    let lone = fs::read_dir(&layout.run).is_ok_and(|entries| entries.count() == 1);
    if lone {
        _ = lock.remove();
        down::remove_shared(layout);
    }
}

/// The supervisor's identity, while it runs.
pub fn supervisor(layout: &Layout) -> Option<Identity> {
    Identity::read(&layout.pid_file(SUPERVISOR)).filter(Identity::is_alive)
}
