use sealane_objects::Demand;
use serde_json::json;

use super::*;
use crate::testing::{name, node, pod};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

struct Story {
    evictions: Evictions,
    pods: PodsByNode,
    now: Instant,
}

/// A toleration for `NoExecute` of a key, for so many seconds or for ever.
fn bears(key: &str, seconds: Option<i64>) -> Value {
    json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})
}

fn bearing_pod(uid: &str, tolerations: &[Value]) -> PodView {
    let spec = json!({"containers": [], "tolerations": tolerations});
    PodView {
        node: Some("node-1".into()),
        demand: Arc::new(Demand {
            placement: sealane_kube::placement(&serde_json::from_value(spec).unwrap()),
            ..Demand::default()
        }),
        ..pod(uid)
    }
}

impl Story {
    fn new() -> Self {
        Self {
            evictions: Evictions::default(),
            pods: PodsByNode::default(),
            now: Instant::now(),
        }
    }

    fn texts(actions: &[Action]) -> String {
        let texts: Vec<_> = actions.iter().map(ToString::to_string).collect();
        texts
            .join("; ")
            .replace("record event TaintManagerEviction: ", "")
    }

    /// The pod of this name is seen.
    fn pod(&mut self, pod: &str, view: PodView) -> String {
        let change = Change::Applied(name("default", pod), Arc::new(view));
        self.pods.apply(&change);
        let mut actions = Vec::new();
        self.evictions.pods_changed(&change, self.now, &mut actions);
        Self::texts(&actions)
    }

    /// The node is seen with these taints.
    fn taints(&mut self, keys: &[&str]) -> String {
        let taint = |key: &&str| Taint {
            key: (*key).into(),
            value: String::new(),
            effect: Effect::NoExecute,
        };
        let view = NodeView {
            taints: keys.iter().map(taint).collect(),
            ..node("n")
        };
        self.node(Change::Applied(name("", "node-1"), view))
    }

    fn node(&mut self, change: Change<NodeView>) -> String {
        let mut actions = Vec::new();
        let (pods, now) = (&self.pods, self.now);
        self.evictions
            .nodes_changed(&change, pods, now, &mut actions);
        Self::texts(&actions)
    }

    fn after(&mut self, seconds: u64) -> String {
        self.now += Duration::from_secs(seconds);
        let mut actions = Vec::new();
        self.evictions.tick(self.now, &mut actions);
        Self::texts(&actions)
    }

    fn end(&mut self, pod: &str, uid: &str, outcome: Outcome) {
        let action = Action::Evict {
            pod: name("default", pod),
            uid: uid.into(),
        };
        self.evictions.ended(&action, &outcome, self.now);
    }
}

const MARKED: &str = "Marking for deletion Pod default/a; evict pod default/a";
const CANCELLED: &str = "Cancelling deletion of Pod default/a";

#[test]
fn the_shortest_time_counts_and_every_taint_must_be_borne() {
    let taints = |keys: &[&str]| -> Vec<Taint> {
        let taint = |key: &&str| Taint {
            key: (*key).into(),
            value: String::new(),
            effect: Effect::NoExecute,
        };
        keys.iter().map(taint).collect()
    };
    let seconds = |n| Bearing::For(Duration::from_secs(n));
    let both = [bears(NOT_READY, Some(300)), bears(UNREACHABLE, Some(60))];
    let all = [json!({"operator": "Exists"})];
    for (tolerations, keys, expected) in [
        (&[][..], &[][..], Bearing::ForEver),
        (&[], &[NOT_READY], Bearing::NotAtAll),
        (&both, &[NOT_READY], seconds(300)),
        (&both, &[UNREACHABLE], seconds(60)),
        (&both, &[NOT_READY, UNREACHABLE], seconds(60)),
        (&both, &[NOT_READY, "other"], Bearing::NotAtAll),
        (&[bears(NOT_READY, None)], &[NOT_READY], Bearing::ForEver),
        (&[bears(NOT_READY, Some(0))], &[NOT_READY], seconds(0)),
        (&[bears(NOT_READY, Some(-7))], &[NOT_READY], seconds(0)),
        (&all, &[NOT_READY, "other"], Bearing::ForEver),
        (
            &[all[0].clone(), both[0].clone()],
            &[NOT_READY],
            seconds(300),
        ),
    ] {
        let pod = bearing_pod("u", tolerations);
        assert_eq!(
            bearing(&pod.demand.placement, &taints(keys)),
            expected,
            "{tolerations:?} {keys:?}"
        );
    }
}

