//! The supervisor: starts a cluster's processes, keeps them running, and tells.
//!
//! ```text
//!   keeper (one for each process) ──Event::Process──┐
//!                                                   ├─► run ──watch<Snapshot>──► socket, a task a reader
//!   nodes::follow ──────────────────Event::Nodes────┘
//!        Event: mpsc, 64; a keeper waits when it is full, and nothing is lost
//! ```
//!
//! Processes are started all at once: each of them copes with peers that are
//! not there yet, since it must cope with their restart anyway. They outlive
//! the supervisor; the next one adopts them by their pid files. Only SIGTERM
//! ends them: clients of the API first, then the API server, so that what the
//! former have to say at the end is heard.

mod cluster_dns;
mod keeper;
mod listeners;
mod logs;
mod nodes;
mod resolv;
pub mod role;
mod running;
pub mod snapshot;
mod socket;
pub mod spawn;

pub use resolv::upstreams;

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::cgroup;
use crate::layout::Layout;
use crate::plan::{ClusterName, Plan};
use crate::process::Identity;
use crate::record::Record;
use keeper::Keeper;
use nodes::Doubt;
use role::{Role, SUPERVISOR, directories, roles};
use snapshot::{NodeState, ProcessState, Snapshot};

/// Descriptors that a process may have; enough for an API server with a watch
/// from each of a few hundred clients, and for what pods inherit.
const OPEN_FILES: u64 = 65_536;
/// What all clusters weigh beside another service of this machine, in percent. The kubelet gives its pods a service's
/// weight for each processor; this machine may be somebody's desk.
const CLUSTERS_WEIGH: u64 = 200;
/// What the roles weigh beside the pods of one node, in percent.
const ROLES_WEIGH: u64 = 1000;
/// How often logs are looked at.
const LOGS: Duration = Duration::from_secs(30);

/// Flags of `sealane supervise`, which `sealane up` starts.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Cluster to supervise.
    #[arg(long)]
    pub name: ClusterName,
    /// Directory of its state.
    #[arg(long, value_name = "DIR")]
    pub state_dir: PathBuf,
    /// Descriptor of the listening socket for status, inherited; without it the socket is made.
    #[arg(long, value_name = "N")]
    pub socket: Option<RawFd>,
}

/// Something that a part of the supervisor has to tell.
#[derive(Debug)]
pub enum Event {
    /// The process of this number has changed.
    Process(usize, ProcessState),
    /// The nodes have changed; the API answers.
    Nodes(Vec<NodeState>),
}

/// Runs the supervisor until `shutdown`, then stops the cluster's processes.
///
/// # Errors
/// When the cluster's record cannot be read or its files cannot be made.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<()> {
    let layout = Layout::new(options.name, options.state_dir);
    let record = Record::read(&layout.cluster_file())?;
    let plan = record
        .with_context(|| format!("no cluster in {}", layout.state.display()))?
        .plan;
    prepare(&layout, &plan)?;
    let listener = listener(&layout, options.socket)?;
    let me = i32::try_from(std::process::id())
        .ok()
        .and_then(Identity::of);
    let me = me.context("read this process' own identity")?;
    me.write(&layout.pid_file(SUPERVISOR))?;

    let roles = roles(&layout, &plan, &resolv::upstreams());
    let (telling, told) = watch::channel(first_snapshot(&plan, &roles, me));
    let (events, mut news) = mpsc::channel(64);
    let serving = tokio::spawn(socket::serve(listener, told));
    let doubt = start_afresh(&layout, &plan);
    let following = nodes::follow(layout.clone(), plan.clone(), doubt, events.clone());
    let following = tokio::spawn(async move {
        if let Err(error) = following.await {
            tracing::error!("follow the nodes: {error:#}");
        }
    });
    let dns = (layout.clone(), plan.clone());
    let naming = tokio::spawn(async move {
        if let Err(error) = cluster_dns::ensure(&dns.0, &dns.1).await {
            tracing::error!("announce the cluster's DNS: {error:#}");
        }
    });
    let mut crew = Crew::start(&layout, &plan, roles, &events);
    let mut look_at_logs = interval(LOGS);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(event) = news.recv() => take(&telling, event),
            _ = look_at_logs.tick() => logs::bound(&layout.logs()),
        }
    }
    following.abort();
    naming.abort();
    drop(news);
    crew.stop().await;
    serving.abort();
    for path in [layout.supervisor_socket(), layout.pid_file(SUPERVISOR)] {
        _ = fs::remove_file(path);
    }
    Ok(())
}

