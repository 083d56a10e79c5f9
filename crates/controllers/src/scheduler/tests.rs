use sealane_objects::{Demand, Resources};

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
        let mut story = Self {
            scheduler: Scheduler::default(),
            now: Instant::now(),
        };
        let namespaces = News::Namespaces(Change::Reset(vec![]));
        assert!(story.tell(Input::Workloads(namespaces)).is_empty());
        story
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

    /// A pod that fits nowhere.
    fn apply_big(&mut self) -> Vec<Action> {
        let view = Arc::new(asking("big", 1_000_000, 0));
        self.tell(Input::Pods(Change::Applied(name("default", "big"), view)))
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
    let why = "0/2 nodes are available: \
        1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, \
        1 node(s) were unschedulable. \
        preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";
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
    assert!(story.apply("b", pod("u2"))[0].contains("1 Too many pods"));
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
    assert_eq!(story.scheduler.board.pods_on("node-1"), 2);
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
            let board = &story.scheduler.board;
            let counted: usize = board.nodes().map(|(name, _)| board.pods_on(name)).sum();
            let there = story.scheduler.pods.values();
            assert_eq!(counted, there.filter(|pod| pod.holds().is_some()).count());
        }
    }
    for n in 0..3 {
        let last = Change::Deleted(name("default", &format!("p{n}")), Arc::new(pod("u")));
        story.tell(Input::Pods(last));
    }
    let board = &story.scheduler.board;
    assert!(board.nodes().all(|(name, _)| board.pods_on(name) == 0));
    assert!(story.scheduler.pending.is_empty());
}

/// A pod that asks for so much of a CPU.
fn asking(uid: &str, cpu_millis: u64, priority: i32) -> PodView {
    let requests = Resources {
        cpu_millis,
        ..Resources::default()
    };
    let demand = Demand {
        weight: requests.clone(),
        requests,
        priority,
        ..Demand::default()
    };
    PodView {
        demand: demand.into(),
        ..pod(uid)
    }
}

fn of_one_cpu(uid: &str) -> NodeView {
    NodeView {
        allocatable: Resources {
            cpu_millis: 1000,
            ..Resources::default()
        },
        ..node(uid)
    }
}

#[test]
fn a_burst_is_not_promised_more_than_there_is_and_goes_on_when_room_is_made() {
    let mut story = Story::of_two_nodes();
    story.apply_node("node-1", of_one_cpu("n1"));
    story.apply_node("node-2", of_one_cpu("n2"));
    for n in 0..4 {
        let name = format!("p{n}");
        assert!(story.apply(&name, asking(&name, 500, 0))[0].starts_with("bind"));
    }
    let refused = story.apply("late", asking("late", 500, 0));
    assert!(
        refused[0].contains("0/2 nodes are available: 2 Insufficient cpu."),
        "{refused:?}"
    );
    // Its own echo, and a pod that comes, change nothing for it.
    assert!(story.apply("late", asking("late", 500, 0)).is_empty());
    let placed = PodView {
        node: Some("node-1".into()),
        ..asking("p0", 500, 0)
    };
    assert!(story.apply("p0", placed.clone()).is_empty());
    let gone = Change::Deleted(name("default", "p0"), Arc::new(placed));
    assert_eq!(
        texts(&story.tell(Input::Pods(gone))),
        ["bind pod default/late to node node-1"]
    );
}

#[test]
fn the_queue_goes_by_priority_and_then_by_arrival() {
    let mut story = Story::of_two_nodes();
    story.apply_node("node-1", of_one_cpu("n1"));
    story.apply_node(
        "node-2",
        NodeView {
            unschedulable: true,
            ..node("n2")
        },
    );
    story.apply("first", asking("first", 1000, 0));
    for (name, priority) in [("low", -5), ("early", 7), ("late", 7), ("big", 9)] {
        let cpu = if name == "big" { 2000 } else { 1000 };
        story.apply(name, asking(name, cpu, priority));
    }
    let gone = |name: &str, uid: &str| {
        Input::Pods(Change::Deleted(
            crate::testing::name("default", name),
            Arc::new(asking(uid, 1000, 0)),
        ))
    };
    let mut order = Vec::new();
    for done in ["first", "early", "late"] {
        order.extend(
            texts(&story.tell(gone(done, done)))
                .into_iter()
                .filter(|text| text.starts_with("bind")),
        );
    }
    assert_eq!(
        order,
        ["early", "late", "low"].map(|name| format!("bind pod default/{name} to node node-1"))
    );
}

