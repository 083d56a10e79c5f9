//! The choice: nodes that the pod may run on, of these the one with the fewest pods.
//!
//! Of nodes with equally many the first by name is taken, so that the same
//! cluster always gives the same answer. Requests, affinity and taints come
//! later as further reasons to reject and further terms of the order.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::view::{NodeView, PodView, Truth};

/// What the choice needs to know of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    pub labels: BTreeMap<String, String>,
    pub ready: bool,
    pub cordoned: bool,
    pub max_pods: Option<usize>,
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
            max_pods: node.max_pods,
            pods: 0,
        }
    }
}

/// Why a node is out of the question. The text follows `N node(s)`, in kube-scheduler's words where it has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Cordoned,
    NotReady,
    Selector,
    Full,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Self::Cordoned => "were unschedulable",
            Self::NotReady => "were not ready",
            Self::Selector => "didn't match Pod's node affinity/selector",
            Self::Full => "had too many pods",
        }
    }
}

/// Why no node fits: how many nodes there are, and how many fail for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasons {
    nodes: usize,
    failing: BTreeMap<Reason, usize>,
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
        write!(
            f,
            "0/{} nodes are available: {}.",
            self.nodes,
            parts.join(", ")
        )
    }
}

/// The node for a pod.
///
/// # Errors
/// The reasons, when no node fits.
pub fn choose(pod: &PodView, nodes: &BTreeMap<String, Candidate>) -> Result<String, Reasons> {
    let mut failing = BTreeMap::new();
    let mut best: Option<(usize, &String)> = None;
    for (name, node) in nodes {
        match reject(pod, node) {
            Some(reason) => *failing.entry(reason).or_default() += 1,
            None if best.is_none_or(|(fewest, _)| node.pods < fewest) => {
                best = Some((node.pods, name));
            }
            None => {}
        }
    }
    best.map(|(_, name)| name.clone()).ok_or(Reasons {
        nodes: nodes.len(),
        failing,
    })
}

/// The first reason that counts: what a person has ordered, what is broken, what the pod asks for, what is used up.
fn reject(pod: &PodView, node: &Candidate) -> Option<Reason> {
    let matches = |(key, value)| node.labels.get(key) == Some(value);
    if node.cordoned {
        Some(Reason::Cordoned)
    } else if !node.ready {
        Some(Reason::NotReady)
    } else if !pod.node_selector.iter().all(matches) {
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
    use crate::testing::pod;

    fn candidate(pods: usize) -> Candidate {
        Candidate {
            labels: BTreeMap::from([("zone".into(), "a".into())]),
            ready: true,
            cordoned: false,
            max_pods: None,
            pods,
        }
    }

    fn nodes(list: Vec<(&str, Candidate)>) -> BTreeMap<String, Candidate> {
        list.into_iter()
            .map(|(name, c)| (name.to_owned(), c))
            .collect()
    }

    fn selecting(key: &str, value: &str) -> PodView {
        PodView {
            node_selector: BTreeMap::from([(key.into(), value.into())]),
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
}
