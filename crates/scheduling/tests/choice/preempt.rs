//! Who has to go for a pod of higher priority.

use std::collections::BTreeMap;

use sealane_objects::Demand;
use sealane_scheduling::{Board, ClassId, NodeFacts, Room, Standing};

use crate::world::{cpu, four_nodes, node, pod};

/// Pods on nodes, by the nodes' numbers.
struct Case {
    board: Board,
    standing: BTreeMap<String, Vec<Standing>>,
}

impl Case {
    fn new() -> Self {
        Self {
            board: four_nodes(),
            standing: BTreeMap::new(),
        }
    }

    fn class(&mut self, millis: u64, priority: i32) -> ClassId {
        let demand = Demand {
            requests: cpu(millis),
            priority,
            ..Demand::default()
        };
        pod(&mut self.board, "", demand)
    }

    fn add(&mut self, node: u32, millis: u64, priority: i32, since: i64, budgets: &[usize]) {
        let class = self.class(millis, priority);
        let name = format!("node-{node}");
        self.board.put(class, &name, false);
        self.standing.entry(name).or_default().push(Standing {
            class,
            leaving: false,
            since,
            budgets: budgets.to_vec(),
        });
    }

    /// All four nodes are full of pods of priority 0, but for those that are said.
    fn full() -> Self {
        let mut case = Self::new();
        for node in 1..=4 {
            case.add(node, 2000, 0, 0, &[]);
        }
        case
    }

    fn ask(&mut self, millis: u64, allowed: &[i32]) -> Result<(String, Vec<usize>), String> {
        let class = self.class(millis, 10);
        let used = ["node-1", "node-2", "node-3", "node-4"].map(|node| self.board.used_on(node));
        let room = self.board.make_room(class, &self.standing, allowed);
        let now = ["node-1", "node-2", "node-3", "node-4"].map(|node| self.board.used_on(node));
        assert_eq!(used, now, "the board is as before");
        room.map(|Room { node, victims }| (node, victims))
            .map_err(|failing| format!("{failing:?}"))
    }
}

fn on(node: &str, victims: &[usize]) -> Result<(String, Vec<usize>), String> {
    Ok((node.to_owned(), victims.to_vec()))
}

#[test]
fn as_few_as_possible_go_and_the_least_important_ones() {
    let mut case = Case::new();
    for node in 1..=4 {
        case.add(node, 3000, 9, 0, &[]);
    }
    case.add(3, 500, 1, 5, &[]);
    case.add(3, 500, 1, 7, &[]);
    // Of two that are alike the one that came last goes.
    assert_eq!(case.ask(500, &[]), on("node-3", &[2]));
    assert_eq!(case.ask(1500, &[]), on("node-1", &[0]));
}

#[test]
fn nodes_are_compared_as_upstream_compares_them() {
    // The most important victim counts first, then the sum, then the number, then the time.
    let mut case = Case::full();
    for (node, priority) in [(1, 5), (2, 3), (3, 5), (4, 4)] {
        case.add(node, 2000, priority, 0, &[]);
    }
    assert_eq!(case.ask(2500, &[]), on("node-2", &[1, 0]));

    let mut case = Case::new();
    for (node, since) in [(1, 8), (2, 9), (3, 10), (4, 9)] {
        case.add(node, 4000, 0, since, &[]);
    }
    assert_eq!(case.ask(4000, &[]), on("node-3", &[0]), "it came last");
}

#[test]
fn budgets_are_kept_where_that_can_be() {
    let mut case = Case::new();
    case.add(1, 4000, 0, 0, &[0]);
    case.add(2, 4000, 0, 0, &[0]);
    case.add(3, 4000, 8, 0, &[1]);
    case.add(4, 4000, 10, 0, &[]);
    assert_eq!(case.ask(1000, &[0, 1]), on("node-3", &[0]));
    assert_eq!(case.ask(1000, &[1, 1]), on("node-1", &[0]));
    // If nothing else helps, they are violated.
    assert_eq!(case.ask(1000, &[0, 0]), on("node-1", &[0]));
}

#[test]
fn where_nothing_helps_nobody_goes() {
    let mut case = Case::full();
    case.add(1, 2000, 10, 0, &[]);
    assert_eq!(case.ask(3000, &[]), on("node-2", &[0]));
    for node in 2..=4 {
        case.add(node, 2000, 10, 0, &[]);
    }
    let failing = case.ask(3000, &[]).unwrap_err();
    assert_eq!(failing, "{\"Insufficient cpu\": 4}");
    let small = NodeFacts {
        allocatable: cpu(100),
        ..node("node-1", "a")
    };
    let mut case = Case::new();
    for number in 1..=4 {
        case.board
            .set_node(&format!("node-{number}"), Some(small.clone()));
    }
    case.add(1, 100, 0, 0, &[]);
    assert_eq!(
        case.ask(3000, &[]).unwrap_err(),
        "{}",
        "more than the whole node"
    );
}