#[test]
fn gates_hold_a_pod_back_and_say_so_once() {
    let mut story = Story::of_two_nodes();
    let gated = PodView {
        gated: true,
        ..pod("u")
    };
    let said = story.apply("a", gated.clone());
    assert_eq!(
        said,
        ["leave pod default/a pending: Scheduling is blocked due to non-empty scheduling gates"]
    );
    assert!(story.apply("a", gated).is_empty());
    assert_eq!(
        story.apply("a", pod("u")),
        ["bind pod default/a to node node-1"]
    );
}

#[test]
fn reasons_that_change_quickly_are_told_at_growing_intervals() {
    let mut story = Story::of_two_nodes();
    story.apply_node("node-1", of_one_cpu("n1"));
    story.apply_node("node-2", of_one_cpu("n2"));
    assert_eq!(story.apply("a", asking("u", 2000, 0)).len(), 2);
    // The second node is cordoned: another reason, too soon to be told.
    let cordoned = NodeView {
        unschedulable: true,
        ..of_one_cpu("n2")
    };
    assert!(story.apply_node("node-2", cordoned).is_empty());
    let at = story.scheduler.wake_at().unwrap();
    assert!(at > story.now);
    story.now = at;
    let told = texts(&story.tell(Input::Tick));
    assert!(
        told[0].contains("1 Insufficient cpu, 1 node(s) were unschedulable"),
        "{told:?}"
    );
    assert_eq!(story.scheduler.wake_at(), None);
    story.apply_node("node-2", of_one_cpu("n2"));
    let later = story.scheduler.wake_at().unwrap();
    assert_eq!(later - story.now, Duration::from_secs(2));
}

#[test]
fn a_refusal_that_did_not_reach_the_pod_is_said_again() {
    let mut story = Story::of_two_nodes();
    let refused = story.apply_big();
    let Some(refuse @ Action::Refuse { .. }) = refused.last() else {
        panic!("{refused:?}");
    };
    story.tell(Input::Ended(refuse.clone(), Outcome::Outdated));
    story.now = story.scheduler.wake_at().unwrap();
    assert_eq!(texts(&story.tell(Input::Tick)).len(), 2);
    assert_eq!(story.scheduler.wake_at(), None);
}

/// A pod on the only node, which it fills.
fn filling(uid: &str, priority: i32) -> PodView {
    PodView {
        node: Some("node-1".into()),
        ..asking(uid, 1000, priority)
    }
}

fn one_full_node() -> Story {
    let mut story = Story::new();
    let nodes = vec![(name("", "node-1"), of_one_cpu("n1"))];
    story.tell(Input::Nodes(Change::Reset(nodes)));
    let low = Arc::new(filling("u-low", 0));
    story.tell(Input::Pods(Change::Reset(vec![(
        name("default", "low"),
        low,
    )])));
    story.tell(Input::Workloads(News::Budgets(Change::Reset(vec![]))));
    story
}

const INSUFFICIENT: &str = "0/1 nodes are available: 1 Insufficient cpu.";

#[test]
fn a_pod_of_higher_priority_pushes_others_aside_and_gets_their_room() {
    let mut story = one_full_node();
    let preempted = [
        "make room for pod default/high: delete pod default/low",
        "record event Preempted: Preempted by pod u-high on node node-1",
    ];
    let refused = format!("leave pod default/high pending: {INSUFFICIENT}");
    let actions = story.apply("high", asking("u-high", 1000, 5));
    assert_eq!(actions[..2], preempted);
    assert_eq!(actions[3], refused);
    // While the other one goes, nothing more is done; it is told of once.
    let going = PodView {
        deleting: true,
        ..filling("u-low", 0)
    };
    let actions = story.apply("low", going);
    assert!(actions.is_empty(), "{actions:?}");
    // Whoever else wants the room does not get it.
    let actions = story.apply("again", asking("u-again", 1000, 0));
    assert!(
        actions[1].starts_with("leave pod default/again pending"),
        "{actions:?}"
    );
    let gone = Change::Deleted(name("default", "low"), Arc::new(filling("u-low", 0)));
    let actions = texts(&story.tell(Input::Pods(gone)));
    assert_eq!(actions, ["bind pod default/high to node node-1"]);
}

