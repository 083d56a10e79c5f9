use super::*;
use crate::testing::{name, node};

const V4: &str = "10.244.0.0/16";

fn subnets(cuts: &[(&str, u8)]) -> Subnets {
    let cut = |&(range, mask): &(&str, u8)| Cut {
        range: range.parse().unwrap(),
        mask,
    };
    Subnets::new(cuts.iter().map(cut).collect()).unwrap()
}

fn with_cidrs(uid: &str, cidrs: &[&str]) -> NodeView {
    NodeView {
        pod_cidrs: cidrs.iter().map(|c| c.parse().unwrap()).collect(),
        ..node(uid)
    }
}

fn run(controller: &mut Subnets, input: Input) -> Vec<Action> {
    let mut actions = Vec::new();
    controller.handle(&input, Instant::now(), &mut actions);
    actions
}

fn reset(controller: &mut Subnets, nodes: Vec<(&str, NodeView)>) -> Vec<Action> {
    let all = nodes
        .into_iter()
        .map(|(n, view)| (name("", n), view))
        .collect();
    run(controller, Input::Nodes(Change::Reset(all)))
}

fn apply(controller: &mut Subnets, node: &str, view: NodeView) -> Vec<Action> {
    run(
        controller,
        Input::Nodes(Change::Applied(name("", node), view)),
    )
}

fn delete(controller: &mut Subnets, node: &str) -> Vec<Action> {
    let last = with_cidrs("gone", &[]);
    run(
        controller,
        Input::Nodes(Change::Deleted(name("", node), last)),
    )
}

fn texts(actions: &[Action]) -> Vec<String> {
    actions.iter().map(ToString::to_string).collect()
}

#[test]
fn a_new_node_gets_one_of_each_family_and_only_once() {
    let mut controller = subnets(&[(V4, 24), ("fd00:10:244::/56", 64)]);
    assert!(reset(&mut controller, vec![]).is_empty());
    let actions = apply(&mut controller, "node-a", node("u1"));
    assert_eq!(
        texts(&actions),
        ["give node node-a pod subnets 10.244.0.0/24,fd00:10:244::/64"]
    );
    assert!(
        apply(&mut controller, "node-a", node("u1")).is_empty(),
        "still on its way"
    );
    let echo = with_cidrs("u1", &["10.244.0.0/24", "fd00:10:244::/64"]);
    assert!(apply(&mut controller, "node-a", echo).is_empty());
    assert_eq!(
        texts(&apply(&mut controller, "node-b", node("u2"))),
        ["give node node-b pod subnets 10.244.1.0/24,fd00:10:244:1::/64"]
    );
}

#[test]
fn after_a_restart_what_nodes_have_is_taken() {
    let mut controller = subnets(&[(V4, 24)]);
    let actions = reset(
        &mut controller,
        vec![
            ("node-a", with_cidrs("u1", &["10.244.0.0/24"])),
            ("node-b", node("u2")),
            // Not of our making: a larger one, and one from elsewhere.
            ("node-c", with_cidrs("u3", &["10.244.2.0/23"])),
            ("node-d", with_cidrs("u4", &["192.168.7.0/24"])),
            ("node-e", node("u5")),
        ],
    );
    assert_eq!(
        texts(&actions),
        [
            "give node node-b pod subnets 10.244.1.0/24",
            "give node node-e pod subnets 10.244.4.0/24",
        ]
    );
}

#[test]
fn a_node_without_a_subnet_is_told_and_served_when_one_is_free() {
    let mut controller = subnets(&[("10.244.0.0/23", 24)]);
    reset(&mut controller, vec![]);
    apply(&mut controller, "node-a", node("u1"));
    apply(&mut controller, "node-b", node("u2"));
    let actions = apply(&mut controller, "node-c", node("u3"));
    let [
        Action::Tell {
            about,
            reason,
            message,
            ..
        },
    ] = actions.as_slice()
    else {
        panic!("{actions:?}");
    };
    assert_eq!(
        *about,
        About::Node {
            name: "node-c".into(),
            uid: "u3".into()
        }
    );
    assert_eq!(*reason, "CIDRNotAvailable");
    assert!(
        message
            .starts_with("node node-c gets no pod subnet: cluster range 10.244.0.0/23 is used up"),
        "{message}"
    );
    assert!(
        apply(&mut controller, "node-c", node("u3")).is_empty(),
        "told once"
    );
    assert_eq!(
        texts(&delete(&mut controller, "node-a")),
        ["give node node-c pod subnets 10.244.0.0/24"]
    );
}