/// What an earlier run has left of a node says nothing of one that is only
/// about to start: neither that its network is ready, nor that it is.
fn start_afresh(layout: &Layout, plan: &Plan) -> Doubt {
    let runs = |role: &str| {
        Identity::read(&layout.pid_file(role)).is_some_and(|identity| identity.is_alive())
    };
    let names = plan.node_plans().into_iter().map(|node| node.name);
    Doubt::about(names.filter(|name| {
        if !runs(&format!("agent-{name}")) {
            _ = fs::remove_dir_all(layout.node_state(name).join("cni/net.d"));
        }
        !runs(name)
    }))
}

fn first_snapshot(plan: &Plan, roles: &[Role], me: Identity) -> Snapshot {
    let process = |role: &Role| ProcessState {
        role: role.name.clone(),
        ..ProcessState::default()
    };
    let node = |name| NodeState {
        name,
        reason: Some("the API does not answer yet".to_owned()),
        ..NodeState::default()
    };
    Snapshot {
        pid: me.pid,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: false,
        processes: roles.iter().map(process).collect(),
        nodes: plan
            .node_plans()
            .into_iter()
            .map(|plan| node(plan.name))
            .collect(),
    }
}

fn take(telling: &watch::Sender<Snapshot>, event: Event) {
    telling.send_modify(|snapshot| match event {
        Event::Process(index, state) => {
            if let Some(place) = snapshot.processes.get_mut(index) {
                *place = state;
            }
        }
        Event::Nodes(nodes) => {
            snapshot.nodes = nodes;
            snapshot.api = true;
        }
    });
}

/// The keepers of all processes.
struct Crew {
    clients: (JoinSet<()>, CancellationToken),
    server: (JoinSet<()>, CancellationToken),
}

impl Crew {
    fn start(layout: &Layout, plan: &Plan, roles: Vec<Role>, events: &mpsc::Sender<Event>) -> Self {
        let mut crew = Self {
            clients: (JoinSet::new(), CancellationToken::new()),
            server: (JoinSet::new(), CancellationToken::new()),
        };
        for (index, role) in roles.into_iter().enumerate() {
            let (tasks, stop) = if role.serves_api {
                &mut crew.server
            } else {
                &mut crew.clients
            };
            let keeper = Keeper::new(layout.clone(), plan.clone(), role, index, events.clone());
            tasks.spawn(keeper.run(stop.clone()));
        }
        crew
    }

    async fn stop(&mut self) {
        for (tasks, stop) in [&mut self.clients, &mut self.server] {
            stop.cancel();
            while tasks.join_next().await.is_some() {}
        }
    }
}

/// What every process needs: a control group, descriptors, directories.
fn prepare(layout: &Layout, plan: &Plan) -> anyhow::Result<()> {
    let system = format!("{}/system", layout.name.cgroup());
    if cgroup::enter(&system) == 0 {
        tracing::warn!(
            "no control group could be entered: `down` goes by pid files and sockets alone"
        );
    }
    for (group, percent) in [
        (cgroup::CLUSTERS, CLUSTERS_WEIGH),
        (system.as_str(), ROLES_WEIGH),
    ] {
        cgroup::weigh(group, percent);
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(OPEN_FILES), hard)?;
    for (path, owner) in directories(layout, plan) {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&path);
        made.and_then(|()| match owner.uid() {
            Some(uid) => {
                chown(&path, Some(uid), Some(uid))?;
                fs::set_permissions(&path, Permissions::from_mode(0o700))
            }
            None => Ok(()),
        })
        .with_context(|| format!("make directory {}", path.display()))?;
    }
    Ok(())
}

fn listener(layout: &Layout, inherited: Option<RawFd>) -> anyhow::Result<UnixListener> {
    let listener = match inherited {
        // SAFETY: `up` has passed this descriptor for this purpose alone, and
        // nothing in this process has opened or taken it before.
        Some(fd) => unsafe { StdUnixListener::from_raw_fd(fd) },
        None => bind(&layout.supervisor_socket())?,
    };
    // Not for the roles: one that outlived us would keep clients waiting here.
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    listener.set_nonblocking(true)?;
    Ok(UnixListener::from_std(listener)?)
}

/// Binds the supervisor's socket, in place of one that a former one has left.
///
/// # Errors
/// When the socket cannot be made.
pub fn bind(path: &Path) -> io::Result<StdUnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = StdUnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}
