//! The one task that owns the node's network.
//!
//! ```text
//! watch of Nodes ──┐                                   ┌─► writer thread (leases.json)
//! watch of Pods ───┤  Message, 256, senders wait       ├─► tasks: synchronize the node
//! CNI connections ─┼──────────────► Core ──────────────┼─► workers: wire one pod; tasks: unwire, check
//! kernel's events ─┤                │  │               └─► (each ends with one Message)
//! EC2, where it is ─┤                │  │
//! results of work ─┘                │  │
//!                                   │  └─► View, latest wins ─► /debug/state, /metrics, health, install
//!                                   └────► oneshot Response ──► its connection
//! ```
//!
//! Nothing else changes leases or decides about them; work that takes time
//! runs beside and reports back, so a hundred ADDs at once proceed together:
//!
//! ```text
//! ADD ─► lease in memory ─┬► writer ──written──┬─► answer
//!                         └► worker ──wired────┘
//! DEL ─► Unwiring ──unwired──► release in memory ─► Freeing ──written──► answer
//! ```
//!
//! A message queue that is full makes its senders wait, which ends in the
//! plugin's processes. All leases that change while one version of the file is
//! being written go into the next one, so a burst costs two or three writes.
//! Lease and link are made side by side: until the answer, a kill may leave a
//! link without a lease, which says itself whose it is ([`wire`](crate::wire)).
//! An ADD that comes before the node is ready is parked for a moment, since at
//! the start of a node and after a restart readiness is close; one that finds
//! only addresses that rest from the pod before is parked until one has rested.

mod attach;
mod cloud;
mod duplicates;
mod duties;
mod edits;
mod follow;
mod limits;
mod message;
mod pools;
mod spool;
mod sync;
mod view;
mod work;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use sealane_cni::{spool::Spool, types::CniError};
use sealane_introspect::Introspect;
use sealane_kube::Mirror;
use sealane_netlink::Netlink;
use sealane_objects::{NodeNet, PodNet};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub use cloud::Cloud;
pub use follow::{Noticed, follow};
pub use message::{Message, Reply};
pub use pools::Ledger;
pub use view::View;

use crate::{
    answer,
    guard::Guard,
    leases::{
        Book, Key, PodRef,
        file::{FileError, Loaded, Version, Writer},
    },
    node::Choices,
    probe::Probe,
    wire::Wirer,
};
use duplicates::Duplicates;
use edits::Edits;
use pools::Pools;
use spool::Spooled;
use sync::NodeSync;
use view::Meters;
use work::{Parked, Work};

/// How many messages wait before senders do.
pub const QUEUE: usize = 256;
/// How often everything is compared with the kernel although nothing happened.
const RESYNC: Duration = Duration::from_secs(60);
/// How long an ADD waits for the node to become ready.
const PARKED: Duration = Duration::from_secs(10);
/// Pause after a version of the leases that could not be written.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

/// The time that leases are kept by: it goes on over restarts, and may be set.
fn wall_clock() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

/// Tells people what they should know: about this node, and about a pod where one is concerned.
/// The words are an Event's reason, in CamelCase, and its message.
pub type Announce = Box<dyn Fn(Option<&PodRef>, &str, &str) + Send>;

/// What the core needs from outside.
pub struct Parts {
    pub node_name: String,
    pub choices: Choices,
    pub kernel: Netlink,
    pub wirer: Wirer,
    /// Where the plugin leaves DELs while there is no agent.
    pub spool: Spool,
    pub leases: Loaded,
    pub writer: Writer,
    /// For the work that reports back; the receiver is given to [`Core::run`].
    pub inbox: mpsc::Sender<Message>,
    pub introspect: Introspect,
    pub announce: Announce,
    /// Where addresses come from the machine's network interfaces.
    pub cloud: Option<Cloud>,
    /// How the node's blocks of named pools are written.
    pub ledger: Ledger,
    /// Who looks for others that use a pod's addresses, if anybody does.
    pub questions: Option<mpsc::Sender<Probe>>,
}

/// State of the node's network.
pub struct Core {
    node_name: String,
    choices: Choices,
    kernel: Netlink,
    inbox: mpsc::Sender<Message>,
    nodes: Mirror<NodeNet>,
    pods: Mirror<PodNet>,
    pools: Pools,
    duplicates: Duplicates,
    node: NodeSync,
    book: Book,
    same_boot: bool,
    /// Addresses of pods without a lease were looked for.
    held: bool,
    work: BTreeMap<Key, Work>,
    wirer: Wirer,
    guard: Guard,
    edits: Edits,
    spool: Spooled,
    parked: Vec<Parked>,
    cloud: Option<Cloud>,
    save: Save,
    resync_at: Instant,
    meters: Meters,
    announce: Announce,
    view: watch::Sender<Arc<View>>,
}

/// What is known about the file of leases.
struct Save {
    writer: Writer,
    /// The version that is being written.
    running: Option<u64>,
    /// The newest version that was handed over.
    latest: u64,
    failed: Option<FileError>,
    again_at: Option<Instant>,
}

impl Core {
    /// A core that knows nothing of the API yet, and the view of it.
    pub fn new(parts: Parts) -> (Self, watch::Receiver<Arc<View>>) {
        let (view, seen) = watch::channel(Arc::default());
        let latest = parts.leases.book.version();
        let guard = Guard::new(
            parts.kernel.clone(),
            parts.choices.anti_spoofing,
            parts.choices.attachment,
            &parts.introspect,
        );
        let core = Self {
            guard,
            edits: Edits::default(),
            node_name: parts.node_name,
            choices: parts.choices,
            kernel: parts.kernel,
            inbox: parts.inbox,
            nodes: Mirror::default(),
            pods: Mirror::default(),
            pools: Pools::new(parts.ledger),
            duplicates: Duplicates::new(parts.questions),
            node: NodeSync::default(),
            book: parts.leases.book,
            same_boot: parts.leases.same_boot,
            held: false,
            work: BTreeMap::new(),
            wirer: parts.wirer,
            spool: Spooled::new(parts.spool),
            parked: Vec::new(),
            cloud: parts.cloud,
            save: Save {
                writer: parts.writer,
                running: None,
                latest,
                failed: None,
                again_at: None,
            },
            resync_at: Instant::now() + RESYNC,
            meters: Meters::new(&parts.introspect),
            announce: parts.announce,
            view,
        };
        (core, seen)
    }

