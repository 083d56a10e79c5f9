//! Resources. Plugins NodeResourcesFit (least allocated) and NodeResourcesBalancedAllocation.

use sealane_objects::{Demand, Resources};

use crate::board::{NodeFacts, Slot};
use crate::normal::BEST;
use crate::refusal::{Reason, Rejection};

/// A resource of which a node has too little free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// `cpu`, `memory`, `pods`, …
    pub resource: String,
    /// What the pod asks for; CPU in thousandths.
    pub requested: u64,
    /// What the pods there ask for.
    pub used: u64,
    /// What the node has for pods.
    pub capacity: u64,
}

/// What is missing for one more pod; a resource that the pod does not ask for is never missing.
pub fn shortages(
    requests: &Resources,
    used: (&Resources, usize),
    node: (&Resources, Option<usize>),
) -> Vec<Shortage> {
    let pods = node.1.filter(|most| used.1 >= *most).map(|most| Shortage {
        resource: "pods".to_owned(),
        requested: 1,
        used: used.1 as u64,
        capacity: most as u64,
    });
    let short = requests.iter().filter_map(|(name, requested)| {
        let (used, capacity) = (used.0.get(name), node.0.get(name));
        let fits = used.saturating_add(requested) <= capacity;
        (requested > 0 && !fits).then(|| Shortage {
            resource: name.to_owned(),
            requested,
            used,
            capacity,
        })
    });
    pods.into_iter().chain(short).collect()
}

/// Whether the pod does not fit, and what is missing.
pub fn reject(demand: &Demand, slot: &Slot, node: &NodeFacts) -> Option<Rejection> {
    let missing = shortages(
        &demand.requests,
        (&slot.used, slot.pods),
        (&node.allocatable, node.max_pods),
    );
    if missing.is_empty() {
        return None;
    }
    // What the whole node does not have, no pod could make free.
    let curable = missing
        .iter()
        .all(|short| short.requested <= short.capacity);
    let reasons = missing.into_iter().map(|short| match &*short.resource {
        "pods" => Reason::TooManyPods,
        _ => Reason::Insufficient(short.resource),
    });
    Some(Rejection {
        reasons: reasons.collect(),
        curable,
    })
}

/// How much of the node would stay free.
pub fn free(demand: &Demand, slot: &Slot, node: &NodeFacts) -> i64 {
    let share = |used: u64, asked: u64, all: u64| {
        let left = all.saturating_sub(used.saturating_add(asked));
        (all > 0).then(|| (u128::from(left) * BEST as u128 / u128::from(all)) as i64)
    };
    let (used, asked, all) = (&slot.weight, &demand.weight, &node.allocatable);
    let shares = [
        share(used.cpu_millis, asked.cpu_millis, all.cpu_millis),
        share(used.memory_bytes, asked.memory_bytes, all.memory_bytes),
    ];
    let known: Vec<i64> = shares.into_iter().flatten().collect();
    match known.len() {
        0 => 0,
        count => known.iter().sum::<i64>() / count as i64,
    }
}

/// How evenly CPU and memory would be used. A pod that asks for nothing changes neither.
pub fn balance(demand: &Demand, slot: &Slot, node: &NodeFacts) -> i64 {
    let (asked, used, all) = (&demand.requests, &slot.used, &node.allocatable);
    if asked.cpu_millis == 0 && asked.memory_bytes == 0 {
        return 0;
    }
    let share = |used: u64, asked: u64, all: u64| match all {
        0 => 0.0,
        all => (used.saturating_add(asked) as f64 / all as f64).min(1.0),
    };
    let cpu = share(used.cpu_millis, asked.cpu_millis, all.cpu_millis);
    let memory = share(used.memory_bytes, asked.memory_bytes, all.memory_bytes);
    // The standard deviation of two numbers is half their distance.
    ((1.0 - (cpu - memory).abs() / 2.0) * BEST as f64) as i64
}
