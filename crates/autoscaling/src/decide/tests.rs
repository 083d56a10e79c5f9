use proptest::prelude::*;

use super::*;
use crate::{
    behavior::{Policy, PolicyKind, Rules, Select},
    replicas::{Container, Ready},
};

const HOUR: i64 = 3_600_000;

fn metric() -> Metric {
    Metric::Resource {
        resource: "cpu".into(),
        container: None,
        target: Target::AverageMilli(100),
    }
}

fn autoscaler(min: i32, max: i32, behavior: Option<Behavior>) -> Autoscaler {
    Autoscaler {
        min,
        max,
        metrics: vec![metric()],
        behavior,
    }
}

fn scale(replicas: i32) -> Scale {
    Scale {
        replicas,
        has_selector: true,
    }
}

/// So many pods of which each takes this much, where 100 is the target.
fn observed(pods: i32, milli: i64, now_ms: i64) -> Observed {
    let pods: Vec<Pod> = (0..pods)
        .map(|name| Pod {
            name: format!("p{name}"),
            started_ms: Some(now_ms - HOUR),
            ready: Some(Ready {
                is: true,
                since_ms: now_ms - HOUR,
            }),
            containers: vec![Container::default()],
            ..Pod::default()
        })
        .collect();
    let reading = Reading {
        at_ms: now_ms,
        window_ms: 15_000,
        containers: [("c".to_owned(), [("cpu".to_owned(), milli)].into())].into(),
    };
    let readings = pods.iter().map(|pod| (pod.name.clone(), reading.clone()));
    Observed {
        readings: readings.collect(),
        pods,
        failure: None,
    }
}

fn reason<'a>(decision: &'a Decision, kind: &str) -> (&'a str, bool) {
    let found = decision.conditions.iter().find(|one| one.kind == kind);
    let found = found.unwrap_or_else(|| panic!("{kind} is not said: {decision:?}"));
    (found.reason, found.holds)
}

/// An autoscaler that is let run: looks every 15 seconds at pods that take `load` together.
struct Story {
    autoscaler: Autoscaler,
    memory: Memory,
    replicas: i32,
    now_ms: i64,
}

impl Story {
    fn new(replicas: i32, autoscaler: Autoscaler) -> Self {
        Self {
            autoscaler,
            memory: Memory::default(),
            replicas,
            now_ms: 10 * HOUR,
        }
    }

    fn look(&mut self, milli: i64) -> Decision {
        self.now_ms += 15_000;
        let seen = observed(self.replicas, milli, self.now_ms);
        let scale = scale(self.replicas);
        let mut decision = decide(
            &self.autoscaler,
            &scale,
            &seen,
            &mut self.memory,
            self.now_ms,
        );
        if let Some(to) = decision.replicas.filter(|to| *to != self.replicas) {
            let change = (self.replicas, to);
            rescaled(
                &self.autoscaler,
                &mut decision,
                change,
                None,
                &mut self.memory,
                self.now_ms,
            );
            self.replicas = to;
        }
        decision
    }
}

#[test]
fn without_behavior_it_doubles_at_most_and_shrinks_after_five_minutes() {
    let mut story = Story::new(1, autoscaler(1, 30, None));
    for expected in [4, 8, 16, 30] {
        let decision = story.look(1000);
        assert_eq!(story.replicas, expected);
        let limited = if expected == 30 {
            "TooManyReplicas"
        } else {
            "ScaleUpLimit"
        };
        assert_eq!(reason(&decision, "ScalingLimited"), (limited, true));
        let last = decision.notes.last().unwrap();
        assert_eq!(
            last.message,
            format!("New size: {expected}; reason: cpu resource above target")
        );
    }
    // Five minutes are twenty looks; the last wish for more is in the window of nineteen.
    for _ in 0..19 {
        let decision = story.look(10);
        assert_eq!(story.replicas, 30);
        assert_eq!(
            reason(&decision, "AbleToScale"),
            ("ScaleDownStabilized", true)
        );
    }
    let decision = story.look(10);
    assert_eq!(story.replicas, 3);
    assert_eq!(reason(&decision, "AbleToScale"), ("SucceededRescale", true));
    assert_eq!(
        decision.notes[0].message,
        "New size: 3; reason: All metrics below target"
    );
    let decision = story.look(100);
    assert_eq!(decision.notes, []);
    assert_eq!(reason(&decision, "AbleToScale"), ("ReadyForNewScale", true));
    assert_eq!(
        reason(&decision, "ScalingLimited"),
        ("DesiredWithinRange", false)
    );
    assert_eq!(
        reason(&decision, "ScalingActive"),
        ("ValidMetricFound", true)
    );
}

