//! The agent's parts put together, over any source of API objects.

use std::{
    fs::File,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use futures::{StreamExt, stream::BoxStream};
use nix::fcntl::{Flock, FlockArg};
use sealane_cni::spool::Spool;
use sealane_introspect::{Introspect, Readiness};
use sealane_ipam::named::Labels;
use sealane_kube::Change;
use sealane_net::IpNet;
use sealane_netlink::{Conntrack, Ears, Edit, Event, Netlink};
use sealane_objects::{NodeNet, PodNet, PoolNet};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;

use crate::{
    ProxyMode, Settings,
    cloud::keep,
    core::{Announce, Cloud, Core, Ledger, Message, Parts, QUEUE, View, follow},
    install,
    leases::file::{self, Writer},
    probe::{self, probe_addresses},
    services, socket,
    wire::Wirer,
};

/// How often the installed files are looked after, and failed installations repeated.
const INSTALL_AGAIN: Duration = Duration::from_secs(30);
/// How long to wait before the health port is tried again.
const HEALTH_AGAIN: Duration = Duration::from_secs(5);

/// What the API tells; see [`sealane_kube::watch`] for what may be assumed of the order.
pub enum Feed {
    /// All Nodes of the cluster.
    Nodes(Change<NodeNet>),
    /// The Pods of this node.
    Pods(Change<PodNet>),
    /// All named pools of addresses.
    Pools(Change<PoolNet>),
    /// The ranges of Services, once there is a pool.
    ServiceRanges(Change<Vec<IpNet>>),
    /// The labels of all namespaces, once a pool selects by them.
    Namespaces(Change<Labels>),
}

/// What the agent works on; the program starts it on its own, tests on others.
pub struct Surroundings {
    /// The node's network namespace.
    pub kernel: Netlink,
    /// The program that is installed as plugin.
    pub program: PathBuf,
    /// Objects of the API.
    pub feed: mpsc::Receiver<Feed>,
    /// Objects of the API that concern Services.
    pub services: services::Queue,
    /// Where state and health are shown.
    pub introspect: Introspect,
    /// How people are told.
    pub announce: Announce,
    /// How blocks of named pools are taken.
    pub ledger: Ledger,
    /// With which the links' neighbours are asked for pods' addresses; without, nobody asks.
    pub ears: Option<Ears>,
}

/// Runs the node's network until `shutdown`. Everything in the kernel stays as it is then.
///
/// # Errors
/// When another agent uses the state folder, or a folder or socket cannot be made.
pub async fn serve(
    settings: Settings,
    surroundings: Surroundings,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Surroundings {
        kernel,
        program,
        feed,
        services,
        introspect,
        announce,
        ledger,
        ears,
    } = surroundings;
    let leases = file::load(&settings.state_dir, settings.reuse_delay())?;
    let _lock = lock(&settings)?;
    let listener = socket::bind(&settings.cni_socket())?;
    introspect.config(&settings);
    let _debug = introspect.serve_unix(settings.debug_socket())?;
    let (inbox, messages) = mpsc::channel(QUEUE);
    let written = inbox.clone();
    let writer = Writer::start(settings.state_dir.clone(), move |number, result| {
        // Fails only when the core has gone.
        let _ = written.blocking_send(Message::Written { number, result });
    })
    .context("start the thread that writes leases")?;
    let wirer = Wirer::start(kernel.netns()).context("start the threads that wire pods")?;
    let mut events = kernel.events()?;
    let listened_to = kernel.clone();
    let for_services = for_services(&kernel, &settings)?;
    let (cloud, usage) = match &settings.ec2 {
        Some(ec2) => {
            let (cloud, usage) = Cloud::new();
            (Some(cloud), Some((ec2.clone(), usage)))
        }
        None => (None, None),
    };
    // Dropped at the end, which ends them.
    let mut beside = JoinSet::new();
    let questions = ears.map(|ears| {
        let (questions, asked) = mpsc::channel(probe::QUEUE);
        beside.spawn(probe_addresses(ears, kernel.clone(), asked, inbox.clone()));
        questions
    });
    let (core, view) = Core::new(Parts {
        node_name: settings.node_name.clone(),
        choices: settings.choices(),
        kernel,
        wirer,
        spool: Spool::new(settings.spool_dir()),
        leases,
        writer,
        inbox: inbox.clone(),
        introspect: introspect.clone(),
        announce,
        cloud,
        ledger,
        questions,
    });
    show(&introspect, view.clone());
    if let Some((kernel, conntrack)) = for_services {
        events = overhear(events, services.sender.clone());
        let node_ports = settings.nodeport_addresses.clone();
        let health = Arc::new(services::Health::new(node_ports.clone()));
        let localhost = Arc::new(services::Localhost::new(&node_ports));
        services::start(services::Parts {
            mode: settings.proxy_mode,
            node_ports: node_ports.clone(),
            health: Arc::clone(&health),
            localhost: Arc::clone(&localhost),
            kernel: kernel.clone(),
            conntrack,
            introspect: introspect.clone(),
            inputs: services.receiver,
        })
        .context("start the thread that programs Services")?;
        beside.spawn(services::serve_checks(
            Arc::clone(&health),
            kernel.clone(),
            services.announce,
        ));
        beside.spawn(services::serve_localhost(localhost, kernel.clone()));
        if let Some(at) = settings.healthz_bind_address {
            let (kernel, view) = (kernel.clone(), view.clone());
            let introspect = introspect.clone();
            beside.spawn(services::serve_health(health, kernel, view, at, introspect));
        }
        if settings.leaves_host_ports() {
            tracing::warn!(
                "pods' hostPort has no effect with --proxy-mode iptables: add --cni-chain portmap, \
                 or choose --proxy-mode nftables"
            );
        }
        let asked = services::Asked {
            external_ips: settings.external_ips,
            node_port_addresses: node_ports,
            host_ports: settings.serves_host_ports(),
        };
        beside.spawn(services::follow_node(
            kernel,
            view.clone(),
            asked,
            services.sender,
        ));
    }
    beside.spawn(socket::serve(listener, inbox.clone()));
    beside.spawn(follow(listened_to, events, inbox.clone()));
    if let Some((ec2, usage)) = usage {
        beside.spawn(keep(ec2, inbox.clone(), usage, introspect.clone()));
    }
    beside.spawn(pass_on(feed, inbox));
    beside.spawn(keep_installed(
        settings.clone(),
        program,
        view.clone(),
        introspect.readiness("cni"),
    ));
    if let Some(port) = settings.health_port {
        beside.spawn(serve_health(introspect, view, port));
    }
    core.run(messages, shutdown).await;
    Ok(())
}

/// Tells the thread of Services of edits; all events go on to whom they are for.
fn overhear(
    events: BoxStream<'static, Event>,
    sender: services::Sender,
) -> BoxStream<'static, Event> {
    let hear = move |event: &Event| {
        let edit = match event {
            Event::Services(edit) => *edit,
            // A large transaction of our own, or many of others: what the rules are is not compared.
            Event::Missed => Edit::Elements,
            _ => return,
        };
        // Fails only when the thread has gone.
        let _ = sender.send(services::Input::Edited(edit));
    };
    events.inspect(hear).boxed()
}

