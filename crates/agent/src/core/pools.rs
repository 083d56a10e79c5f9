//! Named pools: which one the addresses of an ADD come from, and which blocks of them the node has.
//!
//! ```text
//! watch of IPPools ──► mirror ──► faults, the node's blocks ──► Book, routes, nft tables
//!                        ▲              │ none is free for an ADD, which is parked
//!                        │              ▼
//!                   API server ◄── Ledger: status.blocks, guarded by resourceVersion
//! ```
//!
//! A block is taken by a write of the pool's status that names the version it
//! was decided from, and is used once the watch shows it and the node's network
//! leads to it. One that is empty for a while is given back, at once when its
//! pool has lost the range or is being deleted; it is closed to new leases before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use sealane_ipam::{
    block_count, free_block,
    named::{Labels, PoolFault, SelectError, condition, faults, select},
};
use sealane_kube::{Change, Mirror, PoolWrite};
use sealane_net::{Family, IpNet, Ranges};
use sealane_objects::{NodeNet, PodNet, PoolNet};
use tokio::time::Instant;

use super::{Core, Message, attach::LeaseFailure, duties::Duties};
use crate::leases::{Block, LeaseError, PodRef, joined};

/// How long a block stays the node's after its last address was given back.
pub(super) const KEPT_EMPTY: Duration = Duration::from_secs(300);
/// Pause after a write that failed, unless the pool changes before.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// Writes it, unless somebody else has written meanwhile.
pub type Ledger = Box<dyn Fn(PoolWrite) -> BoxFuture<'static, Result<(), String>> + Send>;

/// What is known of pools.
pub struct Pools {
    mirror: Mirror<PoolNet>,
    namespaces: Mirror<Labels>,
    /// The ranges of Services.
    services: Mirror<Vec<IpNet>>,
    faults: BTreeMap<String, PoolFault>,
    ledger: Ledger,
    writing: BTreeSet<String>,
    /// Pools of which a write has failed, and when to try again.
    failed: BTreeMap<String, Instant>,
    /// Blocks that are being given back.
    leaving: BTreeSet<IpNet>,
    /// Blocks that the node's network leads to.
    led_to: BTreeSet<IpNet>,
    empty_since: BTreeMap<IpNet, Instant>,
    duties: Duties,
}

impl Pools {
    pub fn new(ledger: Ledger) -> Self {
        Self {
            mirror: Mirror::default(),
            namespaces: Mirror::default(),
            services: Mirror::default(),
            faults: BTreeMap::new(),
            ledger,
            writing: BTreeSet::new(),
            failed: BTreeMap::new(),
            leaving: BTreeSet::new(),
            led_to: BTreeSet::new(),
            empty_since: BTreeMap::new(),
            duties: Duties::default(),
        }
    }

    pub fn is_synced(&self) -> bool {
        self.mirror.is_synced()
    }

    pub fn is_empty(&self) -> bool {
        self.mirror.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&PoolNet, Option<&PoolFault>)> {
        let pools = self.mirror.values();
        pools.map(|pool| (pool, self.faults.get(&pool.name)))
    }

    pub fn again_at(&self) -> Option<Instant> {
        let failed = self.failed.values().copied();
        failed.chain(self.duties.next_due()).min()
    }

    /// The node with its blocks.
    pub fn joined_to(&self, mut node: NodeNet) -> NodeNet {
        let pools = self.mirror.values();
        node.pod_ranges = pools
            .flat_map(|pool| pool.blocks_of(&node.name))
            .copied()
            .collect();
        node.pod_ranges.sort_unstable();
        node
    }

    fn is_open(&self, pool: &PoolNet, block: &IpNet) -> bool {
        !pool.deleting
            && !self.faults.contains_key(&pool.name)
            && pool.ranges.iter().any(|range| range.contains(block))
    }

    /// The blocks of all nodes in all pools.
    fn taken(&self, but_of: &[String]) -> Vec<IpNet> {
        let of_pool = |pool: &'_ PoolNet| {
            let blocks = pool.blocks.iter();
            let kept = blocks.filter(|(node, _)| !but_of.contains(node));
            kept.flat_map(|(_, blocks)| blocks.clone())
                .collect::<Vec<_>>()
        };
        self.mirror.values().flat_map(of_pool).collect()
    }
}

