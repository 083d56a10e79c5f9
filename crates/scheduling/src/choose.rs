//! The choice: rules first, then wishes among the nodes that are left.

use std::cmp::Reverse;

use sealane_objects::{Demand, Selector};

use crate::board::{Board, NodeFacts, Slot};
use crate::class::{Class, ClassId, SlotId};
use crate::refusal::{Reason, Refusal, Rejection};
use crate::{host_ports, node_affinity, normal, pod_affinity, room, spread, taints};

/// The rules that a pod is under, with all that they depend on counted.
pub(crate) struct Rules<'a> {
    spread: spread::Rules<'a>,
    pods: pod_affinity::Rules<'a>,
}

impl<'a> Rules<'a> {
    pub(crate) fn count(board: &'a Board, class: &'a Class) -> Self {
        Self {
            spread: spread::Rules::count(board, class),
            pods: pod_affinity::Rules::count(board, class),
        }
    }

    /// The answer of the first rule that a node fails, in kube-scheduler's order.
    pub(crate) fn reject(
        &self,
        demand: &Demand,
        slot: &Slot,
        node: &NodeFacts,
    ) -> Option<Rejection> {
        taints::reject(demand, node)
            .or_else(|| node_affinity::reject(demand, slot, node))
            .or_else(|| host_ports::reject(demand, slot))
            .or_else(|| room::reject(demand, slot, node))
            .or_else(|| self.spread.reject(node))
            .or_else(|| self.pods.reject(node))
    }
}

impl Board {
    /// The node for a pod of this class; `like` selects the pods among which it is spread by default.
    ///
    /// # Errors
    /// Why there is none.
    pub fn choose(&self, class: ClassId, like: Option<&Selector>) -> Result<&str, Refusal> {
        let class = self.class(class);
        let demand = &*class.traits.demand;
        let rules = Rules::count(self, class);
        let mut refusal = Refusal::new(demand.preempts);
        let mut fitting: Vec<(SlotId, &Slot, &NodeFacts)> = Vec::new();
        for (id, slot, node) in self.present() {
            match rules.reject(demand, slot, node) {
                None => fitting.push((id, slot, node)),
                Some(rejection) => refuse(&mut refusal, demand, slot, node, rejection),
            }
        }
        let ids: Vec<SlotId> = fitting.iter().map(|(id, ..)| *id).collect();
        let points = match fitting.len() {
            0 | 1 => vec![0; fitting.len()],
            _ => {
                let mut points = own_points(demand, &fitting);
                add(&mut points, 2, pod_affinity::points(self, class, &ids));
                add(&mut points, 2, spread::points(self, class, like, &ids));
                points
            }
        };
        let best = fitting
            .iter()
            .zip(points)
            .max_by_key(|((_, slot, _), points)| {
                (*points, Reverse(slot.pods), Reverse(&slot.name))
            });
        best.map(|((_, slot, _), _)| slot.name.as_str())
            .ok_or(refusal)
    }
}

/// Points by what is known of each node alone.
fn own_points(demand: &Demand, nodes: &[(SlotId, &Slot, &NodeFacts)]) -> Vec<i64> {
    let each = |wish: &dyn Fn(&Slot, &NodeFacts) -> i64| {
        nodes
            .iter()
            .map(|(_, slot, node)| wish(slot, node))
            .collect::<Vec<_>>()
    };
    let mut points =
        each(&|slot, node| room::free(demand, slot, node) + room::balance(demand, slot, node));
    let preferred = each(&|slot, node| node_affinity::preference(demand, slot, node));
    add(&mut points, 2, Some(normal::by_highest(preferred)));
    let unwelcome = each(&|_, node| taints::unwelcome(demand, node));
    add(&mut points, 3, Some(normal::fewest(unwelcome)));
    points
}

fn add(points: &mut [i64], weight: i64, more: Option<Vec<i64>>) {
    for (sum, more) in points.iter_mut().zip(more.into_iter().flatten()) {
        *sum += weight * more;
    }
}

fn refuse(refusal: &mut Refusal, demand: &Demand, slot: &Slot, node: &NodeFacts, why: Rejection) {
    if why.reasons.contains(&Reason::TooManyPods)
        && let Some(limit) = &node.limited_by
    {
        refusal.note(|| format!("{} has {} pods, as many as {limit}.", slot.name, slot.pods));
    }
    let lower = slot.priorities.keys().any(|other| *other < demand.priority);
    refusal.add(why, lower);
}
