//! Keeping node and leases in step with the API and the kernel.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sealane_kube::{Backoff, Change, Mirror};
use sealane_net::{Attachment, names};
use sealane_netlink::Netlink;
use sealane_objects::{NodeNet, PodNet};
use tokio::time::Instant;

use super::{Cloud, Core, Message, view::NetworkView, wall_clock};
use crate::{
    leases::{Key, Lease},
    node::{self, Programmed, Stamps, SyncError},
    reconcile::{Facts, reconcile},
    wire::{self, Ground, NearEnds},
};

/// When to list the links again after the kernel did not answer.
const LINKS_AGAIN: Duration = Duration::from_secs(1);

/// Where the node's own network stands.
#[derive(Default)]
pub struct NodeSync {
    programmed: Option<Box<Programmed>>,
    ground: Option<Arc<Ground>>,
    shown: Arc<NetworkView>,
    dirty: bool,
    /// The next run loads the tables again, whatever their stamps say.
    edited: bool,
    running: bool,
    again_at: Option<Instant>,
    backoff: Option<Backoff>,
    /// Why the last run failed, or none could be started.
    trouble: Option<String>,
    /// Leases that only the kernel knows of were looked for.
    adopted: bool,
    /// The links are being listed: of what was wired or unwired since, the list tells nothing.
    listing: bool,
    changed_since: BTreeSet<Key>,
}

impl NodeSync {
    pub fn programmed(&self) -> Option<&Programmed> {
        self.programmed.as_deref()
    }

    /// Whether pods of both attachments are there, which the node's network must know one by one.
    pub fn is_mixed(&self) -> bool {
        let program = self.programmed().map(|node| &node.program);
        program.is_some_and(|program| program.bridge.is_some() && program.routed.is_some())
    }

    pub fn ground(&self) -> Option<Arc<Ground>> {
        self.ground.clone()
    }

    pub fn shown(&self) -> Arc<NetworkView> {
        Arc::clone(&self.shown)
    }

    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    pub fn again_at(&self) -> Option<Instant> {
        self.again_at
    }

    pub fn set_dirty(&mut self) {
        self.dirty = true;
    }

    /// Somebody has changed what is in our tables.
    pub fn set_edited(&mut self) {
        self.dirty = true;
        self.edited = true;
    }

    /// Whether every lease that the kernel knows of is in the book.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    pub fn note_changed(&mut self, key: &Key) {
        if self.listing {
            self.changed_since.insert(key.clone());
        }
    }

    pub fn wake_up(&mut self, now: Instant) {
        if self.again_at.is_some_and(|at| now >= at) {
            self.again_at = None;
            self.dirty = true;
        }
    }

    /// What keeps the node from wiring pods. A node that once was ready stays
    /// so: what a later run cannot repair does not make new pods worse.
    pub fn why_not_ready(
        &self,
        name: &str,
        nodes: &Mirror<NodeNet>,
        cloud: Option<&Cloud>,
    ) -> Option<String> {
        if self.programmed.is_some() {
            return None;
        }
        if !nodes.is_synced() {
            return Some("waiting for the API server to list nodes".into());
        }
        let why = match nodes.get_cluster_wide(name) {
            None => format!("the API server has no Node {name}; is --node-name right?"),
            Some(_) if cloud.is_some_and(|cloud| cloud.standing.observed.is_none()) => {
                let trouble = cloud.and_then(|cloud| cloud.standing.trouble.as_deref());
                trouble
                    .unwrap_or("EC2 is being asked for this machine's interfaces")
                    .into()
            }
            Some(node) if cloud.is_none() && node.pod_cidrs.is_empty() => format!(
                "Node {name} has no .spec.podCIDRs; do the controllers run with a cluster range (--cluster-cidr)?"
            ),
            Some(_) => match &self.trouble {
                Some(trouble) => trouble.clone(),
                None => "its network is being made".into(),
            },
        };
        Some(why)
    }
}

impl Core {
    pub(super) fn take_nodes(&mut self, change: Change<NodeNet>) {
        // Heartbeats change much of a Node that is nothing to us.
        let known = |name, node: &NodeNet| self.nodes.get(name) == Some(node);
        if let Change::Applied(name, node) = &change
            && known(name, node)
        {
            return;
        }
        self.nodes.apply(change);
        self.judge_pools();
        self.node.dirty = true;
    }

    pub(super) fn take_pods(&mut self, change: Change<PodNet>) {
        let all = matches!(change, Change::Reset(_));
        self.pods.apply(change);
        let pods = &self.pods;
        self.book.unhold(
            |name| pods.get(name).is_some_and(PodNet::needs_address),
            wall_clock(),
        );
        if all {
            self.hold_unknown();
            self.look_at_links();
        }
    }

