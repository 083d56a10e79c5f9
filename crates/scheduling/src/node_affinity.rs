//! Node selector and node affinity. Plugin NodeAffinity.

use sealane_objects::Demand;

use crate::board::{NodeFacts, Slot};
use crate::refusal::{Reason, Rejection};

/// Whether the pod may not run on this node.
pub fn reject(demand: &Demand, slot: &Slot, node: &NodeFacts) -> Option<Rejection> {
    let named = demand.placement.only_node();
    if named.is_some_and(|name| name != slot.name) {
        return Some(Rejection::lasting(Reason::NotNamed));
    }
    (!allows(demand, slot, node)).then(|| Rejection::lasting(Reason::NodeAffinity))
}

/// Whether selector and required affinity let the pod run there.
pub fn allows(demand: &Demand, slot: &Slot, node: &NodeFacts) -> bool {
    demand.placement.allows(&slot.name, &node.labels)
}

/// Weights of the preferences that the node satisfies.
pub fn preference(demand: &Demand, slot: &Slot, node: &NodeFacts) -> i64 {
    let preferred = demand.placement.preferred.iter();
    let held = preferred.filter(|(_, term)| term.holds(&slot.name, &node.labels));
    held.map(|(weight, _)| i64::from(*weight)).sum()
}