/// What the thread of Services works with: sockets of its own, so that nobody waits for its transactions.
///
/// With `--proxy-mode none`, what an earlier agent has made for Services is taken away instead.
fn for_services(
    kernel: &Netlink,
    settings: &Settings,
) -> anyhow::Result<Option<(Netlink, Conntrack)>> {
    let own = match kernel.netns() {
        Some(netns) => Netlink::in_netns(&netns)?,
        None => Netlink::in_current()?,
    };
    if settings.proxy_mode == ProxyMode::None {
        services::remove(&own)?;
        return Ok(None);
    }
    let conntrack = kernel.run(Conntrack::open)??;
    Ok(Some((own, conntrack)))
}

/// Two agents on one state folder would lease the same addresses.
fn lock(settings: &Settings) -> anyhow::Result<Flock<File>> {
    let path = settings.state_dir.join("lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("open lock {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            // For people who wonder; the lock itself is the kernel's.
            let _ = lock
                .set_len(0)
                .and_then(|()| writeln!(lock, "{}", std::process::id()));
            Ok(lock)
        }
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => bail!(
            "lock state folder {}: another agent uses it; \
             end it, or give each agent its own --state-dir",
            settings.state_dir.display()
        ),
        Err((_, error)) => bail!("lock {}: {error}", path.display()),
    }
}

