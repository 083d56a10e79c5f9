//! Which pod subnets a node gets: `.spec.podCIDRs`, one of each family of the cluster's ranges.
//!
//! `node-2` gets the subnet of number 2, 10.244.2.0/24, where that is free, so
//! that a cluster looks as people draw it whichever node registers first; all
//! others get the next one.
//!
//! A subnet is set once and never changed; it is free again when its Node is
//! deleted. A node that finds no subnet is told so by an Event and gets one as
//! soon as there is one, first come first served.
//!
//! Node names and uids are all that ties a subnet to a node: on a restart the
//! first full set of Nodes says what is taken, so nothing is stored.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sealane_ipam::{SubnetAllocator, SubnetError};
use sealane_kube::Change;
use sealane_kube::events::Severity;
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use crate::action::{About, Action, Controller, Input, Outcome};
use crate::view::NodeView;

/// Until an assignment that the API server refused is tried again.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// Names such as `node-20261121` are not numbers of nodes.
const HIGHEST_BY_NAME: usize = 4096;

/// A range of the cluster and the prefix length of the subnets cut from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub range: IpNet,
    pub mask: u8,
}

pub struct Subnets {
    cuts: Vec<Cut>,
    allocators: Vec<SubnetAllocator>,
    nodes: BTreeMap<String, Held>,
    /// Nodes that found none, in the order of their coming.
    waiting: VecDeque<String>,
    retry_at: Option<Instant>,
}

#[derive(Clone)]
struct Held {
    uid: String,
    subnets: Vec<IpNet>,
}

impl Subnets {
    /// # Errors
    /// When a mask does not fit its range.
    pub fn new(cuts: Vec<Cut>) -> Result<Self, SubnetError> {
        let allocators = allocators(&cuts, &[])?;
        Ok(Self {
            cuts,
            allocators,
            nodes: BTreeMap::new(),
            waiting: VecDeque::new(),
            retry_at: None,
        })
    }

    fn nodes_changed(&mut self, change: &Change<NodeView>, actions: &mut Vec<Action>) {
        match change {
            Change::Reset(all) => self.start_over(all, actions),
            Change::Applied(name, node) => self.applied(&name.name, node, actions),
            Change::Deleted(name, _) => {
                self.forget(&name.name);
                self.serve_waiting(actions);
            }
        }
    }

    fn start_over(&mut self, all: &[(ObjectName, NodeView)], actions: &mut Vec<Action>) {
        let before = std::mem::take(&mut self.nodes);
        for (name, node) in all {
            // What is on its way to a node stays its own, although the list does not show it yet.
            let on_its_way = before
                .get(&name.name)
                .filter(|held| held.uid == node.uid && node.pod_cidrs.is_empty());
            let held = on_its_way.cloned().unwrap_or_else(|| Held::of(node));
            self.nodes.insert(name.name.clone(), held);
        }
        self.waiting.clear();
        self.recount();
        let bare = self
            .nodes
            .iter()
            .filter(|(_, held)| held.subnets.is_empty());
        let names: Vec<_> = bare.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.assign(&name, actions);
        }
    }

    fn applied(&mut self, name: &str, node: &NodeView, actions: &mut Vec<Action>) {
        match self.nodes.get_mut(name) {
            Some(held) if held.uid == node.uid && node.pod_cidrs.is_empty() => return,
            Some(held) if held.uid == node.uid && held.subnets == node.pod_cidrs => return,
            Some(_) => self.forget(name),
            None => {}
        }
        self.nodes.insert(name.to_owned(), Held::of(node));
        if node.pod_cidrs.is_empty() {
            self.assign(name, actions);
        } else {
            // Somebody else's choice, perhaps of another size: counted like all others.
            self.recount();
        }
    }

    /// Counts what nodes have from scratch.
    fn recount(&mut self) {
        let taken: Vec<_> = self
            .nodes
            .values()
            .flat_map(|held| held.subnets.clone())
            .collect();
        self.allocators =
            allocators(&self.cuts, &taken).expect("the masks were checked when this was made");
    }

    fn assign(&mut self, name: &str, actions: &mut Vec<Action>) {
        let Some(held) = self.nodes.get_mut(name) else {
            return;
        };
        match allocate_each(&self.cuts, &mut self.allocators, name) {
            Ok(subnets) if subnets.is_empty() => {}
            Ok(subnets) => {
                held.subnets.clone_from(&subnets);
                actions.push(Action::SetSubnets {
                    node: name.to_owned(),
                    uid: held.uid.clone(),
                    subnets,
                });
            }
            Err(error) => {
                actions.push(tell_exhausted(name, &held.uid, &error));
                self.waiting.push_back(name.to_owned());
            }
        }
    }

    /// Tries nodes that found no subnet, as long as there are any.
    fn serve_waiting(&mut self, actions: &mut Vec<Action>) {
        while let Some(name) = self.waiting.pop_front() {
            let Some(held) = self.nodes.get_mut(&name) else {
                continue;
            };
            let Ok(subnets) = allocate_each(&self.cuts, &mut self.allocators, &name) else {
                self.waiting.push_front(name);
                return;
            };
            held.subnets.clone_from(&subnets);
            let uid = held.uid.clone();
            actions.push(Action::SetSubnets {
                node: name,
                uid,
                subnets,
            });
        }
    }

    fn forget(&mut self, name: &str) {
        self.waiting.retain(|waiting| waiting != name);
        if let Some(held) = self.nodes.remove(name) {
            give_back(&mut self.allocators, &held.subnets);
        }
    }

    /// An assignment that came to nothing frees its subnets.
    fn assignment_failed(&mut self, node: &str, uid: &str, outcome: &Outcome, now: Instant) {
        let Some(held) = self.nodes.get_mut(node).filter(|held| held.uid == uid) else {
            return;
        };
        give_back(&mut self.allocators, &std::mem::take(&mut held.subnets));
        if *outcome != Outcome::Gone {
            self.waiting.push_back(node.to_owned());
            self.retry_at = Some(now + REFUSED_PAUSE);
        }
    }
}

