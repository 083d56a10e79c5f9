//! In which order upstreams are asked.

use crate::settings::Policy;

/// What counts when one is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// It has not answered lately.
    pub down: bool,
    /// What it is asked comes back to us.
    pub loops: bool,
}

/// The order in which upstreams are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Numbers of candidates, each once. Those that are down come last; those that loop not at all.
    pub upstreams: Vec<usize>,
    /// All are down. Perhaps it is the probes that fail: they are asked nevertheless, in any order.
    pub all_down: bool,
}

/// Orders upstreams. `turn` counts the queries so far, `random` is any number.
pub fn order(candidates: &[Candidate], policy: Policy, turn: usize, random: u64) -> Order {
    let usable = |down: bool| {
        let fits = move |one: &Candidate| !one.loops && one.down == down;
        let numbered = candidates.iter().enumerate();
        numbered.filter(move |(_, one)| fits(one)).map(|(n, _)| n)
    };
    let mut up: Vec<_> = usable(false).collect();
    let mut down: Vec<_> = usable(true).collect();
    match policy {
        Policy::Random => shuffle(&mut up, random),
        Policy::RoundRobin if up.is_empty() => {}
        Policy::RoundRobin => {
            let first = turn % up.len();
            up.rotate_left(first);
        }
        Policy::Sequential => {}
    }
    shuffle(&mut down, random);
    let all_down = up.is_empty() && !down.is_empty();
    up.append(&mut down);
    Order {
        upstreams: up,
        all_down,
    }
}

/// Any order, by a number: fair enough for the few upstreams that there are.
fn shuffle(items: &mut [usize], mut random: u64) {
    for end in (1..items.len()).rev() {
        let place = (random % (end as u64 + 1)) as usize;
        random /= end as u64 + 1;
        items.swap(end, place);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const UP: Candidate = Candidate {
        down: false,
        loops: false,
    };
    const DOWN: Candidate = Candidate { down: true, ..UP };
    const LOOPS: Candidate = Candidate { loops: true, ..UP };

    fn upstreams(candidates: &[Candidate], policy: Policy, turn: usize) -> Vec<usize> {
        order(candidates, policy, turn, 0).upstreams
    }

    #[test]
    fn sequential_begins_with_the_first_that_is_up() {
        assert_eq!(upstreams(&[UP, UP, UP], Policy::Sequential, 5), [0, 1, 2]);
        assert_eq!(upstreams(&[DOWN, UP, UP], Policy::Sequential, 5), [1, 2, 0]);
    }

    #[test]
    fn round_robin_takes_turns_among_those_that_are_up() {
        let all = [UP, DOWN, UP];
        assert_eq!(upstreams(&all, Policy::RoundRobin, 0), [0, 2, 1]);
        assert_eq!(upstreams(&all, Policy::RoundRobin, 1), [2, 0, 1]);
        assert_eq!(upstreams(&all, Policy::RoundRobin, 2), [0, 2, 1]);
    }

    #[test]
    fn random_takes_every_order() {
        let orders: BTreeSet<_> = (0..100)
            .map(|random| order(&[UP; 3], Policy::Random, 0, random).upstreams)
            .collect();
        assert_eq!(orders.len(), 6);
    }

    #[test]
    fn all_are_asked_when_all_are_down_but_none_that_loops() {
        let order = order(&[DOWN, LOOPS, DOWN], Policy::Sequential, 0, 1);
        assert!(order.all_down);
        assert_eq!(BTreeSet::from_iter(order.upstreams), BTreeSet::from([0, 2]));
        assert_eq!(upstreams(&[LOOPS], Policy::Random, 0), [0usize; 0]);
    }
}
