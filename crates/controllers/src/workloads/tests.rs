//! Stories of ReplicaSets and Deployments.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::simulation::{KINDS, Story, name};
use crate::action::Kind;

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    })
}

fn replica_set(replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "set"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("a")},
    })
}

fn deployment(replicas: i32, strategy: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": replicas, "strategy": strategy, "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": "web"}}, "template": template("a"),
        },
    })
}

fn rolling(surge: Value, missing: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}})
}

impl Story {
    fn with(kind: Kind, object: Value) -> Self {
        let mut story = Self::new();
        story.world.create(kind, object);
        story.settle(true);
        story
    }

    fn change(&mut self, kind: Kind, which: &str, patch: Value) {
        self.world.patch(kind, &name(which), &patch, false);
    }

    fn set_image(&mut self, image: &str) {
        let spec = json!({"spec": {"template": template(image)}});
        self.change(Kind::Deployment, "web", spec);
    }

    fn status(&self) -> &Value {
        &self.world.get(Kind::Deployment, &name("web"))["status"]
    }

    fn condition(&self, kind: &str) -> (String, String) {
        let conditions = self.status()["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|c| c["type"] == kind).unwrap();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"))
    }

    /// Sizes of ReplicaSets by image.
    fn sizes(&self) -> Vec<(String, i64)> {
        let sets = self.world.of(Kind::ReplicaSet);
        let mut sizes: Vec<_> = sets
            .map(|(_, set)| {
                let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
                let size = set["spec"]["replicas"].as_i64().unwrap();
                (image.as_str().unwrap().to_owned(), size)
            })
            .collect();
        sizes.sort();
        sizes
    }

    fn revision_of(&self, image: &str) -> String {
        let mut sets = self.world.of(Kind::ReplicaSet).map(|(_, set)| set);
        let set =
            sets.find(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] == image);
        let revision =
            &set.unwrap()["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
        revision.as_str().unwrap().to_owned()
    }
}

#[test]
fn a_set_makes_its_pods_and_says_so() {
    let story = Story::with(Kind::ReplicaSet, replica_set(3));
    let pods = story.world.pods();
    assert_eq!(pods.len(), 3);
    let meta = &pods[0]["metadata"];
    assert_eq!(meta["labels"], json!({"app": "web"}));
    assert_eq!(meta["generateName"], "set-");
    assert_eq!(meta["ownerReferences"][0]["kind"], "ReplicaSet");
    assert_eq!(meta["ownerReferences"][0]["blockOwnerDeletion"], true);
    let set = story.world.get(Kind::ReplicaSet, &name("set"));
    assert_eq!(
        set["status"],
        json!({"replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3,
               "availableReplicas": 3, "observedGeneration": 1})
    );
    assert_eq!(story.told.len(), 3);
    assert!(story.told[0].starts_with("SuccessfulCreate: Created pod: set-"));
}

#[test]
fn a_set_takes_in_matching_pods_and_lets_go_of_others() {
    let mut story = Story::new();
    story.world.create(
        Kind::Pod,
        json!({"metadata": {"name": "stray", "labels": {"app": "web"}}}),
    );
    story.world.create(Kind::ReplicaSet, replica_set(2));
    story.settle(true);
    assert_eq!(story.world.pods().len(), 2);
    let stray = story.world.get(Kind::Pod, &name("stray"));
    assert_eq!(stray["metadata"]["ownerReferences"][0]["name"], "set");

    let other = json!({"metadata": {"labels": {"app": "other"}}});
    story.change(Kind::Pod, "stray", other);
    story.settle(true);
    let stray = story.world.get(Kind::Pod, &name("stray"));
    assert_eq!(stray["metadata"]["ownerReferences"], json!([]));
    assert_eq!(story.world.pods().len(), 3);
}