impl Core {
    pub(super) fn take_pools(&mut self, change: Change<PoolNet>) {
        if let Change::Applied(name, _) | Change::Deleted(name, _) = &change {
            self.pools.failed.remove(&name.name);
        }
        self.pools.mirror.apply(change);
        self.judge_pools();
        self.set_blocks();
        self.node.set_dirty();
    }

    pub(super) fn take_service_ranges(&mut self, change: Change<Vec<IpNet>>) {
        self.pools.services.apply(change);
        self.judge_pools();
        self.set_blocks();
    }

    pub(super) fn take_namespaces(&mut self, change: Change<Labels>) {
        self.pools.namespaces.apply(change);
    }

    /// Finds out anew which pools can be used: pools or nodes have changed.
    pub(super) fn judge_pools(&mut self) {
        if self.pools.mirror.is_empty() && self.pools.faults.is_empty() {
            return;
        }
        let pools: Vec<&PoolNet> = self.pools.mirror.values().collect();
        let nodes: Vec<&NodeNet> = self.nodes.values().collect();
        let found = faults(&pools, &nodes, &self.reserved());
        for (name, fault) in &found {
            if self.pools.faults.get(name) != Some(fault) {
                tracing::warn!("pool {name} is not used: {fault}");
            }
        }
        self.pools.faults = found;
    }

    /// What else the cluster has addresses for.
    fn reserved(&self) -> Vec<(IpNet, String)> {
        let services = self.pools.services.values().flatten();
        let services = services.map(|range| (*range, "the Services".to_owned()));
        let pods = self.choices.cluster_cidr.iter().flat_map(Ranges::iter);
        let pods = pods.map(|range| (range, "the nodes' pod subnets".to_owned()));
        services.chain(pods).collect()
    }

    /// Tells the book which blocks it may lease from.
    pub(super) fn set_blocks(&mut self) {
        let mut blocks = Vec::new();
        for pool in self.pools.mirror.values() {
            let name: Arc<str> = pool.name.as_str().into();
            let of_node = pool.blocks_of(&self.node_name).iter();
            blocks.extend(of_node.map(|range| Block {
                pool: Arc::clone(&name),
                range: *range,
                open: self.pools.is_open(pool, range)
                    && self.pools.led_to.contains(range)
                    && !self.pools.leaving.contains(range),
            }));
        }
        self.book.set_blocks(&blocks);
    }

    /// The node's network leads to these blocks now.
    pub(super) fn blocks_led_to(&mut self, blocks: &[IpNet]) {
        self.pools.led_to = blocks.iter().copied().collect();
        self.set_blocks();
    }

    /// The pool of a pod; `None` for the node's own subnets.
    pub(super) fn pool_of(
        &self,
        pod: Option<&PodRef>,
        asked: Option<&str>,
    ) -> Result<Option<PoolNet>, LeaseFailure> {
        let pools = &self.pools;
        let selecting = pod.is_some() && pools.mirror.values().any(PoolNet::selects);
        if asked.is_none() && !selecting {
            return Ok(None);
        }
        if !pools.mirror.is_empty() && !pools.services.is_synced() {
            let what =
                "the API server has not told of the ranges of Services, which no pool may overlap";
            return Err(LeaseFailure::Waiting(what.into()));
        }
        let known: Option<&PodNet> = pod.and_then(|pod| self.pods.get(&pod.name));
        let none = Labels::new();
        let labels = match (known, pod) {
            (Some(known), _) => &known.labels,
            (None, Some(pod)) if asked.is_none() => {
                return Err(LeaseFailure::Waiting(format!(
                    "the API server has not told of pod {}, whose labels choose its pool of addresses",
                    pod.name
                )));
            }
            _ => &none,
        };
        let by_namespace = pools.mirror.values().any(|pool| pool.namespaces.is_some());
        let namespace = match pod.filter(|_| by_namespace) {
            None => &none,
            Some(pod) => {
                let namespace = &pod.name.namespace;
                let labels = pools.namespaces.get_cluster_wide(namespace);
                labels.ok_or_else(|| {
                    LeaseFailure::Waiting(format!(
                        "the API server has not told of namespace {namespace}, whose labels choose its pods' pool of addresses"
                    ))
                })?
            }
        };
        let found = select(
            pools.mirror.values(),
            &pools.faults,
            asked,
            namespace,
            labels,
        );
        Ok(found.map_err(LeaseFailure::Select)?.cloned())
    }