fn show(introspect: &Introspect, view: watch::Receiver<Arc<View>>) {
    introspect.state("network", move || {
        let view = Arc::clone(&view.borrow());
        serde_json::to_value(&*view).unwrap_or_default()
    });
}

async fn pass_on(mut feed: mpsc::Receiver<Feed>, inbox: mpsc::Sender<Message>) {
    while let Some(change) = feed.recv().await {
        let message = match change {
            Feed::Nodes(change) => Message::Nodes(change),
            Feed::Pods(change) => Message::Pods(change),
            Feed::Pools(change) => Message::Pools(change),
            Feed::ServiceRanges(change) => Message::ServiceRanges(change),
            Feed::Namespaces(change) => Message::Namespaces(change),
        };
        if inbox.send(message).await.is_err() {
            return;
        }
    }
}

/// Installs the plugin at once and the conflist when pods can be wired; what is removed later comes back.
async fn keep_installed(
    settings: Settings,
    program: PathBuf,
    mut view: watch::Receiver<Arc<View>>,
    readiness: Readiness,
) {
    let settings = Arc::new(settings);
    let program = Arc::new(program);
    let mut ready = false;
    let mut first = true;
    loop {
        let (settings, program) = (Arc::clone(&settings), Arc::clone(&program));
        let work = move || install_all(&settings, &program, first, ready);
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => {
                first = false;
                if ready {
                    readiness.ready();
                }
            }
            Ok(Err(error)) => {
                tracing::error!("{error:#}; trying again");
                readiness.not_ready(format!("{error:#}"));
            }
            // The runtime is ending.
            Err(_) => return,
        }
        if ready {
            time::sleep(INSTALL_AGAIN).await;
            continue;
        }
        match time::timeout(INSTALL_AGAIN, view.wait_for(|view| view.ready)).await {
            Ok(Ok(_)) => ready = true,
            Ok(Err(_)) => return,
            Err(_) => {}
        }
    }
}

/// To compare a copied plugin with this program takes long, so that is done the `first` time only.
fn install_all(
    settings: &Settings,
    program: &Path,
    first: bool,
    ready: bool,
) -> anyhow::Result<()> {
    if first || !settings.cni_bin_dir.join(install::PLUGIN).exists() {
        install::plugin(program, &settings.cni_bin_dir)?;
    }
    if ready {
        install::check_chain(settings)?;
        install::conflist(settings)?;
    }
    Ok(())
}

/// Serves health and metrics on the node's address, once that is known.
async fn serve_health(introspect: Introspect, mut view: watch::Receiver<Arc<View>>, port: u16) {
    let known = |view: &Arc<View>| view.network.uplink.is_some();
    let Ok(address) = view.wait_for(known).await.map(|view| node_address(&view)) else {
        return;
    };
    let Some(address) = address else { return };
    loop {
        match introspect.serve_tcp(SocketAddr::new(address, port)).await {
            Ok(_served) => return std::future::pending().await,
            Err(error) => {
                tracing::warn!("{error}; is another program on it? --health-port chooses another");
                time::sleep(HEALTH_AGAIN).await;
            }
        }
    }
}

fn node_address(view: &View) -> Option<std::net::IpAddr> {
    view.node.as_ref()?.internal_ips.first().copied()
}
