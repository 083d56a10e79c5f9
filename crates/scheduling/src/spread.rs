//! Topology spread constraints, and the default spreading. Plugin PodTopologySpread.
//!
//! Nodes with the same value of the constraint's label are a domain. A hard
//! constraint rejects a domain that would then have more than `maxSkew` pods
//! over the emptiest one; a soft one prefers emptier domains. Pods that are
//! being deleted no longer count.

use std::collections::BTreeMap;

use sealane_objects::{Demand, Selector, Spread};

use crate::board::{Board, NodeFacts, Slot};
use crate::class::{Class, SlotId};
use crate::normal::BEST;
use crate::refusal::{Reason, Rejection};
use crate::{node_affinity, taints};

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The hard constraints of a pod, with the pods of each domain counted.
pub struct Rules<'a> {
    rules: Vec<Rule<'a>>,
}

struct Rule<'a> {
    spread: &'a Spread,
    domains: BTreeMap<&'a str, u32>,
    /// Pods of the emptiest domain.
    fewest: u32,
    /// 1 when the pod itself is among those that are counted.
    own: u32,
}

impl<'a> Rules<'a> {
    /// Counts what the rules of a pod depend on.
    pub fn count(board: &'a Board, class: &'a Class) -> Self {
        let demand = &class.traits.demand;
        let hard: Vec<&Spread> = demand.spread.iter().filter(|spread| spread.hard).collect();
        let has_all = |node: &NodeFacts| {
            let mut keys = hard.iter().map(|spread| &spread.topology_key);
            keys.all(|key| node.labels.contains_key(key))
        };
        let rule = |spread: &&'a Spread| {
            let counts = pods_by_node(board, &class.traits.namespace, spread.selector.as_ref());
            let mut domains = BTreeMap::<&str, u32>::new();
            for (id, slot, node) in board.present() {
                if has_all(node) && counts_node(demand, spread, slot, node) {
                    let value = board.label(id, &spread.topology_key).unwrap_or_default();
                    *domains.entry(value).or_default() += counts[id];
                }
            }
            let enough = domains.len() >= spread.min_domains as usize;
            let fewest = domains.values().copied().min().unwrap_or(0);
            Rule {
                spread,
                domains,
                fewest: if enough { fewest } else { 0 },
                own: u32::from(selects(spread.selector.as_ref(), class)),
            }
        };
        Self {
            rules: hard.iter().map(rule).collect(),
        }
    }

    /// Whether the pod would make a domain too full.
    pub fn reject(&self, node: &NodeFacts) -> Option<Rejection> {
        self.rules.iter().find_map(|rule| {
            let Some(value) = node.labels.get(&rule.spread.topology_key) else {
                return Some(Rejection::lasting(Reason::SpreadLabel));
            };
            let there = rule.domains.get(value.as_str()).copied().unwrap_or(0);
            let skew = (there + rule.own).saturating_sub(rule.fewest);
            (skew > rule.spread.max_skew).then(|| Rejection::curable(Reason::Spread))
        })
    }
}

/// Points of each of these nodes, none where no constraint applies: fewer pods in its domains are better.
///
/// `like` selects the pods among which a pod without constraints of its own is spread.
pub fn points(
    board: &Board,
    class: &Class,
    like: Option<&Selector>,
    nodes: &[SlotId],
) -> Option<Vec<i64>> {
    let own: Vec<&Spread> = class.traits.demand.spread.iter().collect();
    let default = defaults(like);
    let (wishes, strict): (Vec<&Spread>, bool) = match own.is_empty() {
        true => (default.iter().flatten().collect(), false),
        false => (own.into_iter().filter(|s| !s.hard).collect(), true),
    };
    if wishes.is_empty() {
        return None;
    }
    let has_all = |id: SlotId| {
        let mut keys = wishes.iter().map(|wish| &wish.topology_key);
        keys.all(|key| board.label(id, key).is_some())
    };
    let counts = |id: SlotId| !strict || has_all(id);
    let mut sums: Vec<Option<f64>> = nodes.iter().map(|id| counts(*id).then_some(0.0)).collect();
    for wish in &wishes {
        add(board, class, wish, nodes, &mut sums, &counts);
    }
    Some(normal(&sums))
}