    /// What an ADD is told that finds nothing in the node's blocks, after what can be done about it is begun.
    pub(super) fn without_block(
        &mut self,
        name: &str,
        family: Family,
        address: Option<std::net::IpAddr>,
        rests: bool,
    ) -> LeaseFailure {
        let waiting = |what: &str| {
            LeaseFailure::Waiting(format!(
                "pool {name} has no free {family} address here: {what}"
            ))
        };
        let Some(pool) = self.pools.mirror.get_cluster_wide(name).cloned() else {
            return LeaseFailure::Select(SelectError::Absent(name.to_owned()));
        };
        if self.pools.writing.contains(name) || self.pools.failed.contains_key(name) {
            return waiting("a block is being asked for");
        }
        // Some that it has may be about to be used.
        let mine = pool.blocks_of(&self.node_name).iter();
        let coming = |block: &&IpNet| {
            Family::from(**block) == family
                && !self.pools.led_to.contains(block)
                && address.is_none_or(|address| block.contains(&address))
        };
        if mine.clone().any(|block| coming(&block)) {
            return waiting("the node's network is being led to a new block");
        }
        let of_family = |range: &&IpNet| Family::from(**range) == family;
        let ranges: Vec<IpNet> = pool.ranges.iter().filter(of_family).copied().collect();
        let size = match family {
            Family::V4 => pool.block_sizes.ipv4,
            Family::V6 => pool.block_sizes.ipv6,
        };
        let is_gone = |node: &&String| self.nodes.get_cluster_wide(node).is_none();
        let gone: Vec<String> = pool.blocks.keys().filter(is_gone).cloned().collect();
        let found = [vec![], gone].into_iter().find_map(|gone| {
            let taken = self.pools.taken(&gone);
            Some((free_block(&ranges, size, &taken, address)?, gone))
        });
        if let Some((block, gone)) = found {
            let mut blocks = pool.blocks_of(&self.node_name).to_vec();
            blocks.push(block);
            tracing::info!("take block {block} of pool {name}");
            self.write_pool(pool, blocks, gone);
            return waiting("a block is being asked for");
        }
        if rests {
            return waiting("what was given back a moment ago rests");
        }
        LeaseFailure::UsedUp(match address {
            Some(address) => elsewhere(&pool, address),
            None => self.used_up(&pool, family, &ranges, size),
        })
    }

    fn used_up(&self, pool: &PoolNet, family: Family, ranges: &[IpNet], size: u8) -> String {
        let name = &pool.name;
        if ranges.is_empty() {
            return format!("pool {name} has no {family} range");
        }
        let of_family = |block: &&IpNet| Family::from(**block) == family;
        let holders: Vec<String> = pool
            .blocks
            .iter()
            .map(|(node, blocks)| (node, blocks.iter().filter(of_family).count()))
            .filter(|(_, count)| *count > 0)
            .map(|(node, count)| format!("{node}: {count}"))
            .collect();
        let mut spaces: BTreeMap<&str, usize> = BTreeMap::new();
        for lease in self.book.leases() {
            let of_pool = |a: &&IpNet| {
                pool.blocks_of(&self.node_name)
                    .iter()
                    .any(|b| b.contains(*a))
            };
            let space = lease.pod.as_ref().map_or("-", |pod| &pod.name.namespace);
            *spaces.entry(space).or_default() += lease
                .addresses
                .iter()
                .filter(of_family)
                .filter(of_pool)
                .count();
        }
        let spaces = spaces.iter().filter(|(_, count)| **count > 0);
        let spaces: Vec<String> = spaces.map(|(space, n)| format!("{space}: {n}")).collect();
        let here = match spaces[..] {
            [] => "this node has none of them".into(),
            _ => {
                let spaces = spaces.join(", ");
                format!("pods all addresses of this node's (by namespace {spaces})")
            }
        };
        format!(
            "pool {name} is used up: nodes have all {} blocks of {} ({}), and {here}",
            block_count(ranges, size),
            joined(ranges.iter()),
            holders.join(", "),
        )
    }