#[test]
fn a_pod_that_does_not_bear_a_taint_goes_at_once_and_once() {
    let mut story = Story::new();
    assert_eq!(story.pod("a", bearing_pod("u", &[])), "");
    assert_eq!(story.taints(&[NOT_READY]), MARKED);
    assert_eq!(story.taints(&[NOT_READY, "other"]), "");
    story.end("a", "u", Outcome::Done);
    assert_eq!(story.pod("a", bearing_pod("u", &[])), "");
    let leaving = PodView {
        deleting: true,
        ..bearing_pod("u", &[])
    };
    assert_eq!(story.pod("a", leaving), "");
    assert_eq!(
        story
            .pod("b", bearing_pod("v", &[]))
            .matches("evict")
            .count(),
        1
    );
}

#[test]
fn a_pod_stays_exactly_as_long_as_it_bears_the_taint() {
    let mut story = Story::new();
    let view = || {
        bearing_pod(
            "u",
            &[bears(NOT_READY, Some(300)), bears(UNREACHABLE, Some(300))],
        )
    };
    story.pod("a", view());
    assert_eq!(story.taints(&[NOT_READY]), "");
    assert_eq!(story.after(100), "");
    // One for the other, and a change of the pod: the time goes on.
    assert_eq!(story.taints(&[UNREACHABLE]), "");
    assert_eq!(story.pod("a", view()), "");
    assert_eq!(story.after(199), "");
    assert_eq!(
        story.evictions.wake_at(),
        Some(story.now + Duration::from_secs(1))
    );
    assert_eq!(story.after(1), MARKED);
    assert_eq!(story.evictions.wake_at(), None);
}

#[test]
fn a_taint_that_goes_cancels() {
    let mut story = Story::new();
    story.pod("a", bearing_pod("u", &[bears(NOT_READY, Some(300))]));
    story.taints(&[NOT_READY]);
    assert_eq!(story.after(299), "");
    assert_eq!(story.taints(&[]), CANCELLED);
    assert_eq!(story.after(300), "");
    assert_eq!(story.taints(&[NOT_READY]), "");
    assert_eq!(story.after(299), "", "a new taint, a new time");
    assert_eq!(story.after(1), MARKED);
}

#[test]
fn a_toleration_that_is_added_prolongs_or_cancels() {
    let mut story = Story::new();
    story.pod("a", bearing_pod("u", &[bears(NOT_READY, Some(10))]));
    story.taints(&[NOT_READY]);
    story.after(5);
    let longer = [bears(NOT_READY, Some(10)), bears(NOT_READY, None)];
    assert_eq!(
        story.pod("a", bearing_pod("u", &longer)),
        "",
        "the shortest counts"
    );
    let for_ever = bearing_pod("u", &[bears(NOT_READY, None)]);
    assert_eq!(story.pod("a", for_ever), CANCELLED);
    assert_eq!(story.after(100), "");
}

#[test]
fn a_pod_that_leaves_by_itself_needs_no_more_words() {
    let mut story = Story::new();
    let view = bearing_pod("u", &[bears(NOT_READY, Some(10))]);
    story.pod("a", view.clone());
    story.taints(&[NOT_READY]);
    let leaving = PodView {
        deleting: true,
        ..view.clone()
    };
    assert_eq!(story.pod("a", leaving), "");
    assert_eq!(story.after(100), "");
    // Another of its name starts anew.
    let another = PodView {
        uid: "v".into(),
        ..view
    };
    assert_eq!(story.pod("a", another), "");
    assert_eq!(story.after(9), "");
    assert_eq!(story.after(1), MARKED);
}

#[test]
fn a_node_that_is_deleted_keeps_what_was_decided_and_one_that_comes_back_cancels() {
    for (back, expected) in [(false, MARKED), (true, "")] {
        let mut story = Story::new();
        story.pod("a", bearing_pod("u", &[bears(NOT_READY, Some(10))]));
        story.taints(&[NOT_READY]);
        story.node(Change::Deleted(name("", "node-1"), node("n")));
        if back {
            assert_eq!(story.taints(&[]), CANCELLED);
        }
        assert_eq!(story.after(10), expected);
    }
}

#[test]
fn an_eviction_that_is_refused_is_tried_again() {
    let mut story = Story::new();
    story.pod("a", bearing_pod("u", &[]));
    story.taints(&[NOT_READY]);
    story.end("a", "u", Outcome::Refused("no".into()));
    assert_eq!(story.after(0), "");
    assert_eq!(story.after(1), MARKED);
    story.end("a", "u", Outcome::Gone);
    assert!(story.evictions.asked.is_empty());
}