    /// Starts a run when something has changed and none is under way.
    pub(super) fn synchronize(&mut self) {
        // Without them the ways to pods with their addresses would be taken away.
        if !self.node.dirty || self.node.running || !self.pools.is_synced() {
            return;
        }
        let Some(this) = self.this_node() else { return };
        if self.cloud.is_some() {
            self.offer();
        } else if let Err(error) = self.book.set_subnets(&this.pod_cidrs) {
            self.node.dirty = false;
            return self.node_trouble(&SyncError::from(error).to_string());
        }
        self.set_blocks();
        self.hold_unknown();
        self.node.dirty = false;
        self.node.running = true;
        let this = self.pools.joined_to(this);
        let nodes = self.nodes.values().cloned();
        let mut nodes: Vec<NodeNet> = nodes.map(|node| self.pools.joined_to(node)).collect();
        if self.cloud.is_some() {
            // A VPC leads to all pods by itself, whatever subnets the controllers may have given to nodes.
            nodes.iter_mut().for_each(|node| node.pod_cidrs.clear());
        }
        let (kernel, choices) = (self.kernel.clone(), self.choices.clone());
        let inbox = self.inbox.clone();
        let stamps = match (std::mem::take(&mut self.node.edited), &self.node.programmed) {
            (true, _) => Stamps::Doubted,
            (false, None) => Stamps::Checked,
            (false, Some(_)) => Stamps::Believed,
        };
        tokio::spawn(async move {
            let result = node::synchronize(&kernel, &this, &nodes, &choices, stamps).await;
            let _ = inbox
                .send(Message::Synchronized(result.map(Box::new)))
                .await;
        });
    }

    fn this_node(&self) -> Option<NodeNet> {
        let this = self.nodes.get_cluster_wide(&self.node_name)?;
        if self.cloud.is_some() {
            // What EC2 gives stands for the subnets, which such a Node need not have.
            let pod_cidrs = self.choices.cloud.as_ref()?.ranges().collect();
            return Some(NodeNet {
                pod_cidrs,
                ..this.clone()
            });
        }
        (!this.pod_cidrs.is_empty()).then(|| this.clone())
    }

    /// Once the API has listed the pods: their addresses are taken even where
    /// no lease says so, after a loss of the file.
    fn hold_unknown(&mut self) {
        let has_any = self.book.has_subnets() || self.choices.cloud.is_some();
        if self.held || !self.pods.is_synced() || !has_any {
            return;
        }
        self.held = true;
        let pods = self.pods.values().filter(|pod| pod.needs_address());
        self.book
            .hold(pods.map(|pod| (&pod.name, &pod.pod_ips[..])));
        for (pod, addresses) in self.book.held() {
            tracing::warn!("pod {pod} has {addresses:?} and no lease; kept until it is gone");
        }
    }

    pub(super) fn synchronized(&mut self, result: Result<Box<Programmed>, SyncError>) {
        self.node.running = false;
        match result {
            Ok(programmed) => {
                self.tell_problems(&programmed);
                let first = self.node.programmed.is_none();
                let look = first || programmed.gateway_was_gone;
                self.node.ground = Some(Arc::new(Ground::from(&*programmed)));
                self.node.shown = Arc::new(NetworkView::from(&*programmed));
                let failures = shorten(&programmed.failures);
                let blocks = programmed.program.blocks.clone();
                self.node.programmed = Some(programmed);
                self.blocks_led_to(&blocks);
                self.offer();
                if failures.is_empty() {
                    self.node.trouble = None;
                    self.node.backoff = None;
                } else {
                    self.node_trouble(&failures);
                }
                if first {
                    self.tell_ready();
                }
                if look {
                    self.look_at_links();
                }
            }
            Err(error) => self.node_trouble(&error.to_string()),
        }
    }

    fn node_trouble(&mut self, trouble: &str) {
        if self.node.trouble.as_deref() != Some(trouble) {
            tracing::warn!("synchronize the node's network: {trouble}; trying again");
        }
        self.node.trouble = Some(trouble.to_owned());
        // A changed Node comes by itself; the kernel does not tell when to try again.
        let backoff = self.node.backoff.get_or_insert_with(Backoff::reconnect);
        self.node.again_at = Some(Instant::now() + backoff.next_delay());
    }

    fn tell_ready(&self) {
        if let Some(node) = self.node.programmed() {
            let uplink = &node.uplink;
            let changes = match node.steps {
                0 => "nothing had to be changed".to_owned(),
                steps => format!("{steps} changes"),
            };
            let gateways: Vec<String> = node
                .program
                .gateways
                .iter()
                .map(ToString::to_string)
                .collect();
            let place = match node.program.attachment {
                Attachment::Bridge => names::POD_BRIDGE,
                Attachment::Routed => "lo, pods are routed",
            };
            tracing::info!(
                "node {}: {} on {place}, uplink {} with MTU {}; {changes}",
                self.node_name,
                gateways.join(" and "),
                uplink.name,
                uplink.mtu
            );
        }
    }

