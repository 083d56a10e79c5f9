//! All that a pod asks of its place: of the node, of the pods there, and of the pods elsewhere.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;

use crate::{Placement, Resources, Selector};

/// What the choice of a node depends on, besides the pod's namespace and labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// Selector, node affinity and tolerations.
    pub placement: Placement,
    /// Resources that must be free.
    pub requests: Resources,
    /// The same as it counts in comparing nodes, where a container that asks for nothing counts as a small one.
    pub weight: Resources,
    /// Ports of the node.
    pub ports: Vec<HostPort>,
    /// Pods to be near to.
    pub near: PodAffinity,
    /// Pods to be away from.
    pub away: PodAffinity,
    /// How evenly pods are to be spread.
    pub spread: Vec<Spread>,
    /// `.spec.priority`
    pub priority: i32,
    /// Whether it would push pods of lower priority aside: `.spec.preemptionPolicy`.
    pub preempts: bool,
}

/// A port of the node that a container takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct HostPort {
    /// On this address; none: on all.
    pub ip: Option<IpAddr>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The number.
    pub port: u16,
}

/// Affinity, or anti-affinity, to pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct PodAffinity {
    /// All must hold.
    pub required: Vec<PodTerm>,
    /// With weights from 1 to 100.
    pub preferred: Vec<(i32, PodTerm)>,
}

/// Pods, and how near is near.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PodTerm {
    /// Labels of the pods; none selects none.
    pub selector: Option<Selector>,
    /// Their namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// And by the namespaces' labels.
    pub namespace_selector: Option<Selector>,
    /// Nodes with the same value of this label are one place.
    pub topology_key: String,
}

/// A topology spread constraint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Spread {
    /// Nodes with the same value of this label are one domain.
    pub topology_key: String,
    /// By how many pods a domain may exceed the one with the fewest.
    pub max_skew: u32,
    /// `DoNotSchedule`; otherwise it is a wish.
    pub hard: bool,
    /// Pods that count, of the same namespace; none selects none.
    pub selector: Option<Selector>,
    /// With fewer domains than this the fewest counts as 0.
    pub min_domains: u32,
    /// `nodeAffinityPolicy: Honor`: nodes that the pod may not run on do not count.
    pub honours_affinity: bool,
    /// `nodeTaintsPolicy: Honor`: nodes with taints that the pod does not bear do not count.
    pub honours_taints: bool,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            placement: Placement::default(),
            requests: Resources::default(),
            weight: Resources::default(),
            ports: Vec::new(),
            near: PodAffinity::default(),
            away: PodAffinity::default(),
            spread: Vec::new(),
            priority: 0,
            preempts: true,
        }
    }
}

impl HostPort {
    /// Whether the two cannot be had on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let overlap = match (self.ip, other.ip) {
            (Some(one), Some(another)) => one == another,
            _ => true,
        };
        overlap && self.port == other.port && self.protocol == other.protocol
    }
}

impl PodAffinity {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.preferred.is_empty()
    }
}
