//! Ports of the node. Plugin NodePorts.

use sealane_objects::Demand;

use crate::board::Slot;
use crate::refusal::{Reason, Rejection};

/// Whether a pod there has a port that this one asks for.
pub fn reject(demand: &Demand, slot: &Slot) -> Option<Rejection> {
    let taken = |port| slot.ports.keys().any(|other| other.conflicts(port));
    let conflict = demand.ports.iter().any(taken);
    conflict.then(|| Rejection::curable(Reason::HostPorts))
}
