//! The thread that owns the Services of the node.

use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sealane_introspect::{Introspect, Readiness};
use sealane_kube::Change;
use sealane_netlink::{Conntrack, Edit, Netlink};
use sealane_objects::SliceNet;
use sealane_service::{NodeFacts, NodePortAddresses, PortChange, ServiceTable};
use serde_json::{Value, json};

use super::backend::{Backend, Refused};
use super::conntrack;
use super::meters::Meters;
use super::nft::Done;
use super::{Health, Input, Localhost, Receiver};
use crate::{ProxyMode, patience::Patience};

/// How often everything is compared with the kernel although nothing happened.
const RESYNC: Duration = Duration::from_secs(60);
/// A comparison is followed by so many times of what it took at the least: the kernel's time for it grows with the
/// square of its elements.
const REST: u32 = 200;
/// How long after a refusal everything is compared.
const REPAIR: Duration = Duration::from_secs(1);
/// The kernel tells of a large edit in several parts.
const EDITING: Duration = Duration::from_millis(5);
/// How many inputs are taken as one change.
const TOGETHER: usize = 4096;
/// How many ports `/debug/state` shows.
const SHOWN: usize = 1000;

/// What the thread needs from outside.
pub struct Parts {
    /// Which backend.
    pub mode: ProxyMode,
    /// Where node ports are served.
    pub node_ports: NodePortAddresses,
    /// What load balancers are told.
    pub health: Arc<Health>,
    /// What is served at `::1`.
    pub localhost: Arc<Localhost>,
    /// Sockets of its own in the node's namespace.
    pub kernel: Netlink,
    pub conntrack: Conntrack,
    pub introspect: Introspect,
    pub inputs: Receiver,
}

/// State of the node's Services.
struct Task {
    table: Arc<Mutex<ServiceTable>>,
    backend: Backend,
    conntrack: Conntrack,
    meters: Meters,
    readiness: Readiness,
    health: Arc<Health>,
    localhost: Arc<Localhost>,
    node: bool,
    services: bool,
    slices: bool,
    /// The kernel has followed up to now.
    running: bool,
    /// When slices that have changed were out of date.
    triggered_ms: Vec<i64>,
    compare_at: Instant,
    /// What somebody has edited.
    edited: Option<Edit>,
    patience: Patience,
}

/// Starts the thread, which ends when nobody can tell it anything any more and all that was told is done.
///
/// # Errors
/// When the system has no thread left.
pub fn start(parts: Parts) -> std::io::Result<JoinHandle<()>> {
    let table = Arc::new(Mutex::new(ServiceTable::new(NodeFacts::default())));
    let shown = Arc::clone(&table);
    parts
        .introspect
        .state("services", move || show(&lock(&shown)));
    let mut task = Task {
        table,
        backend: Backend::new(parts.mode, parts.kernel, parts.node_ports),
        conntrack: parts.conntrack,
        meters: Meters::new(&parts.introspect),
        readiness: parts.introspect.readiness("services"),
        health: parts.health,
        localhost: parts.localhost,
        node: false,
        services: false,
        slices: false,
        running: false,
        triggered_ms: Vec::new(),
        compare_at: Instant::now() + RESYNC,
        edited: None,
        patience: Patience::default(),
    };
    let work = move || task.run(&parts.inputs);
    let thread = std::thread::Builder::new().name("services".into());
    thread.spawn(work)
}

impl Task {
    fn run(&mut self, inputs: &Receiver) {
        self.backend.look_ahead();
        loop {
            let patience = self.compare_at.saturating_duration_since(Instant::now());
            let first = match inputs.recv_timeout(patience) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let more = inputs.try_iter().take(TOGETHER);
            let mut changes = Vec::new();
            let mut new_pods = false;
            for input in first.into_iter().chain(more) {
                self.meters.queued();
                new_pods |= self.take(input, &mut changes);
            }
            self.synchronize(changes, new_pods);
        }
    }

    /// Whether pods of this node have other addresses by that.
    fn take(&mut self, input: Input, changes: &mut Vec<PortChange>) -> bool {
        let mut table = lock(&self.table);
        match input {
            Input::Node(facts) => {
                self.node = true;
                let new_pods = facts.pod_cidrs != table.node().pod_cidrs;
                changes.extend(table.set_node(facts));
                return new_pods;
            }
            Input::Services(change) => {
                self.meters.service_change();
                changes.extend(match change {
                    Change::Reset(all) => {
                        self.services = true;
                        table.replace_services(all)
                    }
                    Change::Applied(name, service) => table.set_service(&name, Some(service)),
                    Change::Deleted(name, _) => table.set_service(&name, None),
                });
            }
            Input::HostPorts(pods) => changes.extend(table.replace_host_ports(pods)),
            Input::Edited(edit) => {
                drop(table);
                self.note(edit);
            }
            Input::Slices(change) => {
                self.meters.endpoint_change();
                let running = self.running;
                let triggered = |slice: &SliceNet| slice.triggered_ms.filter(|_| running);
                changes.extend(match change {
                    Change::Reset(all) => {
                        self.slices = true;
                        table.replace_slices(all)
                    }
                    Change::Applied(name, slice) => {
                        self.triggered_ms.extend(triggered(&slice));
                        table.set_slice(&name, Some(slice))
                    }
                    Change::Deleted(name, _) => table.set_slice(&name, None),
                });
            }
        }
        false
    }

