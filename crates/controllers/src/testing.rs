//! Objects for the tables of this crate's tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use sealane_objects::{ObjectName, Resources};

use crate::view::{NodeView, PodView, Truth};

pub fn name(namespace: &str, name: &str) -> ObjectName {
    ObjectName::new(namespace, name)
}

/// A ready node without a subnet.
pub fn node(uid: &str) -> NodeView {
    NodeView {
        uid: uid.into(),
        version: "1".into(),
        labels: BTreeMap::new(),
        pod_cidrs: Vec::new(),
        unschedulable: false,
        taints: Vec::new(),
        ready: Some(Truth::True),
        heartbeat: None,
        conditions: vec!["Ready".into()],
        allocatable: Resources::default(),
        pressures: Vec::new(),
        max_pods: None,
    }
}

/// A pod without a node.
pub fn pod(uid: &str) -> PodView {
    PodView {
        uid: uid.into(),
        version: "1".into(),
        node: None,
        scheduler: "default-scheduler".into(),
        demand: Arc::default(),
        gated: false,
        deleting: false,
        finished: false,
        refused: None,
        nominated: None,
        facts: Arc::default(),
    }
}
