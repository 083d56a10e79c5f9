//! Boards for tables: nodes by name and labels, pods by what they ask.

use std::collections::BTreeMap;

use sealane_objects::{Demand, PodAffinity, PodTerm, Resources, Selector, Spread};
use sealane_scheduling::{Board, ClassId, NodeFacts, Traits};

pub const HOST: &str = "kubernetes.io/hostname";
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// `a=1,b=2`
pub fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

/// CPU in thousandths.
pub fn cpu(millis: u64) -> Resources {
    Resources {
        cpu_millis: millis,
        ..Resources::default()
    }
}

/// A node of 4 CPUs in a zone.
pub fn node(name: &str, zone: &str) -> NodeFacts {
    NodeFacts {
        labels: labels(&format!("{HOST}={name},{ZONE}={zone}")),
        allocatable: cpu(4000),
        max_pods: Some(110),
        ..NodeFacts::default()
    }
}

/// A board with node-1 and node-2 in zone a, node-3 and node-4 in zone b.
pub fn four_nodes() -> Board {
    let mut board = Board::default();
    for (number, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        let name = format!("node-{number}");
        board.set_node(&name, Some(node(&name, zone)));
    }
    board
}

pub fn pod(board: &mut Board, text: &str, demand: Demand) -> ClassId {
    pod_in(board, "default", text, demand)
}

pub fn pod_in(board: &mut Board, namespace: &str, text: &str, demand: Demand) -> ClassId {
    board.join(Traits {
        namespace: namespace.into(),
        labels: labels(text),
        demand: demand.into(),
    })
}

pub fn selecting(text: &str) -> Selector {
    Selector::of_labels(labels(text))
}

/// Pods of namespace `default` with these labels.
pub fn term(text: &str, key: &str) -> PodTerm {
    PodTerm {
        selector: Some(selecting(text)),
        namespaces: ["default".to_owned()].into(),
        namespace_selector: None,
        topology_key: key.into(),
    }
}

pub fn required(term: PodTerm) -> PodAffinity {
    PodAffinity {
        required: vec![term],
        preferred: Vec::new(),
    }
}

pub fn spread(text: &str, key: &str, max_skew: u32) -> Spread {
    Spread {
        topology_key: key.into(),
        max_skew,
        hard: true,
        selector: Some(selecting(text)),
        min_domains: 1,
        honours_affinity: true,
        honours_taints: false,
    }
}

/// Places pods of a class one after the other; each answer is a node's number, or why not.
pub fn place(board: &mut Board, class: ClassId, count: usize) -> Vec<String> {
    let one = |board: &mut Board| match board.choose(class, None).map(str::to_owned) {
        Ok(node) => {
            board.put(class, &node, false);
            node.trim_start_matches("node-").to_owned()
        }
        Err(refusal) => {
            let text = refusal.to_string();
            text.split(" preemption:")
                .next()
                .unwrap_or_default()
                .to_owned()
        }
    };
    (0..count).map(|_| one(board)).collect()
}
