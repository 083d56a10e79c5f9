use super::*;
use crate::testing::{name, node, pod};
use crate::view::Truth;

/// The scheduler and a clock that stands still until a test moves it.
struct Story {
    scheduler: Scheduler,
    now: Instant,
}

impl Story {
    fn new() -> Self {
        Self {
            scheduler: Scheduler::default(),
            now: Instant::now(),
        }
    }

    /// Two ready nodes and no pods.
    fn of_two_nodes() -> Self {
        let mut story = Self::new();
        let nodes = vec![
            (name("", "node-1"), node("n1")),
            (name("", "node-2"), node("n2")),
        ];
        assert!(story.tell(Input::Nodes(Change::Reset(nodes))).is_empty());
        assert!(story.tell(Input::Pods(Change::Reset(vec![]))).is_empty());
        story
    }

    fn tell(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        self.scheduler.handle(&input, self.now, &mut actions);
        actions
    }

    fn apply(&mut self, pod: &str, view: PodView) -> Vec<String> {
        texts(&self.tell(Input::Pods(Change::Applied(
            name("default", pod),
            Arc::new(view),
        ))))
    }

    fn apply_node(&mut self, node: &str, view: NodeView) -> Vec<String> {
        texts(&self.tell(Input::Nodes(Change::Applied(name("", node), view))))
    }

    fn end(&mut self, pod: &str, uid: &str, node: &str, outcome: Outcome) -> Vec<String> {
        let action = Action::Bind {
            pod: name("default", pod),
            uid: uid.into(),
            node: node.into(),
        };
        texts(&self.tell(Input::Ended(action, outcome)))
    }
}

fn texts(actions: &[Action]) -> Vec<String> {
    actions.iter().map(ToString::to_string).collect()
}

fn on(uid: &str, node: &str) -> PodView {
    PodView {
        node: Some(node.into()),
        ..pod(uid)
    }
}

fn unready(uid: &str) -> NodeView {
    NodeView {
        ready: Some(Truth::Unknown),
        ..node(uid)
    }
}

#[test]
fn a_burst_is_spread_before_the_api_shows_any_of_it() {
    let mut story = Story::of_two_nodes();
    let actions: Vec<_> = (0..4)
        .flat_map(|n| story.apply(&format!("p{n}"), pod(&format!("u{n}"))))
        .collect();
    assert_eq!(
        actions,
        [
            "bind pod default/p0 to node node-1",
            "bind pod default/p1 to node node-2",
            "bind pod default/p2 to node node-1",
            "bind pod default/p3 to node node-2",
        ]
    );
}

#[test]
fn a_pod_is_bound_once_however_often_it_is_seen() {
    let mut story = Story::of_two_nodes();
    assert_eq!(story.apply("a", pod("u")).len(), 1);
    assert!(story.apply("a", pod("u")).is_empty());
    assert_eq!(
        story.end("a", "u", "node-1", Outcome::Done),
        ["record event Scheduled: Successfully assigned default/a to node-1"]
    );
    assert!(story.apply("a", on("u", "node-1")).is_empty());
    let everything = vec![(name("default", "a"), Arc::new(on("u", "node-1")))];
    assert!(
        story
            .tell(Input::Pods(Change::Reset(everything)))
            .is_empty()
    );
}

#[test]
fn nothing_is_decided_before_both_sets_are_known() {
    let mut story = Story::new();
    let pods = vec![(name("default", "a"), Arc::new(pod("u")))];
    assert!(story.tell(Input::Pods(Change::Reset(pods))).is_empty());
    let nodes = vec![(name("", "node-1"), node("n"))];
    assert_eq!(
        texts(&story.tell(Input::Nodes(Change::Reset(nodes)))),
        ["bind pod default/a to node node-1"]
    );
}

#[test]
fn pods_that_are_not_ours_to_place_are_left_alone() {
    let mut story = Story::of_two_nodes();
    let cases = [
        on("u1", "node-2"),
        on("u2", "no-such-node"),
        PodView {
            deleting: true,
            ..pod("u3")
        },
        PodView {
            finished: true,
            ..pod("u4")
        },
        PodView {
            scheduler: "mine".into(),
            ..pod("u5")
        },
    ];
    for view in cases {
        let uid = view.uid.clone();
        assert!(story.apply(&uid, view).is_empty(), "{uid}");
    }
}

#[test]
fn a_pod_that_fits_nowhere_says_why_once_and_is_tried_when_a_node_changes() {
    let mut story = Story::of_two_nodes();
    story.apply_node("node-1", unready("n1"));
    story.apply_node(
        "node-2",
        NodeView {
            unschedulable: true,
            ..node("n2")
        },
    );
    let why = "0/2 nodes are available: 1 node(s) were not ready, 1 node(s) were unschedulable.";
    assert_eq!(
        story.apply("a", pod("u")),
        [
            format!("record event FailedScheduling: {why}"),
            format!("leave pod default/a pending: {why}"),
        ]
    );
    let echo = PodView {
        refused: Some(why.into()),
        ..pod("u")
    };
    assert!(story.apply("a", echo).is_empty(), "said already");
    let heartbeat = NodeView {
        version: "99".into(),
        ..unready("n1")
    };
    assert!(
        story.apply_node("node-1", heartbeat).is_empty(),
        "nothing new for the pod"
    );
    assert_eq!(
        story.apply_node("node-1", node("n1")),
        ["bind pod default/a to node node-1"]
    );
}

