//! Cordons and taints. Plugins NodeUnschedulable and TaintToleration.

use sealane_objects::{Demand, Effect, Taint};

use crate::board::NodeFacts;
use crate::refusal::{Reason, Rejection};

const KEEPS_OFF: [Effect; 2] = [Effect::NoSchedule, Effect::NoExecute];

/// Whether a taint keeps the pod off.
pub fn reject(demand: &Demand, node: &NodeFacts) -> Option<Rejection> {
    let placement = &demand.placement;
    if node.cordoned && !placement.bears(&Taint::unschedulable()) {
        return Some(Rejection::lasting(Reason::Cordoned));
    }
    let taint = placement.untolerated(&node.taints, &KEEPS_OFF)?;
    let reason = Reason::Taint(taint.key.clone(), taint.value.clone());
    Some(Rejection::lasting(reason))
}

/// Whether the pod bears all taints that keep pods off.
pub fn bears_all(demand: &Demand, node: &NodeFacts) -> bool {
    demand
        .placement
        .untolerated(&node.taints, &KEEPS_OFF)
        .is_none()
}

/// Taints that ask pods to go elsewhere.
pub fn unwelcome(demand: &Demand, node: &NodeFacts) -> i64 {
    let asks = |taint: &&Taint| taint.effect == Effect::PreferNoSchedule;
    let taints = node.taints.iter().filter(asks);
    taints
        .filter(|taint| !demand.placement.bears(taint))
        .count() as i64
}
