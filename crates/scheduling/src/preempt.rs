//! Preemption: which pods have to go so that one of higher priority fits (`DefaultPreemption`).
//!
//! On each node that might take the pod without some of its pods, all pods of lower priority are
//! taken away; if the pod fits then, they are put back one by one, those first whose budget would be
//! violated and then the most important ones, as long as it still fits. Who stays away is a
//! victim. Of these nodes the one is taken where the fewest budgets are violated; then where the most
//! important victim is least important; where their priorities, and then they themselves, are
//! fewest; where the most important victims have begun last; the first by name.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::board::Board;
use crate::choose::Rules;
use crate::class::ClassId;
use crate::refusal::Rejection;

/// A pod on a node that may have to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it is like.
    pub class: ClassId,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// When it began, in any unit: of equal priority who came first is more important.
    pub since: i64,
    /// Budgets that select it, by their place in the list of what they allow.
    pub budgets: Vec<usize>,
}

/// Where room can be made, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The node.
    pub node: String,
    /// Who has to go, by their place among those who stand there.
    pub victims: Vec<usize>,
}

/// Room on one node, and what counts against it.
struct Candidate {
    room: Room,
    violations: usize,
    highest: i32,
    sum: i64,
    /// When the first of the most important victims began.
    since: i64,
}

impl Board {
    /// Where room can be made for a pod of this class among those who stand on nodes, and how;
    /// `allowed` is how many pods each budget lets go.
    ///
    /// # Errors
    /// What keeps the pod from nodes even without all pods of lower priority, counted by node.
    pub fn make_room(
        &mut self,
        class: ClassId,
        standing: &BTreeMap<String, Vec<Standing>>,
        allowed: &[i32],
    ) -> Result<Room, BTreeMap<String, usize>> {
        let mut failing = BTreeMap::new();
        let mut best: Option<Candidate> = None;
        for node in self.curable(class) {
            let pods = standing.get(&node).map_or(&[][..], Vec::as_slice);
            match self.clear(class, &node, pods, allowed) {
                Ok(candidate) => {
                    let better = |best: &Candidate| candidate.cost() < best.cost();
                    if best.as_ref().is_none_or(better) {
                        best = Some(candidate);
                    }
                }
                Err(rejection) => {
                    for reason in rejection.reasons {
                        *failing.entry(reason.text()).or_default() += 1;
                    }
                }
            }
        }
        best.map(|best| best.room).ok_or(failing)
    }

    /// Nodes that might take the pod without some of their pods, of which some are of lower priority.
    fn curable(&self, class: ClassId) -> Vec<String> {
        let class = self.class(class);
        let demand = &*class.traits.demand;
        let rules = Rules::count(self, class);
        let might = self.present().filter(|(_, slot, node)| {
            let rejection = rules.reject(demand, slot, node);
            let mut others = slot.priorities.keys();
            rejection.is_some_and(|rejection| rejection.curable)
                && others.any(|other| *other < demand.priority)
        });
        might.map(|(_, slot, _)| slot.name.clone()).collect()
    }

    /// Who has to go from a node. The board is as before when this is done.
    fn clear(
        &mut self,
        class: ClassId,
        node: &str,
        pods: &[Standing],
        allowed: &[i32],
    ) -> Result<Candidate, Rejection> {
        let priority = |board: &Self, pod: &Standing| board.traits(pod.class).demand.priority;
        let own = self.traits(class).demand.priority;
        let mut lower: Vec<usize> = (0..pods.len()).collect();
        lower.retain(|at| priority(self, &pods[*at]) < own);
        lower.sort_by_key(|at| (Reverse(priority(self, &pods[*at])), pods[*at].since));
        for at in &lower {
            self.take(pods[*at].class, node, pods[*at].leaving);
        }
        let put = |board: &mut Self, at: usize| board.put(pods[at].class, node, pods[at].leaving);
        if let Some(rejection) = self.rejection(class, node) {
            lower.iter().for_each(|at| put(self, *at));
            return Err(rejection);
        }
        let mut left = allowed.to_vec();
        let (violating, others): (Vec<usize>, Vec<usize>) = lower
            .iter()
            .partition(|at| violates(&pods[**at].budgets, &mut left));
        let (mut victims, mut violations) = (Vec::new(), 0);
        for at in violating.iter().chain(&others) {
            put(self, *at);
            if self.rejection(class, node).is_some() {
                self.take(pods[*at].class, node, pods[*at].leaving);
                victims.push(*at);
                violations += usize::from(violating.contains(at));
            }
        }
        victims.iter().for_each(|at| put(self, *at));
        let priorities = victims.iter().map(|at| priority(self, &pods[*at]));
        let highest = priorities.clone().max().unwrap_or(i32::MIN);
        let most = victims.iter().map(|at| &pods[*at]);
        let most = most.filter(|pod| priority(self, pod) == highest);
        Ok(Candidate {
            violations,
            highest,
            // None counts for less than nothing: fewer victims are less.
            sum: priorities
                .map(|one| i64::from(one) - i64::from(i32::MIN))
                .sum(),
            since: most.map(|pod| pod.since).min().unwrap_or(i64::MAX),
            room: Room {
                node: node.to_owned(),
                victims,
            },
        })
    }

    /// Why a node does not take a pod of this class, as things stand.
    fn rejection(&self, class: ClassId, node: &str) -> Option<Rejection> {
        let class = self.class(class);
        let rules = Rules::count(self, class);
        let mut nodes = self.present();
        let (_, slot, node) = nodes.find(|(_, slot, _)| slot.name == node)?;
        rules.reject(&class.traits.demand, slot, node)
    }
}

impl Candidate {
    /// Of two the one with less is better; of equals the first.
    fn cost(&self) -> (usize, i32, i64, usize, Reverse<i64>) {
        let count = self.room.victims.len();
        (
            self.violations,
            self.highest,
            self.sum,
            count,
            Reverse(self.since),
        )
    }
}

/// Whether a budget has nothing left for the pod; it is taken from all of them.
fn violates(budgets: &[usize], left: &mut [i32]) -> bool {
    let mut violates = false;
    for budget in budgets {
        if let Some(left) = left.get_mut(*budget) {
            *left -= 1;
            violates |= *left < 0;
        }
    }
    violates
}