fn rules(stabilization_seconds: i64, select: Select, policies: &[(PolicyKind, i32, i64)]) -> Rules {
    let policies = policies.iter().map(|(kind, value, period_seconds)| Policy {
        kind: *kind,
        value: *value,
        period_seconds: *period_seconds,
    });
    Rules {
        stabilization_seconds,
        select,
        policies: policies.collect(),
        tolerance: None,
    }
}

/// The example of the documentation: four pods or ten percent in a minute, whichever is more.
#[test]
fn policies_limit_how_fast_it_shrinks() {
    let both = [(PolicyKind::Pods, 4, 60), (PolicyKind::Percent, 10, 60)];
    for (select, expected) in [
        (Select::Max, vec![72, 64, 57, 51]),
        (Select::Min, vec![76, 72, 68, 64]),
        (Select::Disabled, vec![80, 80]),
    ] {
        let behavior = Behavior {
            down: rules(0, select, &both),
            ..Behavior::default()
        };
        let mut story = Story::new(80, autoscaler(10, 100, Some(behavior)));
        for expected in expected {
            let decision = story.look(1);
            assert_eq!(story.replicas, expected, "{select:?}");
            assert_eq!(
                reason(&decision, "ScalingLimited"),
                ("ScaleDownLimit", true)
            );
            // Within the same minute nothing more.
            for _ in 0..3 {
                story.look(1);
                assert_eq!(story.replicas, expected, "{select:?}");
            }
        }
    }
    let behavior = Behavior {
        down: rules(0, Select::Max, &both),
        ..Behavior::default()
    };
    let mut story = Story::new(36, autoscaler(30, 100, Some(behavior)));
    story.look(1);
    assert_eq!(
        story.replicas, 32,
        "below forty, four pods are more than ten percent"
    );
}

#[test]
fn a_wish_for_more_may_have_to_hold_for_a_while_too() {
    let behavior = Behavior {
        up: rules(45, Select::Max, &[(PolicyKind::Pods, 100, 15)]),
        down: rules(0, Select::Max, &[(PolicyKind::Percent, 100, 15)]),
    };
    let mut story = Story::new(2, autoscaler(1, 50, Some(behavior)));
    story.look(100);
    for _ in 0..2 {
        let decision = story.look(500);
        assert_eq!(story.replicas, 2);
        assert_eq!(
            reason(&decision, "AbleToScale"),
            ("ScaleUpStabilized", true)
        );
    }
    story.look(400);
    assert_eq!(story.replicas, 8, "the least of the window");
    story.look(50);
    assert_eq!(story.replicas, 4, "at once, since that window is empty");
}

#[test]
fn each_direction_has_its_tolerance() {
    let tolerant = |up: f64, down: f64| {
        let mut behavior = Behavior::default();
        behavior.up.tolerance = Some(up);
        behavior.down.tolerance = Some(down);
        behavior.down.stabilization_seconds = 0;
        Some(behavior)
    };
    for (up, down, milli, expected) in [
        (0.5, 0.0, 149, 100),
        (0.5, 0.0, 151, 151),
        (0.5, 0.0, 99, 99),
        (0.0, 0.3, 101, 101),
        (0.0, 0.3, 70, 100),
    ] {
        let mut story = Story::new(100, autoscaler(1, 1000, tolerant(up, down)));
        story.look(milli);
        assert_eq!(story.replicas, expected, "{up} {down} {milli}");
    }
}