#[test]
fn a_set_that_may_not_make_pods_asks_for_one_and_says_why() {
    let mut story = Story::new();
    story.world.refuse_pods = Some("pods are forbidden".into());
    story.world.create(Kind::ReplicaSet, replica_set(50));
    story.settle(true);
    assert_eq!(
        story.told,
        ["FailedCreate: Error creating: pods are forbidden"]
    );
    let set = story.world.get(Kind::ReplicaSet, &name("set"));
    let failure = &set["status"]["conditions"][0];
    assert_eq!(
        (&failure["type"], &failure["reason"], &failure["message"]),
        (
            &json!("ReplicaFailure"),
            &json!("FailedCreate"),
            &json!("pods are forbidden")
        )
    );
    story.world.refuse_pods = None;
    story.pass(Duration::from_millis(100));
    story.settle(true);
    assert_eq!(story.world.pods().len(), 50);
    let set = story.world.get(Kind::ReplicaSet, &name("set"));
    assert!(set["status"]["conditions"].is_null());
}

#[test]
fn a_replication_controller_keeps_pods_too() {
    let rc = json!({
        "metadata": {"name": "rc"},
        "spec": {"replicas": 2, "selector": {"app": "web"}, "template": template("a")},
    });
    let story = Story::with(Kind::ReplicationController, rc);
    let owner = &story.world.pods()[1]["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["apiVersion"], &owner["kind"]),
        (&json!("v1"), &json!("ReplicationController"))
    );
}

#[test]
fn pods_that_are_missed_least_go_first() {
    let mut story = Story::with(Kind::ReplicaSet, replica_set(3));
    let names: Vec<_> = story
        .world
        .of(Kind::Pod)
        .map(|(name, _)| name.clone())
        .collect();
    let not_ready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    story.world.patch(Kind::Pod, &names[1], &not_ready, true);
    story.change(Kind::ReplicaSet, "set", json!({"spec": {"replicas": 2}}));
    story.settle(false);
    let going = &story.world.get(Kind::Pod, &names[1])["metadata"]["deletionTimestamp"];
    assert!(going.is_string());
    assert_eq!(story.world.pods().len(), 2);
}