    fn tell_problems(&self, programmed: &Programmed) {
        let before = self.node.programmed().map(|p| &p.program.problems);
        for problem in &programmed.program.problems {
            if !before.is_some_and(|before| before.contains(problem)) {
                tracing::warn!("{problem}");
            }
        }
    }

    /// Lists the pods' links, for [`Core::links`] to compare with the leases.
    pub(super) fn look_at_links(&mut self) {
        if self.node.listing {
            return;
        }
        self.node.listing = true;
        self.node.changed_since.clear();
        let (kernel, inbox) = (self.kernel.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let _ = inbox.send(Message::Links(pod_links(&kernel).await)).await;
        });
    }

    pub(super) fn links(&mut self, links: &Option<NearEnds>) {
        self.node.listing = false;
        let Some(links) = links else {
            self.resync_at = Instant::now() + LINKS_AGAIN;
            return;
        };
        self.adopt(links);
        let ends = links.iter();
        self.guard
            .set_links(ends.map(|(name, near)| (name.as_str(), near.attachment())));
        if !self.node.adopted {
            self.node.adopted = true;
            self.edits.compare();
            self.group_links(links);
        }
        let Some(ground) = self.node.ground() else {
            return;
        };
        self.keep_limits(links);
        let settled = |lease: &&Lease| {
            let key = lease.key();
            !self.work.contains_key(&key) && !self.node.changed_since.contains(&key)
        };
        let verdict = reconcile(&Facts {
            leases: self.book.leases().map(|l| &**l).filter(settled).collect(),
            links,
            pods: &self.pods,
            same_boot: self.same_boot,
            bridge_index: ground.bridge_index,
        });
        for key in verdict.leaked {
            tracing::info!("release {key}: its pod and its link are gone");
            self.free(key, Vec::new());
        }
        for (key, faults) in verdict.broken {
            tracing::info!("repair the link of {key}: {}", faults.join("; "));
            let near = links.get(&wire::link_name(&key)).cloned();
            let (Some(near), Some(lease)) = (near, self.book.get(&key).cloned()) else {
                continue;
            };
            let (kernel, ground) = (self.kernel.clone(), Arc::clone(&ground));
            tokio::spawn(async move {
                if let Err(error) = wire::repair(&kernel, &ground, &lease, &near).await {
                    tracing::warn!("{error}");
                }
            });
        }
    }
}

impl Core {
    /// Takes up the leases of links that no lease is known of: the file was lost or torn.
    fn adopt(&mut self, links: &NearEnds) {
        for link in links.values().map(|near| &near.link) {
            let Some(lease) = link.alias.as_deref().and_then(wire::labelled) else {
                continue;
            };
            let key = lease.key();
            let known = self.book.get(&key).is_some()
                || self.work.contains_key(&key)
                || self.node.changed_since.contains(&key);
            if known || wire::link_name(&key) != link.name {
                continue;
            }
            let addresses = lease.addresses.clone();
            match self.book.adopt(lease) {
                Ok(()) => tracing::warn!(
                    "took up {addresses:?} of {key}: link {} tells of it and no lease did",
                    link.name
                ),
                Err(error) => tracing::error!(
                    "link {} of {key} has {addresses:?}: {error}; one of the two must be deleted",
                    link.name
                ),
            }
        }
    }
}

impl Core {
    /// Puts pods' links into the group that the guard looks at, as an agent before this version did not.
    /// Of a link without a lease nobody knows what its pod may send, so it is left in peace.
    fn group_links(&self, links: &NearEnds) {
        let leased: BTreeSet<String> = self
            .book
            .leases()
            .map(|lease| wire::link_name(&lease.key()))
            .collect();
        let groups: Vec<(String, bool)> = links
            .keys()
            .map(|name| (name.clone(), leased.contains(name)))
            .collect();
        let kernel = self.kernel.clone();
        tokio::spawn(async move {
            for (name, leased) in groups {
                let change = if leased {
                    wire::grouped()
                } else {
                    wire::ungrouped()
                };
                match kernel.set_link(&name, change).await {
                    Err(error) if !error.is_absent() => tracing::warn!("{error}"),
                    _ => {}
                }
            }
        });
    }
}

/// When the overlay's link fails, so does all that needs it.
fn shorten(failures: &[String]) -> String {
    const NAMED: usize = 3;
    let named = failures[..failures.len().min(NAMED)].join("; ");
    match failures.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

async fn pod_links(kernel: &Netlink) -> Option<NearEnds> {
    let listed = wire::near_ends(kernel).await;
    listed.inspect_err(|error| tracing::warn!("{error}")).ok()
}