/// Adds what one constraint says of each node that counts.
fn add(
    board: &Board,
    class: &Class,
    wish: &Spread,
    nodes: &[SlotId],
    sums: &mut [Option<f64>],
    counts: &impl Fn(SlotId) -> bool,
) {
    let demand = &class.traits.demand;
    let pods = pods_by_node(board, &class.traits.namespace, wish.selector.as_ref());
    let mut domains = BTreeMap::<&str, u32>::new();
    for (id, sum) in nodes.iter().zip(sums.iter()) {
        if let (Some(value), Some(_)) = (board.label(*id, &wish.topology_key), sum) {
            domains.insert(value, 0);
        }
    }
    for (id, slot, node) in board.present() {
        let value = node.labels.get(&wish.topology_key).map(String::as_str);
        if counts(id)
            && counts_node(demand, wish, slot, node)
            && let Some(count) = value.and_then(|value| domains.get_mut(value))
        {
            *count += pods[id];
        }
    }
    // Many domains have few pods each; their differences must not be lost beside coarser ones.
    let weight = ((domains.len() + 2) as f64).ln();
    for (id, sum) in nodes.iter().zip(sums) {
        let value = board.label(*id, &wish.topology_key);
        if let (Some(sum), Some(count)) = (sum, value.and_then(|value| domains.get(value))) {
            *sum += f64::from(*count) * weight + f64::from(wish.max_skew - 1);
        }
    }
}

/// The lower the better; a node that does not count is worst.
fn normal(sums: &[Option<f64>]) -> Vec<i64> {
    let rounded = sums.iter().map(|sum| sum.map(|sum| sum.round() as i64));
    let rounded: Vec<_> = rounded.collect();
    let highest = rounded.iter().flatten().copied().max().unwrap_or(0);
    let lowest = rounded.iter().flatten().copied().min().unwrap_or(0);
    let points = |sum: &Option<i64>| match sum {
        None => 0,
        Some(_) if highest == 0 => BEST,
        Some(sum) => BEST * (highest + lowest - sum) / highest,
    };
    rounded.iter().map(points).collect()
}

/// What a pod without constraints gets by default: even over nodes, and over zones.
fn defaults(like: Option<&Selector>) -> Option<[Spread; 2]> {
    let like = like.filter(|selector| !selector.is_empty())?;
    let even = |key: &str, max_skew| Spread {
        topology_key: key.to_owned(),
        max_skew,
        hard: false,
        selector: Some(like.clone()),
        min_domains: 1,
        honours_affinity: true,
        honours_taints: false,
    };
    Some([even(HOSTNAME, 3), even(ZONE, 5)])
}

/// Whether pods of a node count for the constraint.
fn counts_node(demand: &Demand, spread: &Spread, slot: &Slot, node: &NodeFacts) -> bool {
    (!spread.honours_affinity || node_affinity::allows(demand, slot, node))
        && (!spread.honours_taints || taints::bears_all(demand, node))
}

fn selects(selector: Option<&Selector>, class: &Class) -> bool {
    selector.is_some_and(|selector| selector.matches(&class.traits.labels))
}

/// Selected pods of a namespace that stay, for each node.
fn pods_by_node(board: &Board, namespace: &str, selector: Option<&Selector>) -> Vec<u32> {
    let mut counts = board.zeros();
    let selected = board
        .standing()
        .filter(|other| other.traits.namespace == namespace && selects(selector, other));
    for class in selected {
        for (slot, count) in &class.on {
            counts[*slot] += count.all - count.leaving;
        }
    }
    counts
}