#[test]
fn a_deployment_comes_up_and_says_what_rollout_status_waits_for() {
    let story = Story::with(Kind::Deployment, deployment(3, rolling(json!(1), json!(0))));
    assert_eq!(story.world.available(), 3);
    assert_eq!(
        story.condition("Progressing"),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
    assert_eq!(
        story.condition("Available"),
        ("True".into(), "MinimumReplicasAvailable".into())
    );
    let status = story.status();
    let counts = [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
    ];
    let counts = counts.map(|field| status[field].as_i64().unwrap());
    assert_eq!(counts, [3, 3, 3, 3, 1]);
    assert!(status["unavailableReplicas"].is_null());
    let deployment = story.world.get(Kind::Deployment, &name("web"));
    assert_eq!(
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    let (set, object) = story.world.of(Kind::ReplicaSet).next().unwrap();
    let hash = set.name.strip_prefix("web-").unwrap();
    assert_eq!(
        object["spec"]["selector"]["matchLabels"]["pod-template-hash"],
        hash
    );
    assert_eq!(object["metadata"]["labels"]["pod-template-hash"], hash);
    assert_eq!(
        story.told[0],
        format!("ScalingReplicaSet: Scaled up replica set web-{hash} from 0 to 3")
    );
}

#[test]
fn an_image_that_is_set_back_finds_its_old_set_with_a_new_revision() {
    let mut story = Story::with(Kind::Deployment, deployment(2, rolling(json!(1), json!(0))));
    story.set_image("b");
    story.settle(true);
    assert_eq!(story.sizes(), [("a".into(), 0), ("b".into(), 2)]);
    assert_eq!(story.revision_of("b"), "2");
    story.set_image("a");
    story.settle(true);
    assert_eq!(story.sizes(), [("a".into(), 2), ("b".into(), 0)]);
    assert_eq!(story.revision_of("a"), "3");
    let shown = &story.world.get(Kind::Deployment, &name("web"))["metadata"]["annotations"];
    assert_eq!(shown["deployment.kubernetes.io/revision"], "3");
}

#[test]
fn old_sets_beyond_the_history_limit_are_removed() {
    let mut story = Story::with(Kind::Deployment, deployment(1, rolling(json!(1), json!(0))));
    for image in ["b", "c", "d", "e"] {
        story.set_image(image);
        story.settle(true);
    }
    assert_eq!(
        story.sizes(),
        [("c".into(), 0), ("d".into(), 0), ("e".into(), 1)]
    );
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut story = Story::with(Kind::Deployment, deployment(2, rolling(json!(1), json!(0))));
    story.change(Kind::Deployment, "web", json!({"spec": {"paused": true}}));
    story.set_image("b");
    story.settle(true);
    assert_eq!(story.sizes(), [("a".into(), 2)]);
    assert_eq!(
        story.condition("Progressing"),
        ("Unknown".into(), "DeploymentPaused".into())
    );
    story.change(Kind::Deployment, "web", json!({"spec": {"replicas": 4}}));
    story.settle(true);
    assert_eq!(story.sizes(), [("a".into(), 4)]);
    story.change(Kind::Deployment, "web", json!({"spec": {"paused": false}}));
    story.settle(true);
    assert_eq!(story.sizes(), [("a".into(), 0), ("b".into(), 4)]);
    assert_eq!(
        story.condition("Progressing"),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
}

#[test]
fn recreate_never_runs_two_versions_at_once() {
    let mut story = Story::with(Kind::Deployment, deployment(3, json!({"type": "Recreate"})));
    story.set_image("b");
    for _ in 0..500 {
        story.deliver_all();
        if !story.perform(0) {
            story.world.kubelet(0);
        }
        let images = story
            .world
            .of(Kind::Pod)
            .map(|(_, pod)| pod["spec"]["containers"][0]["image"].clone());
        let images: std::collections::BTreeSet<_> = images.map(|image| image.to_string()).collect();
        assert!(images.len() < 2, "{images:?}");
    }
    assert_eq!(story.sizes(), [("a".into(), 0), ("b".into(), 3)]);
    assert_eq!(story.world.available(), 3);
}

#[test]
fn a_rollout_that_gets_nowhere_is_said_to_after_its_deadline() {
    let mut story = Story::with(Kind::Deployment, deployment(2, rolling(json!(1), json!(0))));
    story.set_image("broken");
    story.settle(false);
    assert_eq!(
        story.condition("Progressing"),
        ("True".into(), "ReplicaSetUpdated".into())
    );
    story.pass(Duration::from_secs(599));
    story.settle(false);
    assert_eq!(
        story.condition("Progressing"),
        ("True".into(), "ReplicaSetUpdated".into())
    );
    story.pass(Duration::from_secs(2));
    story.settle(false);
    assert_eq!(
        story.condition("Progressing"),
        ("False".into(), "ProgressDeadlineExceeded".into())
    );
    story.set_image("a");
    story.settle(true);
    assert_eq!(
        story.condition("Progressing"),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
}

#[test]
fn a_new_number_in_the_middle_of_a_rollout_is_shared_in_proportion() {
    let mut story = Story::with(
        Kind::Deployment,
        deployment(10, rolling(json!(3), json!(2))),
    );
    story.set_image("b");
    story.settle(false);
    assert_eq!(story.sizes(), [("a".into(), 8), ("b".into(), 5)]);
    story.change(Kind::Deployment, "web", json!({"spec": {"replicas": 15}}));
    story.settle(false);
    // Documentation of Deployments, "Proportional scaling": 5 more, 3 to the old set and 2 to the new one.
    assert_eq!(story.sizes(), [("a".into(), 11), ("b".into(), 7)]);
}

#[test]
fn a_name_that_is_taken_leads_to_another() {
    let mut story = Story::new();
    story
        .world
        .create(Kind::Deployment, deployment(1, rolling(json!(1), json!(0))));
    let deployment = story.world.get(Kind::Deployment, &name("web")).clone();
    let deployment = super::deployment::Deployment::of(serde_json::from_value(deployment).unwrap());
    let taken = super::rollout::set_name(&deployment);
    let mut squatter = replica_set(0);
    squatter["metadata"]["name"] = json!(taken);
    squatter["spec"]["selector"] = json!({"matchLabels": {"app": "squatter"}});
    story.world.create(Kind::ReplicaSet, squatter);
    story.settle(true);
    assert_eq!(story.status()["collisionCount"], 1);
    assert_eq!(story.world.available(), 1);
}

/// What happens next, in a world where nobody waits for anybody.
#[derive(Clone, Debug)]
enum Step {
    Deliver(usize),
    Relist(usize),
    Perform(usize),
    Kubelet(usize),
    Delete(usize),
    Image(usize),
    Scale(i32),
}

fn steps(user: bool) -> impl Strategy<Value = Vec<Step>> {
    let weight = u32::from(user);
    let step = prop_oneof![
        8 => (0..4usize).prop_map(Step::Deliver),
        1 => (0..4usize).prop_map(Step::Relist),
        8 => (0..8usize).prop_map(Step::Perform),
        4 => (0..8usize).prop_map(Step::Kubelet),
        weight => (0..8usize).prop_map(Step::Delete),
        weight => (0..3usize).prop_map(Step::Image),
        weight => (0..6i32).prop_map(Step::Scale),
    ];
    prop::collection::vec(step, 1..150)
}

impl Story {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Deliver(kind) => drop(self.deliver(KINDS[*kind])),
            Step::Relist(kind) => self.world.relist(KINDS[*kind]),
            Step::Perform(index) => drop(self.perform(*index)),
            Step::Kubelet(index) => self.world.kubelet(*index),
            Step::Delete(index) => {
                let pods: Vec<_> = self
                    .world
                    .of(Kind::Pod)
                    .map(|(name, _)| name.clone())
                    .collect();
                if let Some(pod) = pods.get(*index) {
                    self.world.remove(Kind::Pod, pod);
                }
            }
            Step::Image(image) => self.set_image(["a", "b", "c"][*image]),
            Step::Scale(replicas) => {
                self.change(
                    Kind::Deployment,
                    "web",
                    json!({"spec": {"replicas": replicas}}),
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    #[test]
    fn a_rolling_update_keeps_within_surge_and_availability(
        steps in steps(false), surge in 0..3i32, missing in 0..3i32,
    ) {
        prop_assume!(surge + missing > 0);
        let strategy = rolling(json!(surge), json!(missing));
        let mut story = Story::with(Kind::Deployment, deployment(4, strategy));
        story.set_image("b");
        let check = |story: &Story| {
            // As in Kubernetes, the surge limits what is asked for; pods may take a moment to go.
            let asked: i64 = story.sizes().iter().map(|(_, size)| size).sum();
            assert!(asked <= i64::from(4 + surge), "{asked} asked for");
            let available = story.world.available();
            assert!(available >= usize::try_from(4 - missing).unwrap(), "{available} available");
            for image in ["a", "b"] {
                let of_image = |pod: &&&Value| pod["spec"]["containers"][0]["image"] == image;
                let pods = story.world.pods().iter().filter(of_image).count();
                assert!(pods <= 4, "{pods} pods of {image}");
            }
        };
        for step in &steps {
            story.take(step);
            check(&story);
        }
        while story.sizes() != [("a".into(), 0), ("b".into(), 4)] || story.world.available() < 4 {
            story.deliver_all();
            if !story.perform(0) {
                story.world.kubelet(0);
            }
            check(&story);
        }
    }

    #[test]
    fn whatever_happens_the_declared_state_is_reached(steps in steps(true)) {
        let mut story = Story::with(Kind::Deployment, deployment(3, rolling(json!("25%"), json!("25%"))));
        for step in &steps {
            story.take(step);
        }
        story.settle(true);
        // A pod that came and went within a gap of the watch is waited for this long.
        story.pass(Duration::from_secs(300));
        story.settle(true);
        let deployment = story.world.get(Kind::Deployment, &name("web"));
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        let wanted = deployment["spec"]["replicas"].as_u64().unwrap();
        let pods = story.world.pods();
        assert_eq!(pods.len() as u64, wanted);
        assert!(pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == *image));
        let expected = ("True".to_owned(), "NewReplicaSetAvailable".to_owned());
        assert_eq!(story.condition("Progressing"), expected);
        assert_eq!(story.status()["availableReplicas"].as_u64().unwrap_or(0), wanted);
    }
}