    /// Works until the token is cancelled. Work in flight is dropped: a
    /// restart finds what it left, as after a kill.
    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>, shutdown: CancellationToken) {
        let mut batch = Vec::with_capacity(QUEUE);
        // Before any request: a pod that comes back under the same name must not meet its own DEL.
        self.look_at_spool(Instant::now());
        self.look_at_links();
        self.publish();
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = messages.recv_many(&mut batch, QUEUE) => {}
                () = tokio::time::sleep_until(wake) => {}
            }
            for message in batch.drain(..) {
                self.handle(message);
            }
            self.wake_up(Instant::now());
            self.mend_guard();
            self.tend_pools(Instant::now());
            self.synchronize();
            self.unpark();
            self.save();
            self.publish();
            self.publish_usage();
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Nodes(change) => self.take_nodes(change),
            Message::Pods(change) => self.take_pods(change),
            Message::Pools(change) => self.take_pools(change),
            Message::Namespaces(change) => self.take_namespaces(change),
            Message::ServiceRanges(change) => self.take_service_ranges(change),
            Message::PoolWritten { name, result } => self.pool_written(name, result),
            Message::Request {
                request,
                netns,
                reply,
            } => self.request(request, netns, reply),
            Message::Written { number, result } => self.written(number, result),
            Message::Synchronized(result) => self.synchronized(result),
            Message::Links(links) => self.links(&links),
            Message::Noticed(noticed) => {
                if noticed.node {
                    self.node.set_dirty();
                }
                if noticed.pods {
                    self.look_at_links();
                }
                if noticed.tables {
                    self.edits.note();
                }
            }
            Message::Wired { key, result } => self.wired(key, result),
            Message::Unwired { key, result } => self.unwired(key, result),
            Message::InUse(in_use) => self.in_use(in_use),
            Message::Cloud(news) => self.take_cloud(*news),
            Message::CarriedOut { key, done } => self.carried_out(&key, done),
        }
    }

    fn next_wake(&self) -> Instant {
        let parked = self.parked.iter().map(|parked| parked.deadline);
        let others = [
            self.node.again_at(),
            self.save.again_at,
            self.rest_ends_at(),
            self.edits.look_at(),
            self.pools.again_at(),
        ];
        let first = parked.chain(others.into_iter().flatten()).min();
        let regular = self.resync_at.min(self.spool.look_at());
        first.map_or(regular, |first| first.min(regular))
    }

    fn wake_up(&mut self, now: Instant) {
        if now >= self.resync_at {
            self.resync_at = now + RESYNC;
            self.node.set_dirty();
            self.edits.compare();
            self.look_at_links();
        }
        self.look_at_spool(now);
        self.node.wake_up(now);
        if self.edits.wake_up(now) {
            self.node.set_edited();
        }
        if self.save.again_at.is_some_and(|at| now >= at) {
            self.save.again_at = None;
        }
        self.end_rests();
        self.refuse_late(now);
    }

    /// What keeps ADD from being served, `None` when nothing does.
    fn why_not_ready(&self) -> Option<String> {
        self.node
            .why_not_ready(&self.node_name, &self.nodes, self.cloud.as_ref())
            .or_else(|| {
                (!self.node.adopted()).then(|| "the links of its pods are being listed".into())
            })
            .or_else(|| self.edits.why_no_guard(&self.guard))
            .or_else(|| {
                (!self.held).then(|| "waiting for the API server to list this node's pods".into())
            })
            .or_else(|| {
                (!self.pools.is_synced())
                    .then(|| "waiting for the API server to list pools of addresses".into())
            })
    }

    /// Hands the book to the writer, unless it is writing or the last attempt has just failed.
    fn save(&mut self) {
        let idle = self.save.running.is_none() && self.save.again_at.is_none();
        if idle && (self.book.version() > self.save.latest || self.save.failed.is_some()) {
            let version = Version::of(&self.book);
            self.save.running = Some(version.number);
            self.save.latest = version.number;
            self.save.writer.write(version);
        }
    }

    fn written(&mut self, number: u64, result: Result<(), FileError>) {
        self.save.running = None;
        match &result {
            Ok(()) => self.save.failed = None,
            Err(error) => {
                tracing::error!("{error}; trying again");
                self.save.again_at = Some(Instant::now() + SAVE_AGAIN);
                self.save.failed = Some(error.clone());
            }
        }
        let result = result.map_err(|error| answer::not_durable(&error));
        self.saved(number, &result);
    }

    /// Goes on with what waited for a version.
    fn saved(&mut self, number: u64, result: &Result<(), CniError>) {
        let waited: Vec<Key> = self
            .work
            .iter()
            .filter(|(_, work)| work.waits_for().is_some_and(|waits| waits <= number))
            .map(|(key, _)| key.clone())
            .collect();
        for key in waited {
            match (self.work.remove(&key), result) {
                (Some(Work::Adding(adding)), result) => self.saved_add(key, adding, result),
                (Some(Work::Freeing { replies, .. }), result) => {
                    for reply in replies {
                        reply.done(result.clone());
                    }
                }
                _ => {}
            }
        }
    }
}