    /// Somebody has edited what we have programmed: it is looked at in a moment.
    fn note(&mut self, edit: Edit) {
        let now = Instant::now();
        if self.edited.is_none() {
            let soon = match self.patience.take(now) {
                true => now + EDITING,
                false => self.patience.regained_at().unwrap_or(now + REPAIR),
            };
            self.compare_at = self.compare_at.min(soon);
        }
        self.edited = self.edited.max(Some(edit));
    }

    fn synchronize(&mut self, changes: Vec<PortChange>, new_pods: bool) {
        if let Some(missing) = self.missing() {
            self.readiness.not_ready(missing);
            return;
        }
        let due = Instant::now() >= self.compare_at;
        if self.running && changes.is_empty() && !new_pods && !due {
            self.triggered_ms.clear();
            return;
        }
        let begun = Instant::now();
        self.health.behind();
        let changes = merge(changes);
        let first = !self.running;
        match self.bring_along(&changes, new_pods, due) {
            Ok(done) => self.done(begun, done, due),
            Err(error) => {
                tracing::warn!("program Services: {error}; comparing with the kernel soon");
                self.meters.failed();
                self.readiness.not_ready(error.to_string());
                let again = Instant::now() + REPAIR;
                self.compare_at = match due {
                    true => again,
                    false => again.min(self.compare_at),
                };
            }
        }
        let table = lock(&self.table);
        match first {
            true => {
                self.health.reset(&table);
                self.localhost.reset(&table);
            }
            false => {
                self.health.update(&table, &changes);
                self.localhost.update(&changes);
            }
        }
        drop(table);
        self.end_flows(&changes);
    }

    fn missing(&self) -> Option<&'static str> {
        let all = [
            (self.node, "waiting for this node's network"),
            (self.services, "waiting for the API server to list Services"),
            (
                self.slices,
                "waiting for the API server to list EndpointSlices",
            ),
        ];
        all.into_iter()
            .find(|(known, _)| !known)
            .map(|(_, why)| why)
    }

    fn bring_along(
        &mut self,
        changes: &[PortChange],
        new_pods: bool,
        due: bool,
    ) -> Result<Done, Refused> {
        let table = lock(&self.table);
        if !self.running {
            let done = self.backend.take_over(&table)?;
            self.running = true;
            return Ok(done);
        }
        if new_pods {
            // Families may have come or gone with them.
            return self.backend.set_pods(&table);
        }
        // The program must know of them even if the kernel refuses one.
        let done = self.backend.update(&table, changes)?;
        if due && self.edited == Some(Edit::Rules) {
            self.backend.reload(&table)?;
            self.edited = None;
            tracing::warn!("somebody has edited the rules of Services; all are loaded again");
        } else if due {
            let repaired = self.backend.repair(&table)?;
            self.edited = None;
            if repaired != Done::default() {
                let Done { elements, .. } = repaired;
                tracing::warn!(
                    "{elements} elements of Services were not as they should be; repaired"
                );
            }
        }
        Ok(done)
    }

    fn done(&mut self, begun: Instant, done: Done, due: bool) {
        let ports = lock(&self.table).len();
        let took = begun.elapsed();
        self.meters.synced(took, ports);
        for triggered in self.triggered_ms.drain(..) {
            self.meters.programmed(triggered);
        }
        tracing::debug!("Services: {done:?} in {took:?}");
        self.readiness.ready();
        self.health.in_step();
        if due {
            let rest = RESYNC.max(took * REST);
            let next = self.edited.map_or(rest, |_| EDITING);
            self.compare_at = Instant::now() + next;
        }
    }

    /// After the rules have changed, so that no flow begins anew by the old ones.
    fn end_flows(&mut self, changes: &[PortChange]) {
        let rightful = conntrack::suspects(&lock(&self.table), changes);
        match conntrack::clean(&self.conntrack, &rightful) {
            Ok(ended) => self.meters.ended(ended),
            Err(error) => {
                tracing::warn!("{error}; flows of datagrams may go on to where nobody is")
            }
        }
    }
}

/// Changes of one port in a row are one.
fn merge(changes: Vec<PortChange>) -> Vec<PortChange> {
    let mut merged: Vec<PortChange> = Vec::with_capacity(changes.len());
    let mut at = std::collections::HashMap::new();
    for change in changes {
        match at.get(&change.key) {
            Some(index) => {
                let earlier: &mut PortChange = &mut merged[*index];
                earlier.after = change.after;
            }
            None => {
                at.insert(Arc::clone(&change.key), merged.len());
                merged.push(change);
            }
        }
    }
    merged.retain(|change| change.before != change.after);
    merged
}

fn show(table: &ServiceTable) -> Value {
    let problems = table.problems();
    let problems: Vec<String> = problems
        .map(|(name, problem)| format!("{name}: {problem}"))
        .collect();
    let ports: Vec<Value> = table
        .iter()
        .take(SHOWN)
        .map(|port| json!(&**port))
        .collect();
    json!({
        "node": table.node(),
        "ports": ports,
        "count": table.len(),
        "problems": problems,
    })
}

/// A panic elsewhere must not take the Services away.
fn lock(table: &Mutex<ServiceTable>) -> std::sync::MutexGuard<'_, ServiceTable> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
