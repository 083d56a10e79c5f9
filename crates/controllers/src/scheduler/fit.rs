//! The choice: nodes that the pod may run on, of these the one with the fewest pods.
//!
//! Of nodes with equally many the first by name is taken, so that the same
//! cluster always gives the same answer. Selector, required node affinity,
//! taints and the number of pods decide; requests, affinity to pods and
//! spreading come later as further reasons to reject and further terms of the
//! order.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use sealane_ipam::Pool;
use sealane_objects::{Effect, Taint};
use serde::Serialize;

use crate::view::{NodeView, PodView, Truth};

/// What the choice needs to know of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    pub labels: BTreeMap<String, String>,
    pub ready: bool,
    pub cordoned: bool,
    pub taints: Vec<Taint>,
    pub max_pods: Option<usize>,
    /// The pod subnet, where it is what limits the pods.
    pub limited_by: Option<IpNet>,
    /// Pods that take up a place there.
    pub pods: usize,
}

impl Candidate {
    /// A node with no pods on it.
    pub fn of(node: &NodeView) -> Self {
        Self {
            labels: node.labels.clone(),
            ready: node.ready == Some(Truth::True),
            cordoned: node.unschedulable,
            taints: node.taints.clone(),
            max_pods: node.max_pods,
            limited_by: limiting_subnet(node),
            pods: 0,
        }
    }
}

/// The subnet with as few addresses as the node says that it takes pods.
fn limiting_subnet(node: &NodeView) -> Option<IpNet> {
    let most = node.max_pods? as u128;
    let room = |subnet: &IpNet| Pool::new(*subnet, []).map_or(0, |pool| pool.size());
    let mut subnets = node.pod_cidrs.iter().copied();
    subnets.find(|subnet| room(subnet) <= most)
}

/// Why a node is out of the question. The text follows `N node(s)`, in kube-scheduler's words where it has some.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Cordoned,
    NotReady,
    /// By key and value.
    Taint(String, String),
    Selector,
    Full,
}

impl Reason {
    fn text(&self) -> String {
        match self {
            Self::Cordoned => "were unschedulable".into(),
            Self::NotReady => "were not ready".into(),
            Self::Taint(key, value) => format!("had untolerated taint {{{key}: {value}}}"),
            Self::Selector => "didn't match Pod's node affinity/selector".into(),
            Self::Full => "had too many pods".into(),
        }
    }
}

/// Why no node fits: how many nodes there are, and how many fail for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasons {
    nodes: usize,
    failing: BTreeMap<Reason, usize>,
    /// What is full, of the first full node.
    full: Option<String>,
}

impl fmt::Display for Reasons {
    /// `0/3 nodes are available: 1 node(s) were not ready, 2 node(s) were unschedulable.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return write!(f, "no nodes available to schedule pods");
        }
        let mut parts: Vec<_> = self
            .failing
            .iter()
            .map(|(reason, count)| format!("{count} node(s) {}", reason.text()))
            .collect();
        parts.sort();
        let parts = parts.join(", ");
        write!(f, "0/{} nodes are available: {parts}.", self.nodes)?;
        match &self.full {
            Some(full) => write!(f, " {full}"),
            None => Ok(()),
        }
    }
}

/// The node for a pod.
///
/// # Errors
/// The reasons, when no node fits.
pub fn choose(pod: &PodView, nodes: &BTreeMap<String, Candidate>) -> Result<String, Reasons> {
    let mut failing = BTreeMap::new();
    let mut full = None;
    let mut best: Option<(usize, &String)> = None;
    for (name, node) in nodes {
        match reject(pod, name, node) {
            Some(reason) => {
                if reason == Reason::Full && full.is_none() {
                    full = describe_full(name, node);
                }
                *failing.entry(reason).or_default() += 1;
            }
            None if best.is_none_or(|(fewest, _)| node.pods < fewest) => {
                best = Some((node.pods, name));
            }
            None => {}
        }
    }
    best.map(|(_, name)| name.clone()).ok_or(Reasons {
        nodes: nodes.len(),
        failing,
        full,
    })
}

/// `node-1 has 5 pods, as many as subnet 10.77.0.0/29 has addresses for.`
fn describe_full(name: &str, node: &Candidate) -> Option<String> {
    let (pods, subnet) = (node.pods, node.limited_by?);
    Some(format!(
        "{name} has {pods} pods, as many as subnet {subnet} has addresses for."
    ))
}

