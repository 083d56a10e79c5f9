//! Nearness of other pods. Plugin InterPodAffinity.
//!
//! Anti-affinity counts in both directions: a pod that stands already keeps
//! away those that it does not want near, and preferences of both sides are added up.

use std::collections::{BTreeMap, BTreeSet};

use sealane_objects::{PodAffinity, PodTerm};

use crate::board::{Board, NodeFacts};
use crate::class::{Class, Count, SlotId, Traits};
use crate::normal;
use crate::refusal::{Reason, Rejection};

/// What a standing pod's required affinity adds to the points of places near it, as in kube-scheduler.
const STANDING_WEIGHT: i64 = 1;

/// Values of topology labels, by label.
type Places<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// What the other pods mean for one pod.
pub struct Rules<'a> {
    /// For each required term the label and its values where such pods are.
    near: Vec<(&'a str, BTreeSet<&'a str>)>,
    /// No pod at all is as the terms want it, but this one is: the first of its kind may stand anywhere.
    first: bool,
    away: Places<'a>,
    /// Where standing pods do not want it.
    kept_away: Places<'a>,
}

impl<'a> Rules<'a> {
    /// Looks at all classes that stand somewhere.
    pub fn count(board: &'a Board, class: &'a Class) -> Self {
        let demand = &class.traits.demand;
        let (near, away) = (&demand.near.required, &demand.away.required);
        let mut rules = Self {
            near: near
                .iter()
                .map(|term| (&*term.topology_key, BTreeSet::new()))
                .collect(),
            first: false,
            away: Places::new(),
            kept_away: Places::new(),
        };
        for other in board.standing() {
            rules.hear(board, class, other);
            if !near.is_empty() && all_match(board, near, &other.traits) {
                for (key, values) in &mut rules.near {
                    values.extend(places(board, other, key));
                }
            }
            for term in away
                .iter()
                .filter(|term| matches(board, term, &other.traits))
            {
                add(&mut rules.away, board, other, &term.topology_key);
            }
        }
        let nobody = rules.near.iter().all(|(_, values)| values.is_empty());
        rules.first = nobody && all_match(board, near, &class.traits);
        rules
    }

    /// What a standing class says of pods like ours.
    fn hear(&mut self, board: &'a Board, class: &Class, other: &'a Class) {
        for term in &other.traits.demand.away.required {
            if matches(board, term, &class.traits) {
                add(&mut self.kept_away, board, other, &term.topology_key);
            }
        }
    }

    /// Whether a node is too far from some pods, or too near to others.
    pub fn reject(&self, node: &NodeFacts) -> Option<Rejection> {
        let near = |(key, values): &(&str, BTreeSet<&str>)| {
            let value = node.labels.get(*key);
            value.is_some_and(|value| self.first || values.contains(value.as_str()))
        };
        let touches = |places: &Places<'_>| {
            places.iter().any(|(key, values)| {
                let value = node.labels.get(*key);
                value.is_some_and(|value| values.contains(value.as_str()))
            })
        };
        if !self.near.iter().all(near) {
            Some(Rejection::lasting(Reason::Near))
        } else if touches(&self.away) {
            Some(Rejection::curable(Reason::Away))
        } else if touches(&self.kept_away) {
            Some(Rejection::curable(Reason::KeptAway))
        } else {
            None
        }
    }
}

/// Points of each of these nodes; none when nobody prefers anything.
pub fn points(board: &Board, class: &Class, nodes: &[SlotId]) -> Option<Vec<i64>> {
    let mut weights = Weights::new();
    let own = &class.traits.demand;
    let silent = own.near.preferred.is_empty() && own.away.preferred.is_empty();
    for other in board.standing() {
        let theirs = &other.traits.demand;
        if silent && theirs.near.is_empty() && theirs.away.preferred.is_empty() {
            continue;
        }
        let mut weigh = |term: &PodTerm, about: &Traits, weight: i64| {
            if matches(board, term, about) {
                weights.add(board, other, &term.topology_key, weight);
            }
        };
        // What we think of them, then what they think of us.
        preferences(&own.near, &own.away, |term, weight| {
            weigh(term, &other.traits, weight);
        });
        preferences(&theirs.near, &theirs.away, |term, weight| {
            weigh(term, &class.traits, weight);
        });
        for term in &theirs.near.required {
            weigh(term, &class.traits, STANDING_WEIGHT);
        }
    }
    let points = nodes.iter().map(|id| weights.of(board, *id));
    (!weights.all.is_empty()).then(|| normal::stretched(points.collect()))
}

fn preferences(near: &PodAffinity, away: &PodAffinity, mut each: impl FnMut(&PodTerm, i64)) {
    for (weight, term) in &near.preferred {
        each(term, i64::from(*weight));
    }
    for (weight, term) in &away.preferred {
        each(term, -i64::from(*weight));
    }
}

/// Points of places, by label and value.
struct Weights<'a> {
    all: BTreeMap<String, BTreeMap<&'a str, i64>>,
}

impl<'a> Weights<'a> {
    fn new() -> Self {
        Self {
            all: BTreeMap::new(),
        }
    }

    fn add(&mut self, board: &'a Board, other: &Class, key: &str, weight: i64) {
        let places = self.all.entry(key.to_owned()).or_default();
        for (slot, Count { all, .. }) in &other.on {
            if let Some(value) = board.label(*slot, key) {
                *places.entry(value).or_default() += weight * i64::from(*all);
            }
        }
    }

    fn of(&self, board: &Board, slot: SlotId) -> i64 {
        let points = self.all.iter().map(|(key, places)| {
            let value = board.label(slot, key);
            value.and_then(|value| places.get(value)).copied()
        });
        points.flatten().sum()
    }
}

fn add<'a>(places_of: &mut Places<'a>, board: &'a Board, class: &Class, key: &'a str) {
    let values = places_of.entry(key).or_default();
    values.extend(places(board, class, key));
}

/// The values of a label where pods of a class stand.
fn places<'a>(board: &'a Board, class: &Class, key: &str) -> impl Iterator<Item = &'a str> {
    class
        .on
        .keys()
        .filter_map(move |slot| board.label(*slot, key))
}

fn all_match(board: &Board, terms: &[PodTerm], pod: &Traits) -> bool {
    terms.iter().all(|term| matches(board, term, pod))
}

fn matches(board: &Board, term: &PodTerm, pod: &Traits) -> bool {
    let by_labels = |selector: &sealane_objects::Selector| {
        let labels = board.namespace_labels(&pod.namespace);
        labels.is_some_and(|labels| selector.matches(labels))
    };
    let here = term.namespaces.contains(&pod.namespace)
        || term.namespace_selector.as_ref().is_some_and(by_labels);
    let selector = term.selector.as_ref();
    here && selector.is_some_and(|selector| selector.matches(&pod.labels))
}