#[test]
fn the_room_is_kept_while_not_all_have_gone() {
    let mut story = one_full_node();
    let half = |uid: &str| PodView {
        node: Some("node-1".into()),
        ..asking(uid, 500, 0)
    };
    story.apply("low", half("u-low"));
    story.apply("other", half("u-other"));
    let actions = story.apply("high", asking("u-high", 1000, 5));
    let told: Vec<_> = actions
        .iter()
        .filter(|told| told.starts_with("make room"))
        .collect();
    assert_eq!(told.len(), 2, "{actions:?}");
    let gone = Change::Deleted(name("default", "low"), Arc::new(half("u-low")));
    story.tell(Input::Pods(gone));
    let actions = story.apply("small", asking("u-small", 500, 0));
    assert!(
        actions[1].starts_with("leave pod default/small pending"),
        "{actions:?}"
    );
    // Not for one of higher priority still.
    let actions = story.apply("higher", asking("u-higher", 500, 9));
    assert_eq!(actions, ["bind pod default/higher to node node-1"]);
}

#[test]
fn the_nomination_is_written_with_the_condition_and_taken_back() {
    let mut story = one_full_node();
    let nominated = |actions: &[Action]| {
        let mut all = actions.iter().filter_map(|action| match action {
            Action::Refuse { nominated, .. } => Some(nominated.clone()),
            _ => None,
        });
        all.next()
    };
    let high = Arc::new(asking("u-high", 1000, 5));
    let actions = story.tell(Input::Pods(Change::Applied(name("default", "high"), high)));
    assert_eq!(nominated(&actions), Some(Some("node-1".into())));
    // The node shrinks: nothing would help any more.
    let mut small = of_one_cpu("n1");
    small.allocatable.cpu_millis = 100;
    let actions = story.tell(Input::Nodes(Change::Applied(name("", "node-1"), small)));
    assert_eq!(nominated(&actions), Some(Some(String::new())));
}

#[test]
fn nobody_is_pushed_aside_for_equals_or_for_who_does_not_want_it() {
    let mut story = one_full_node();
    for (uid, priority, preempts, why) in [
        (
            "u-equal",
            0,
            true,
            "0/1 nodes are available: 1 No preemption victims found for incoming pod.",
        ),
        (
            "u-meek",
            9,
            false,
            "not eligible due to preemptionPolicy=Never.",
        ),
    ] {
        let mut view = asking(uid, 1000, priority);
        view.demand = Arc::new(Demand {
            preempts,
            ..(*view.demand).clone()
        });
        let actions = story.apply(uid, view);
        let expected = format!("leave pod default/{uid} pending: {INSUFFICIENT} preemption: {why}");
        assert_eq!(actions[1..], [expected]);
    }
}

#[test]
fn who_could_not_be_deleted_is_tried_again_later() {
    let mut story = one_full_node();
    story.apply("high", asking("u-high", 1000, 5));
    let action = Action::Preempt {
        pod: name("default", "low"),
        uid: "u-low".into(),
        by: name("default", "high"),
    };
    let refused = Outcome::Refused("no".into());
    assert!(story.tell(Input::Ended(action.clone(), refused)).is_empty());
    story.now += FIRST_PAUSE;
    let actions = story.tell(Input::Tick);
    assert!(actions.contains(&action), "{actions:?}");
}

#[test]
fn budgets_say_whom_to_spare() {
    for (allowed, let_go, expected) in [
        (0, json!({}), "other"),
        (1, json!({}), "kept"),
        // It is going anyway: the budget was spent for it.
        (0, json!({"kept": "2026-11-21T00:00:00Z"}), "kept"),
    ] {
        let mut story = Story::new();
        let nodes = ["node-1", "node-2"].map(|node| (name("", node), of_one_cpu(node)));
        story.tell(Input::Nodes(Change::Reset(nodes.into())));
        story.tell(Input::Pods(Change::Reset(vec![])));
        let budget = json!({
            "metadata": {"name": "b", "namespace": "default"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}},
            "status": {"disruptionsAllowed": allowed, "disruptedPods": let_go},
        });
        let budget = Arc::new(Budget::of(serde_json::from_value(budget).unwrap()));
        let budgets = Change::Reset(vec![(name("default", "b"), budget)]);
        story.tell(Input::Workloads(News::Budgets(budgets)));
        let labels = [("app".to_owned(), "kept".to_owned())];
        let kept = PodView {
            facts: Arc::new(crate::facts::PodFacts {
                labels: Arc::new(labels.into()),
                ..Default::default()
            }),
            ..filling("u-kept", 0)
        };
        story.apply("kept", kept);
        let other = PodView {
            node: Some("node-2".into()),
            ..filling("u-other", 0)
        };
        story.apply("other", other);
        let actions = story.apply("high", asking("u-high", 1000, 5));
        let expected = format!("make room for pod default/high: delete pod default/{expected}");
        assert_eq!(actions[0], expected);
    }
}