    fn write_pool(&mut self, seen: PoolNet, blocks: Vec<IpNet>, gone: Vec<String>) {
        let name = seen.name.clone();
        self.pools.writing.insert(name.clone());
        let condition = condition(&seen, self.pools.faults.get(&name));
        self.pools.duties.told(&name, &condition);
        let write = PoolWrite {
            seen,
            blocks,
            gone,
            condition,
        };
        let written = (self.pools.ledger)(write);
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let result = written.await;
            let _ = inbox.send(Message::PoolWritten { name, result }).await;
        });
    }

    pub(super) fn pool_written(&mut self, name: String, result: Result<(), String>) {
        self.pools.writing.remove(&name);
        if let Err(error) = result {
            tracing::info!("write blocks of pool {name}: {error}; deciding anew");
            // The change of somebody else, if that was it, ends the pause.
            let again = Instant::now() + WRITE_AGAIN;
            self.pools.failed.insert(name.clone(), again);
            self.pools.leaving.clear();
            self.pools.duties.not_told(&name);
            self.set_blocks();
        }
    }

    /// Gives back blocks that are not needed, and does what somebody has to do for all.
    pub(super) fn tend_pools(&mut self, now: Instant) {
        self.pools.failed.retain(|_, again_at| now < *again_at);
        let pools: Vec<PoolNet> = self.pools.mirror.values().cloned().collect();
        self.pools
            .duties
            .retain(|name| pools.iter().any(|pool| pool.name == name));
        for pool in pools {
            let busy = self.pools.writing.contains(&pool.name)
                || self.pools.failed.contains_key(&pool.name);
            if busy || !self.held {
                continue;
            }
            let mine = pool.blocks_of(&self.node_name);
            let (kept, leaving): (Vec<IpNet>, Vec<IpNet>) = mine
                .iter()
                .partition(|block| self.is_needed(&pool, block, now));
            let gone = self.duty(&pool, now);
            if leaving.is_empty() && gone.is_none() {
                continue;
            }
            for block in &leaving {
                tracing::info!("give block {block} of pool {} back", pool.name);
            }
            self.pools.leaving.extend(leaving);
            self.set_blocks();
            self.write_pool(pool, kept, gone.unwrap_or_default());
        }
    }

    /// What one of all nodes has to do for a pool, when it is this one's turn: the nodes whose blocks are to be
    /// taken away, which may be none.
    fn duty(&mut self, pool: &PoolNet, now: Instant) -> Option<Vec<String>> {
        if !self.nodes.is_synced() || !self.pools.services.is_synced() {
            return None;
        }
        let condition = condition(pool, self.pools.faults.get(&pool.name));
        let told = pool
            .condition
            .as_ref()
            .is_some_and(|told| told.says(&condition));
        let absent = |node: &&String| self.nodes.get_cluster_wide(node).is_none();
        let absent: Vec<String> = pool.blocks.keys().filter(absent).cloned().collect();
        let duties = &mut self.pools.duties;
        let gone = duties.gone(pool, absent, now);
        let is_over = pool.deleting && pool.kept && pool.blocks.is_empty();
        let untold = !told && !duties.was_told(&pool.name, &condition, now);
        let names = self.nodes.values().map(|node| &node.name);
        let before = names.filter(|name| **name < self.node_name).count();
        let due = duties.is_due(
            &pool.name,
            untold || is_over || !gone.is_empty(),
            before,
            now,
        );
        due.then_some(gone)
    }

    fn is_needed(&mut self, pool: &PoolNet, block: &IpNet, now: Instant) -> bool {
        let mut sources = self.book.sources().iter();
        let in_use = sources.any(|s| s.pool.subnet() == *block && s.pool.leased() > 0);
        if in_use {
            self.pools.empty_since.remove(block);
            return true;
        }
        let since = *self.pools.empty_since.entry(*block).or_insert(now);
        let needed = self.pools.is_open(pool, block) && now < since + KEPT_EMPTY;
        if !needed {
            self.pools.empty_since.remove(block);
        }
        needed
    }
}

/// Why an address that was asked for cannot be had on this node.
fn elsewhere(pool: &PoolNet, address: std::net::IpAddr) -> String {
    let holds = |blocks: &Vec<IpNet>| blocks.iter().any(|block| block.contains(&address));
    let holder = pool.blocks.iter().find(|(_, blocks)| holds(blocks));
    let name = &pool.name;
    match holder {
        Some((node, _)) => format!(
            "address {address} of pool {name} is in a block of node {node}, which alone can give it to a pod"
        ),
        None => format!("address {address} of pool {name} is in a block that overlaps another one"),
    }
}

impl From<LeaseError> for LeaseFailure {
    fn from(error: LeaseError) -> Self {
        Self::Lease(error)
    }
}