#[test]
fn when_one_family_is_used_up_the_other_loses_nothing() {
    let mut controller = subnets(&[(V4, 24), ("fd00::/64", 64)]);
    reset(&mut controller, vec![]);
    apply(&mut controller, "node-a", node("u1"));
    assert!(matches!(
        apply(&mut controller, "node-b", node("u2")).as_slice(),
        [Action::Tell { .. }]
    ));
    assert_eq!(controller.allocators[0].taken(), 1);
}

#[test]
fn a_node_made_again_under_its_name_is_another_node() {
    let mut controller = subnets(&[(V4, 24)]);
    reset(
        &mut controller,
        vec![("node-a", with_cidrs("u1", &["10.244.0.0/24"]))],
    );
    let actions = apply(&mut controller, "node-a", node("u2"));
    assert_eq!(
        texts(&actions),
        ["give node node-a pod subnets 10.244.0.0/24"]
    );
}

#[test]
fn a_gap_in_the_watch_does_not_assign_twice() {
    let mut controller = subnets(&[(V4, 24)]);
    assert_eq!(
        reset(&mut controller, vec![("node-a", node("u1"))]).len(),
        1
    );
    assert!(reset(&mut controller, vec![("node-a", node("u1"))]).is_empty());
    assert_eq!(
        reset(&mut controller, vec![("node-a", node("another"))]).len(),
        1
    );
}

#[test]
fn an_assignment_that_fails_gives_its_subnets_back() {
    let cases = [
        (Outcome::Done, 1, 0),
        (Outcome::Gone, 0, 0),
        (Outcome::Outdated, 0, 1),
        (Outcome::Refused("no".into()), 0, 1),
    ];
    for (outcome, taken, retried) in cases {
        let mut controller = subnets(&[(V4, 24)]);
        let assigned = reset(&mut controller, vec![("node-a", node("u1"))]);
        let now = Instant::now();
        let ended = Input::Ended(assigned[0].clone(), outcome.clone());
        controller.handle(&ended, now, &mut Vec::new());
        assert_eq!(controller.allocators[0].taken(), taken, "{outcome:?}");
        let mut again = Vec::new();
        controller.handle(&Input::Tick, now, &mut again);
        assert!(again.is_empty(), "not before the pause is over");
        controller.handle(&Input::Tick, now + REFUSED_PAUSE, &mut again);
        assert_eq!(again.len(), retried, "{outcome:?}");
    }
}

#[test]
fn without_ranges_nothing_is_assigned() {
    let mut controller = subnets(&[]);
    assert!(reset(&mut controller, vec![("node-a", node("u1"))]).is_empty());
}

#[test]
fn a_numbered_node_gets_the_subnet_of_its_number_where_it_can() {
    let mut controller = subnets(&[(V4, 24), ("fd00:10:244::/62", 64)]);
    reset(&mut controller, vec![]);
    let cases = [
        ("node-2", "10.244.2.0/24,fd00:10:244:2::/64"),
        ("node-1", "10.244.1.0/24,fd00:10:244:1::/64"),
        // Not that many subnets in the second range: the first that is free.
        ("node-9", "10.244.9.0/24,fd00:10:244::/64"),
        // Taken: the next.
        ("worker-2", "10.244.0.0/24,fd00:10:244:3::/64"),
    ];
    for (node_name, expected) in cases {
        let actions = apply(&mut controller, node_name, node(node_name));
        assert_eq!(
            texts(&actions),
            [format!("give node {node_name} pod subnets {expected}")]
        );
    }
}

#[test]
fn a_range_of_a_single_subnet_serves_whichever_node_comes_first() {
    let mut controller = subnets(&[("10.9.0.0/24", 24)]);
    reset(&mut controller, vec![]);
    assert_eq!(
        texts(&apply(&mut controller, "node-1", node("u1"))),
        ["give node node-1 pod subnets 10.9.0.0/24"]
    );
}
