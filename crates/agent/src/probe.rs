//! Does somebody else have the address that a pod has just got?
//!
//! ```text
//! ADD answered ─► Probe, 256, never waits ─► a moment's pause ─► ask on the bridge and the uplink
//!                                                                   │ a second, on a thread
//! Core ◄── InUse: by whom, on which link ◄── who claims it and is not the pod
//! ```
//!
//! The node asks as a host does that is about to use the address (RFC 5227,
//! RFC 4862 §5.4), so nobody's caches change, and the pod's own answer is told from
//! others by its Ethernet address. On the bridge that finds whatever somebody
//! has plugged into it, or another pod when pods are not held to their own; a
//! pod that is routed has a link of its own, where there is nobody else. On
//! the uplink it finds machines that use a range that the cluster takes for
//! its own. The node's own links are looked at too.
//!
//! It is done once, after ADD: an address that is taken later, or whose owner
//! was silent, goes unnoticed. Rejected: asking before the answer, which would
//! cost each pod a second.

mod question;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use sealane_net::{Mac, names};
use sealane_netlink::{Ears, Error as KernelError, Heard, Netlink, Told};
use tokio::sync::mpsc;

use crate::{core::Message, leases::Key};
use question::{claimed, question};

/// How many addresses wait to be asked for; more go unasked.
pub const QUEUE: usize = 256;
/// So that those of a burst go together, and when their ADDs are done.
const PAUSE: Duration = Duration::from_millis(300);
/// Between two questions: each is copied to all ports of the bridge.
const BETWEEN: Duration = Duration::from_millis(2);
/// How long answers are waited for after the last question (`PROBE_WAIT`, RFC 5227 §1.1).
const LISTEN: Duration = Duration::from_secs(1);

/// An attachment whose addresses are to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub key: Key,
    /// The pod's, whose answer is as it should be.
    pub mac: Mac,
    pub addresses: Vec<IpAddr>,
    /// Where to ask.
    pub links: Vec<String>,
}

/// An address that somebody else uses too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    pub key: Key,
    pub address: IpAddr,
    pub by: User,
}

/// Who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// The neighbour with an Ethernet address, on a link.
    Neighbour { mac: Mac, link: String },
    /// This node itself, on a link.
    Node { link: String },
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Neighbour { mac, link } => write!(f, "{mac} on {link}"),
            Self::Node { link } => write!(f, "this node on {link}"),
        }
    }
}

/// Asks for what it is told of until the core has gone.
pub async fn probe_addresses(
    ears: Ears,
    kernel: Netlink,
    mut asked: mpsc::Receiver<Probe>,
    inbox: mpsc::Sender<Message>,
) {
    let ears = Arc::new(ears);
    let mut probes = Vec::new();
    while asked.recv_many(&mut probes, QUEUE).await > 0 {
        tokio::time::sleep(PAUSE).await;
        while let Ok(probe) = asked.try_recv() {
            probes.push(probe);
        }
        let found = ask(&ears, &kernel, std::mem::take(&mut probes)).await;
        let found = found.unwrap_or_else(|error| {
            tracing::debug!("look for duplicate addresses: {error}");
            Vec::new()
        });
        for in_use in found {
            if inbox.send(Message::InUse(in_use)).await.is_err() {
                return;
            }
        }
    }
}

async fn ask(
    ears: &Arc<Ears>,
    kernel: &Netlink,
    probes: Vec<Probe>,
) -> Result<Vec<InUse>, KernelError> {
    let mut links = Vec::new();
    let wanted: BTreeSet<&String> = probes.iter().flat_map(|probe| &probe.links).collect();
    for name in wanted {
        let found = kernel.link(name.as_str()).await?;
        let found = found.filter(|link| link.up).and_then(|link| {
            let mac = link.mac?;
            Some(Place {
                index: link.index,
                name: link.name,
                mac,
            })
        });
        links.extend(found);
    }
    let round = Round { probes, links };
    let mut found = round.of_this_node(kernel).await?;
    let ears = Arc::clone(ears);
    let heard = tokio::task::spawn_blocking(move || round.run(&ears));
    // Fails only when the runtime is ending.
    found.extend(heard.await.unwrap_or(Ok(Vec::new()))?);
    Ok(found)
}

/// A link to ask on.
struct Place {
    index: u32,
    name: String,
    mac: Mac,
}

/// What is asked for together.
struct Round {
    probes: Vec<Probe>,
    links: Vec<Place>,
}

impl Round {
    /// A machine does not answer its own question.
    async fn of_this_node(&self, kernel: &Netlink) -> Result<Vec<InUse>, KernelError> {
        let owners = self.by_address();
        let mut found = Vec::new();
        for own in kernel.addresses().await? {
            let Some(probe) = owners.get(&own.address.addr()) else {
                continue;
            };
            let link = kernel.link(own.link).await?;
            let link = link.map_or_else(|| own.link.to_string(), |link| link.name);
            if !names::is_pod_link(&link) {
                found.push(InUse {
                    key: probe.key.clone(),
                    address: own.address.addr(),
                    by: User::Node { link },
                });
            }
        }
        Ok(found)
    }

    fn by_address(&self) -> BTreeMap<IpAddr, &Probe> {
        let mut owners = BTreeMap::new();
        for probe in &self.probes {
            owners.extend(probe.addresses.iter().map(|address| (*address, probe)));
        }
        owners
    }

    fn run(&self, ears: &Ears) -> Result<Vec<InUse>, KernelError> {
        ears.listen()?;
        let owners = self.by_address();
        let mut found = Vec::new();
        for probe in &self.probes {
            for link in self
                .links
                .iter()
                .filter(|link| probe.links.contains(&link.name))
            {
                for address in &probe.addresses {
                    let question = question(link.mac, *address);
                    // A link that has gone down meanwhile has nobody on it.
                    let _ = ears.send(question.told, link.index, question.to, &question.packet);
                    self.listen(ears, &owners, BETWEEN, &mut found);
                }
            }
        }
        self.listen(ears, &owners, LISTEN, &mut found);
        ears.rest()?;
        Ok(found)
    }

    fn listen(
        &self,
        ears: &Ears,
        owners: &BTreeMap<IpAddr, &Probe>,
        how_long: Duration,
        found: &mut Vec<InUse>,
    ) {
        let deadline = Instant::now() + how_long;
        while let Some((told, heard)) = ears.next(deadline) {
            let link = self.links.iter().find(|link| link.index == heard.link);
            let in_use = link.and_then(|link| self.judge(owners, told, &heard, link));
            if let Some(in_use) = in_use.filter(|in_use| !found.contains(in_use)) {
                found.push(in_use);
            }
        }
    }

    /// Whether a packet of a neighbour says that it has an address of a pod.
    fn judge(
        &self,
        owners: &BTreeMap<IpAddr, &Probe>,
        told: Told,
        heard: &Heard,
        link: &Place,
    ) -> Option<InUse> {
        let address = claimed(told, &heard.packet)?;
        let probe = owners.get(&address)?;
        let from = heard.from;
        let ours = from == probe.mac || self.links.iter().any(|link| link.mac == from);
        (!ours && probe.links.contains(&link.name)).then(|| InUse {
            key: probe.key.clone(),
            address,
            by: User::Neighbour {
                mac: from,
                link: link.name.clone(),
            },
        })
    }
}
