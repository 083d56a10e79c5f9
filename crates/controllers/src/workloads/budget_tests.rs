//! Stories of PodDisruptionBudgets.

use std::time::Duration;

use serde_json::{Value, json};

use super::simulation::{Story, name};
use crate::action::Kind;

fn budget(spec: Value) -> Value {
    let mut budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "keep"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
    });
    let more = spec.as_object().unwrap().clone();
    budget["spec"].as_object_mut().unwrap().extend(more);
    budget
}

fn set(replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "set"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
        },
    })
}

impl Story {
    fn kept(spec: Value, replicas: i32) -> Self {
        let mut story = Self::new();
        story.world.create(Kind::PodDisruptionBudget, budget(spec));
        story.world.create(Kind::ReplicaSet, set(replicas));
        story.count();
        story
    }

    /// Until budgets have counted.
    fn count(&mut self) {
        self.settle(true);
        self.pass(Duration::from_millis(30));
        self.settle(true);
    }

    fn budget(&self) -> &Value {
        &self.world.get(Kind::PodDisruptionBudget, &name("keep"))["status"]
    }

    /// Allowed, healthy, wanted, expected.
    fn numbers(&self) -> [i64; 4] {
        let names = [
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
        ];
        names.map(|name| self.budget()[name].as_i64().unwrap_or(0))
    }
}

#[test]
fn budgets_are_counted() {
    for (spec, replicas, expected) in [
        (json!({"minAvailable": 2}), 3, [1, 3, 2, 3]),
        (json!({"minAvailable": "50%"}), 3, [1, 3, 2, 3]),
        (json!({"maxUnavailable": 1}), 3, [1, 3, 2, 3]),
        (json!({"maxUnavailable": "30%"}), 4, [2, 4, 2, 4]),
        (json!({"maxUnavailable": 0}), 2, [0, 2, 2, 2]),
        (json!({"minAvailable": 5}), 3, [0, 3, 5, 3]),
        (json!({"maxUnavailable": 9}), 2, [2, 2, 0, 2]),
        (
            json!({"selector": null, "minAvailable": 1}),
            2,
            [0, 0, 1, 0],
        ),
        (json!({"selector": {}, "minAvailable": 1}), 2, [1, 2, 1, 2]),
    ] {
        let story = Story::kept(spec.clone(), replicas);
        assert_eq!(story.numbers(), expected, "{spec}");
        let condition = &story.budget()["conditions"][0];
        let reason = if expected[0] > 0 {
            "SufficientPods"
        } else {
            "InsufficientPods"
        };
        assert_eq!(condition["reason"], reason, "{spec}");
        assert_eq!(story.budget()["observedGeneration"], 1);
    }
}

#[test]
fn what_is_wanted_counts_and_not_what_is_there() {
    let mut story = Story::kept(json!({"maxUnavailable": 1}), 3);
    let scale = json!({"spec": {"replicas": 5}});
    story.world.refuse_pods = Some("no".into());
    story
        .world
        .patch(Kind::ReplicaSet, &name("set"), &scale, false);
    story.count();
    assert_eq!(story.numbers(), [0, 3, 4, 5]);
}

#[test]
fn a_pod_whose_eviction_was_allowed_counts_as_gone_until_it_is_or_two_minutes_are_over() {
    let mut story = Story::kept(json!({"minAvailable": 2}), 3);
    let pod = story.world.of(Kind::Pod).next().unwrap().0.clone();
    let evict = |story: &mut Story| {
        let since = story.world.wall.to_string();
        let spent = json!({"disruptionsAllowed": 0, "disruptedPods": {pod.name.clone(): since}});
        let patch = json!({ "status": spent });
        story
            .world
            .patch(Kind::PodDisruptionBudget, &name("keep"), &patch, true);
        story.count();
    };
    evict(&mut story);
    assert_eq!(story.numbers(), [0, 2, 2, 3]);
    story.pass(Duration::from_secs(121));
    story.count();
    assert_eq!(story.numbers(), [1, 3, 2, 3]);
    assert!(story.budget()["disruptedPods"].is_null());
    assert!(
        story
            .told
            .iter()
            .any(|told| told.starts_with("NotDeleted:"))
    );
    evict(&mut story);
    story.world.remove(Kind::Pod, &pod);
    story.count();
    assert_eq!(story.numbers(), [1, 3, 2, 3]);
    assert!(story.budget()["disruptedPods"].is_null());
}

/// A pod that somebody keeps whom no watch shows.
fn kept_by(owner: &str, pod: &str) -> Value {
    let owner = json!([{"apiVersion": "example.com/v1", "kind": "Mill", "name": owner, "uid": owner, "controller": true}]);
    json!({"metadata": {"name": pod, "labels": {"app": "web"}, "ownerReferences": owner}})
}

#[test]
fn those_who_are_not_watched_are_asked_how_many_pods_they_keep() {
    for (spec, expected) in [
        (json!({"maxUnavailable": 1}), [0, 2, 8, 9]),
        (json!({"maxUnavailable": "80%"}), [1, 2, 1, 9]),
        (json!({"minAvailable": "10%"}), [1, 2, 1, 9]),
        (json!({"minAvailable": 1}), [1, 2, 1, 2]),
    ] {
        let mut story = Story::new();
        story.world.scales.insert("a".into(), Some(7));
        story.world.scales.insert("b".into(), Some(2));
        for (owner, pod) in [("a", "a-1"), ("b", "b-1")] {
            story.world.create(Kind::Pod, kept_by(owner, pod));
        }
        story
            .world
            .create(Kind::PodDisruptionBudget, budget(spec.clone()));
        story.count();
        assert_eq!(story.numbers(), expected, "{spec}");
    }
}

#[test]
fn who_is_gone_keeps_no_pods_and_the_next_count_asks_again() {
    let mut story = Story::new();
    let spec = json!({"maxUnavailable": 1});
    story.world.create(Kind::PodDisruptionBudget, budget(spec));
    story.world.scales.insert("a".into(), None);
    story.world.create(Kind::Pod, kept_by("a", "a-1"));
    story.count();
    assert_eq!(story.numbers(), [0, 1, 0, 0]);
    story.world.scales.insert("a".into(), Some(2));
    story.world.create(Kind::Pod, kept_by("a", "a-2"));
    story.count();
    assert_eq!(story.numbers(), [1, 2, 1, 2]);
}

#[test]
fn pods_of_what_cannot_be_scaled_are_not_counted() {
    let mut story = Story::kept(json!({"maxUnavailable": 1}), 1);
    let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "x", "controller": true}]);
    let pod =
        json!({"metadata": {"name": "d-1", "labels": {"app": "web"}, "ownerReferences": owner}});
    story.world.create(Kind::Pod, pod);
    story.count();
    assert_eq!(story.numbers()[0], 0);
    assert_eq!(story.budget()["conditions"][0]["reason"], "SyncFailed");
    let why = &story.budget()["conditions"][0]["message"];
    assert_eq!(
        why,
        "daemonsets.apps does not implement the scale subresource"
    );
    // It is asked again, and may have got one.
    story.world.scales.insert("d".into(), Some(1));
    story.pass(Duration::from_secs(31));
    story.count();
    assert_eq!(story.budget()["conditions"][0]["reason"], "SufficientPods");
}