#[test]
fn bounds_hold_whatever_is_measured() {
    for (replicas, min, max, expected, said) in [
        (
            20,
            1,
            10,
            Some(10),
            "Current number of replicas above Spec.MaxReplicas",
        ),
        (
            1,
            3,
            10,
            Some(3),
            "Current number of replicas below Spec.MinReplicas",
        ),
        (0, 1, 10, Some(0), ""),
    ] {
        let (autoscaler, mut memory) = (autoscaler(min, max, None), Memory::default());
        let seen = Observed::default();
        let decision = decide(&autoscaler, &scale(replicas), &seen, &mut memory, HOUR);
        assert_eq!(
            (decision.replicas, decision.reason.as_str()),
            (expected, said)
        );
    }
    let (mut story, few) = (Story::new(5, autoscaler(4, 10, None)), 1);
    for _ in 0..30 {
        story.look(few);
    }
    assert_eq!(story.replicas, 4);
    let decision = story.look(few);
    assert_eq!(
        reason(&decision, "ScalingLimited"),
        ("TooFewReplicas", true)
    );
}

#[test]
fn what_is_not_known_is_said_and_nothing_shrinks_for_it() {
    let mut memory = Memory::default();
    let two = Autoscaler {
        metrics: vec![Metric::pods("requests"), metric()],
        ..autoscaler(1, 10, None)
    };
    let mut ask = |autoscaler: &Autoscaler, seen: &Observed| {
        decide(autoscaler, &scale(2), seen, &mut memory, 10 * HOUR)
    };
    let fewer = ask(&two, &observed(2, 10, 10 * HOUR));
    assert_eq!(fewer.replicas, None);
    assert_eq!(
        reason(&fewer, "ScalingActive"),
        ("FailedGetPodsMetric", false)
    );
    assert_eq!(
        fewer.notes[1].message,
        "invalid metrics (1 invalid out of 2), first error is: failed to get pods metric value: \
         unable to get metric requests: unable to fetch metrics from custom metrics API: no known \
         available metric versions found"
    );
    let more = ask(&two, &observed(2, 300, 10 * HOUR));
    assert_eq!(more.replicas, Some(4), "more all the same");
    assert_eq!(more.notes[0].reason, "FailedGetPodsMetric");

    let failed = Observed {
        failure: Some("the server is away".into()),
        ..Observed::default()
    };
    let none = ask(&autoscaler(1, 10, None), &failed);
    assert_eq!(
        none.conditions[1].message,
        "the HPA was unable to compute the replica count: failed to get cpu usage: unable to get \
         metrics for resource cpu: the server is away"
    );
    let bare = Scale {
        replicas: 2,
        has_selector: false,
    };
    let decision = decide(
        &autoscaler(1, 10, None),
        &bare,
        &failed,
        &mut memory,
        10 * HOUR,
    );
    assert_eq!(
        reason(&decision, "ScalingActive"),
        ("InvalidSelector", false)
    );
}

#[test]
fn a_change_that_is_refused_is_not_remembered() {
    let autoscaler = autoscaler(1, 10, Some(Behavior::default()));
    let (mut memory, now) = (Memory::default(), 10 * HOUR);
    let mut decision = decide(
        &autoscaler,
        &scale(2),
        &observed(2, 200, now),
        &mut memory,
        now,
    );
    let before = memory.clone();
    rescaled(
        &autoscaler,
        &mut decision,
        (2, 4),
        Some("no"),
        &mut memory,
        now,
    );
    assert_eq!(memory, before);
    assert_eq!(
        reason(&decision, "AbleToScale"),
        ("FailedUpdateScale", false)
    );
    let message = "New size: 4; reason: cpu resource above target; error: no";
    assert_eq!(decision.notes[0].message, message);
}

proptest! {
    #[test]
    fn it_stays_within_its_bounds(looks in prop::collection::vec(0i64..2000, 1..40), start in 1i32..50, behaves: bool) {
        let behavior = behaves.then(Behavior::default);
        let mut story = Story::new(start, autoscaler(2, 20, behavior));
        for milli in looks {
            let before = story.replicas;
            story.look(milli);
            prop_assert!((2..=20).contains(&story.replicas));
            prop_assert!(story.replicas <= 20.min((2 * before).max(before + 4)) || before < 2);
        }
    }
}