#[test]
fn a_full_node_takes_the_next_pod_when_one_ends() {
    let mut story = Story::new();
    let small = NodeView {
        max_pods: Some(1),
        ..node("n1")
    };
    story.tell(Input::Nodes(Change::Reset(vec![(
        name("", "node-1"),
        small,
    )])));
    story.tell(Input::Pods(Change::Reset(vec![])));
    assert_eq!(
        story.apply("a", pod("u1")),
        ["bind pod default/a to node node-1"]
    );
    story.apply("a", on("u1", "node-1"));
    assert!(story.apply("b", pod("u2"))[0].contains("1 node(s) had too many pods"));
    let ended = PodView {
        finished: true,
        ..on("u1", "node-1")
    };
    assert_eq!(
        story.apply("a", ended),
        ["bind pod default/b to node node-1"]
    );
}

#[test]
fn a_binding_that_failed_is_tried_again_after_a_growing_pause() {
    let mut story = Story::of_two_nodes();
    story.apply("a", pod("u"));
    assert!(
        story
            .end("a", "u", "node-1", Outcome::Refused("no".into()))
            .is_empty()
    );
    assert_eq!(story.scheduler.wake_at(), Some(story.now + FIRST_PAUSE));
    assert!(story.tell(Input::Tick).is_empty());
    story.now += FIRST_PAUSE;
    assert_eq!(
        texts(&story.tell(Input::Tick)),
        ["bind pod default/a to node node-1"]
    );
    assert_eq!(story.scheduler.wake_at(), None);
    story.end("a", "u", "node-1", Outcome::Outdated);
    assert_eq!(story.scheduler.wake_at(), Some(story.now + 2 * FIRST_PAUSE));
    assert_eq!(pause(50), LONGEST_PAUSE);
}

#[test]
fn a_pod_made_again_under_its_name_is_another_pod() {
    let mut story = Story::of_two_nodes();
    story.apply("a", pod("u1"));
    assert_eq!(
        story.apply("a", pod("u2")),
        ["bind pod default/a to node node-1"]
    );
    assert!(
        story
            .end("a", "u1", "node-1", Outcome::Refused("late".into()))
            .is_empty(),
        "the end of the first pod's binding"
    );
    assert_eq!(story.scheduler.wake_at(), None);
}

#[test]
fn a_gap_in_the_watch_does_not_bind_twice_and_counts_right() {
    let mut story = Story::of_two_nodes();
    story.apply("a", pod("u1"));
    let listed = vec![
        (name("default", "a"), Arc::new(pod("u1"))),
        (name("default", "b"), Arc::new(on("u2", "node-1"))),
    ];
    assert!(story.tell(Input::Pods(Change::Reset(listed))).is_empty());
    assert_eq!(story.scheduler.nodes.as_ref().unwrap()["node-1"].pods, 2);
    assert_eq!(
        story.apply("c", pod("u3")),
        ["bind pod default/c to node node-2"]
    );
}

#[test]
fn a_node_that_leaves_and_returns_still_has_its_pods() {
    let mut story = Story::of_two_nodes();
    story.apply("a", on("u1", "node-1"));
    story.tell(Input::Nodes(Change::Deleted(
        name("", "node-1"),
        node("n1"),
    )));
    story.apply_node("node-1", node("n1-again"));
    assert_eq!(
        story.apply("b", pod("u2")),
        ["bind pod default/b to node node-2"]
    );
}

#[test]
fn counts_never_drift_from_what_is_there() {
    let mut story = Story::of_two_nodes();
    let views = [
        pod("u"),
        on("u", "node-1"),
        on("u", "node-2"),
        PodView {
            finished: true,
            ..on("u", "node-1")
        },
        PodView {
            deleting: true,
            ..on("u", "node-2")
        },
    ];
    // Every pair of states that a pod can go through, over a few pods.
    for (step, first) in views.iter().enumerate() {
        for second in &views {
            let pod_name = format!("p{}", step % 3);
            story.apply(&pod_name, first.clone());
            story.apply(&pod_name, second.clone());
            let counted: usize = story
                .scheduler
                .nodes
                .iter()
                .flatten()
                .map(|(_, n)| n.pods)
                .sum();
            let there = story.scheduler.pods.iter().flatten();
            assert_eq!(
                counted,
                there.filter(|(_, pod)| pod.holds().is_some()).count()
            );
        }
    }
    for n in 0..3 {
        let last = Change::Deleted(name("default", &format!("p{n}")), Arc::new(pod("u")));
        story.tell(Input::Pods(last));
    }
    assert!(
        story
            .scheduler
            .nodes
            .iter()
            .flatten()
            .all(|(_, node)| node.pods == 0)
    );
    assert!(story.scheduler.pending.is_empty());
}