impl Controller for Subnets {
    fn handle(&mut self, input: &Input, now: Instant, actions: &mut Vec<Action>) {
        match input {
            Input::Nodes(change) => self.nodes_changed(change, actions),
            Input::Ended(Action::SetSubnets { node, uid, .. }, outcome)
                if *outcome != Outcome::Done =>
            {
                self.assignment_failed(node, uid, outcome, now);
            }
            Input::Tick if self.retry_at.is_some_and(|at| at <= now) => {
                self.retry_at = None;
                self.serve_waiting(actions);
            }
            _ => {}
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.retry_at
    }

    fn state(&self, _now: Instant) -> Value {
        let ranges = self
            .cuts
            .iter()
            .zip(&self.allocators)
            .map(|(cut, allocator)| {
                json!({
                    "range": cut.range,
                    "mask": cut.mask,
                    "size": allocator.size().to_string(),
                    "taken": allocator.taken(),
                })
            });
        let nodes: BTreeMap<_, _> = self
            .nodes
            .iter()
            .map(|(name, held)| (name, &held.subnets))
            .collect();
        json!({"ranges": ranges.collect::<Vec<_>>(), "nodes": nodes, "waiting": self.waiting})
    }
}

impl Held {
    fn of(node: &NodeView) -> Self {
        Self {
            uid: node.uid.clone(),
            subnets: node.pod_cidrs.clone(),
        }
    }
}

fn allocators(cuts: &[Cut], taken: &[IpNet]) -> Result<Vec<SubnetAllocator>, SubnetError> {
    let one = |cut: &Cut| SubnetAllocator::new(cut.range, cut.mask, taken.iter().copied());
    cuts.iter().map(one).collect()
}

/// One subnet of each range, or none of any.
fn allocate_each(
    cuts: &[Cut],
    allocators: &mut [SubnetAllocator],
    node: &str,
) -> Result<Vec<IpNet>, SubnetError> {
    let mut subnets = Vec::with_capacity(allocators.len());
    for (index, cut) in cuts.iter().enumerate() {
        match allocate(cut, &mut allocators[index], node) {
            Ok(subnet) => subnets.push(subnet),
            Err(error) => {
                give_back(allocators, &subnets);
                return Err(error);
            }
        }
    }
    Ok(subnets)
}

fn allocate(cut: &Cut, allocator: &mut SubnetAllocator, node: &str) -> Result<IpNet, SubnetError> {
    let by_name = subnet_by_name(cut, node).filter(|subnet| allocator.claim(*subnet).is_ok());
    by_name.map_or_else(|| allocator.allocate(), Ok)
}

/// The subnet whose number is the one at the end of the node's name.
fn subnet_by_name(cut: &Cut, node: &str) -> Option<IpNet> {
    let (_, number) = node.rsplit_once('-')?;
    let number: usize = number
        .parse()
        .ok()
        .filter(|number| *number <= HIGHEST_BY_NAME)?;
    cut.range.subnets(cut.mask).ok()?.nth(number)
}

fn give_back(allocators: &mut [SubnetAllocator], subnets: &[IpNet]) {
    for subnet in subnets {
        for allocator in &mut *allocators {
            allocator.release(*subnet);
        }
    }
}

fn tell_exhausted(node: &str, uid: &str, error: &SubnetError) -> Action {
    Action::Tell {
        about: About::Node {
            name: node.to_owned(),
            uid: uid.to_owned(),
        },
        severity: Severity::Warning,
        reason: "CIDRNotAvailable",
        message: format!(
            "node {node} gets no pod subnet: {error}; delete a Node that is not needed, \
             or make the cluster with a larger --cluster-cidr or longer --node-cidr-mask-size-ipv4/-ipv6"
        ),
    }
}

#[cfg(test)]
mod tests;