/// The first reason that counts: what a person has ordered, what is broken, what the pod asks for, what is used up.
fn reject(pod: &PodView, name: &str, node: &Candidate) -> Option<Reason> {
    let placement = &pod.demand.placement;
    let keeps_off = [Effect::NoSchedule, Effect::NoExecute];
    let cordon = [Taint::unschedulable()];
    if node.cordoned && placement.untolerated(&cordon, &keeps_off).is_some() {
        Some(Reason::Cordoned)
    } else if !node.ready {
        Some(Reason::NotReady)
    } else if let Some(taint) = placement.untolerated(&node.taints, &keeps_off) {
        Some(Reason::Taint(taint.key.clone(), taint.value.clone()))
    } else if !placement.allows(name, &node.labels) {
        Some(Reason::Selector)
    } else if node.max_pods.is_some_and(|most| node.pods >= most) {
        Some(Reason::Full)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};
    use sealane_objects::{Demand, Placement, Toleration};

    fn candidate(pods: usize) -> Candidate {
        Candidate {
            labels: BTreeMap::from([("zone".into(), "a".into())]),
            ready: true,
            cordoned: false,
            taints: Vec::new(),
            max_pods: None,
            limited_by: None,
            pods,
        }
    }

    fn nodes(list: Vec<(&str, Candidate)>) -> BTreeMap<String, Candidate> {
        list.into_iter()
            .map(|(name, c)| (name.to_owned(), c))
            .collect()
    }

    fn selecting(key: &str, value: &str) -> PodView {
        let placement = Placement {
            selector: BTreeMap::from([(key.into(), value.into())]),
            ..Placement::default()
        };
        PodView {
            demand: Demand {
                placement,
                ..Demand::default()
            }
            .into(),
            ..pod("u")
        }
    }

    #[test]
    fn the_node_with_the_fewest_pods_and_of_equals_the_first() {
        let cases = [
            (vec![("a", candidate(2)), ("b", candidate(1))], "b"),
            (vec![("a", candidate(1)), ("b", candidate(1))], "a"),
            (
                vec![
                    (
                        "a",
                        Candidate {
                            cordoned: true,
                            ..candidate(0)
                        },
                    ),
                    ("b", candidate(9)),
                ],
                "b",
            ),
            (
                vec![
                    (
                        "a",
                        Candidate {
                            ready: false,
                            ..candidate(0)
                        },
                    ),
                    ("b", candidate(9)),
                ],
                "b",
            ),
            (
                vec![
                    (
                        "a",
                        Candidate {
                            max_pods: Some(3),
                            ..candidate(3)
                        },
                    ),
                    ("b", candidate(9)),
                ],
                "b",
            ),
            (
                vec![
                    (
                        "a",
                        Candidate {
                            max_pods: Some(3),
                            ..candidate(2)
                        },
                    ),
                    ("b", candidate(9)),
                ],
                "a",
            ),
        ];
        for (list, expected) in cases {
            assert_eq!(choose(&pod("u"), &nodes(list)).unwrap(), expected);
        }
    }

    #[test]
    fn every_label_of_the_selector_must_match() {
        let b = Candidate {
            labels: BTreeMap::from([("zone".into(), "b".into())]),
            ..candidate(5)
        };
        let list = nodes(vec![("a", candidate(0)), ("b", b)]);
        assert_eq!(choose(&selecting("zone", "b"), &list).unwrap(), "b");
        assert!(choose(&selecting("zone", "c"), &list).is_err());
        assert!(choose(&selecting("disk", "b"), &list).is_err());
    }

    #[test]
    fn a_taint_keeps_off_who_does_not_bear_it() {
        let taint = Taint {
            key: "dedicated".into(),
            value: "db".into(),
            effect: Effect::NoSchedule,
        };
        let tainted = Candidate {
            taints: vec![taint],
            ..candidate(0)
        };
        let list = nodes(vec![("a", tainted)]);
        assert_eq!(
            choose(&pod("u"), &list).unwrap_err().to_string(),
            "0/1 nodes are available: 1 node(s) had untolerated taint {dedicated: db}."
        );
        let bearing = Placement {
            tolerations: vec![Toleration {
                exists: true,
                ..Toleration::default()
            }],
            ..Placement::default()
        };
        let bearing = PodView {
            demand: Demand {
                placement: bearing,
                ..Demand::default()
            }
            .into(),
            ..pod("u")
        };
        assert_eq!(choose(&bearing, &list).unwrap(), "a");
    }

    #[test]
    fn says_why_in_words_that_users_know() {
        let text = |list| {
            choose(&selecting("zone", "b"), &nodes(list))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(text(vec![]), "no nodes available to schedule pods");
        assert_eq!(
            text(vec![
                ("a", candidate(0)),
                (
                    "b",
                    Candidate {
                        cordoned: true,
                        ..candidate(0)
                    }
                ),
                (
                    "c",
                    Candidate {
                        ready: false,
                        ..candidate(0)
                    }
                ),
                ("d", candidate(0)),
            ]),
            "0/4 nodes are available: 1 node(s) were not ready, 1 node(s) were unschedulable, \
             2 node(s) didn't match Pod's node affinity/selector."
        );
    }

    #[test]
    fn a_node_whose_subnet_is_used_up_is_told_from_one_that_takes_no_more() {
        let small = |max_pods| NodeView {
            max_pods: Some(max_pods),
            pod_cidrs: vec!["10.77.0.0/29".parse().unwrap()],
            ..node("n")
        };
        let text = |max_pods| {
            let full = Candidate {
                pods: max_pods,
                ..Candidate::of(&small(max_pods))
            };
            let list = nodes(vec![("node-1", full)]);
            choose(&pod("u"), &list).unwrap_err().to_string()
        };
        assert_eq!(
            text(5),
            "0/1 nodes are available: 1 node(s) had too many pods. \
             node-1 has 5 pods, as many as subnet 10.77.0.0/29 has addresses for."
        );
        assert_eq!(
            text(4),
            "0/1 nodes are available: 1 node(s) had too many pods."
        );
    }
}
