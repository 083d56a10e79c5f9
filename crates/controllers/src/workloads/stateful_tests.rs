//! Stories of StatefulSets and DaemonSets.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::simulation::{Story, name};
use crate::action::Kind;
use crate::testing::node;
use crate::view::NodeView;
use sealane_objects::{Effect, Taint};

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "db"}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    })
}

fn stateful_set(replicas: i32, policy: &str, partition: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {
            "replicas": replicas, "serviceName": "db", "podManagementPolicy": policy,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {"app": "db"}}, "template": template("a"),
        },
    })
}

fn daemon_set() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "daemon"},
        "spec": {
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "selector": {"matchLabels": {"app": "db"}}, "template": template("a"),
        },
    })
}

impl Story {
    fn of(kind: Kind, object: Value) -> Self {
        let mut story = Self::new();
        story.world.create(kind, object);
        story
    }

    fn update(&mut self, kind: Kind, which: &str, spec: Value) {
        self.world
            .patch(kind, &name(which), &json!({"spec": spec}), false);
    }

    /// Names and images of pods that are not on their way out.
    fn images(&self) -> Vec<(String, String)> {
        let pods = self.world.of(Kind::Pod);
        let pods = pods.filter(|(_, pod)| pod["metadata"]["deletionTimestamp"].is_null());
        pods.map(|(name, pod)| {
            let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
            (name.name.clone(), image.to_owned())
        })
        .collect()
    }

    fn pods_named(&self) -> Vec<String> {
        self.images().into_iter().map(|(name, _)| name).collect()
    }

    /// One thing happens; what the pods are then, if that is news.
    fn watch_pods(&mut self, mut look: impl FnMut(&Self)) {
        for _ in 0..2000 {
            self.deliver_all();
            if !self.perform(0) {
                self.world.kubelet(0);
            }
            look(self);
        }
    }

    fn images_by_node(&self) -> BTreeMap<String, String> {
        let pods = self.world.of(Kind::Pod);
        let pods = pods.filter(|(_, pod)| pod["metadata"]["deletionTimestamp"].is_null());
        pods.map(|(_, pod)| {
            let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
            let node = &pod.pointer(terms).unwrap()[0]["matchFields"][0]["values"][0];
            let image = &pod["spec"]["containers"][0]["image"];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(node), text(image))
        })
        .collect()
    }
}

fn tainted(effect: Effect) -> NodeView {
    NodeView {
        taints: vec![Taint {
            key: "dedicated".into(),
            value: "x".into(),
            effect,
        }],
        ..node("n")
    }
}

#[test]
fn pods_come_one_after_the_other_with_names_that_stay() {
    let mut story = Story::of(Kind::StatefulSet, stateful_set(3, "OrderedReady", 0));
    story.settle(false);
    assert_eq!(story.pods_named(), ["db-0"]);
    story.world.kubelet(0);
    story.settle(false);
    assert_eq!(story.pods_named(), ["db-0", "db-1"]);
    story.settle(true);
    assert_eq!(story.pods_named(), ["db-0", "db-1", "db-2"]);
    let pod = story.world.get(Kind::Pod, &name("db-1"));
    assert_eq!(pod["spec"]["hostname"], "db-1");
    assert_eq!(pod["spec"]["subdomain"], "db");
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "db-1");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
    let status = &story.world.get(Kind::StatefulSet, &name("db"))["status"];
    assert_eq!(status["readyReplicas"], 3);
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(labels["controller-revision-hash"], status["updateRevision"]);
    assert_eq!(
        story.told[0],
        "SuccessfulCreate: create Pod db-0 in StatefulSet db successful"
    );
}

#[test]
fn in_parallel_they_come_at_once() {
    let mut story = Story::of(Kind::StatefulSet, stateful_set(3, "Parallel", 0));
    story.settle(false);
    assert_eq!(story.pods_named(), ["db-0", "db-1", "db-2"]);
}

#[test]
fn a_pod_that_is_lost_comes_back_under_its_name() {
    let mut story = Story::of(Kind::StatefulSet, stateful_set(3, "OrderedReady", 0));
    story.settle(true);
    story.world.remove(Kind::Pod, &name("db-1"));
    story.settle(true);
    assert_eq!(story.pods_named(), ["db-0", "db-1", "db-2"]);
}

#[test]
fn the_highest_goes_first_and_is_gone_before_the_next() {
    let mut story = Story::of(Kind::StatefulSet, stateful_set(3, "OrderedReady", 0));
    story.settle(true);
    story.update(Kind::StatefulSet, "db", json!({"replicas": 1}));
    story.settle(false);
    assert_eq!(story.pods_named(), ["db-0", "db-1"]);
    story.settle(true);
    assert_eq!(story.pods_named(), ["db-0"]);
}

#[test]
fn an_update_goes_from_the_highest_down_one_at_a_time() {
    let mut story = Story::of(Kind::StatefulSet, stateful_set(3, "OrderedReady", 0));
    story.settle(true);
    story.update(Kind::StatefulSet, "db", json!({"template": template("b")}));
    let mut seen = vec![];
    story.watch_pods(|story| {
        assert!(story.world.available() >= 2);
        let images: String = story.images().into_iter().map(|(_, image)| image).collect();
        if images.len() == 3 && seen.last() != Some(&images) {
            seen.push(images);
        }
    });
    assert_eq!(seen, ["aaa", "aab", "abb", "bbb"]);
    let status = &story.world.get(Kind::StatefulSet, &name("db"))["status"];
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(status["updatedReplicas"], 3);
    assert_eq!(story.world.of(Kind::ControllerRevision).count(), 2);
}

#[test]
fn a_partition_keeps_the_lower_ones_as_they_were_even_if_they_are_lost() {
    let mut story = Story::of(Kind::StatefulSet, stateful_set(3, "OrderedReady", 2));
    story.settle(true);
    story.update(Kind::StatefulSet, "db", json!({"template": template("b")}));
    story.settle(true);
    let images = |story: &Story| {
        story
            .images()
            .into_iter()
            .map(|(_, i)| i)
            .collect::<String>()
    };
    assert_eq!(images(&story), "aab");
    story.world.remove(Kind::Pod, &name("db-0"));
    story.settle(true);
    assert_eq!(images(&story), "aab");
    let back = json!({"updateStrategy": {"rollingUpdate": {"partition": 0}}});
    story.update(Kind::StatefulSet, "db", back);
    story.settle(true);
    assert_eq!(images(&story), "bbb");
}

#[test]
fn going_back_finds_the_old_revision_and_history_has_a_limit() {
    let mut story = Story::of(Kind::StatefulSet, stateful_set(1, "OrderedReady", 0));
    story.settle(true);
    for image in ["b", "a", "c", "d"] {
        story.update(
            Kind::StatefulSet,
            "db",
            json!({"template": template(image)}),
        );
        story.settle(true);
    }
    let revisions = story.world.of(Kind::ControllerRevision);
    let mut held: Vec<_> = revisions
        .map(|(_, r)| {
            let image = &r["data"]["spec"]["template"]["spec"]["containers"][0]["image"];
            (
                r["revision"].as_i64().unwrap(),
                image.as_str().unwrap().to_owned(),
            )
        })
        .collect();
    held.sort();
    assert_eq!(held, [(4, "c".into()), (5, "d".into())]);
}

#[test]
fn every_node_that_may_have_a_daemon_has_one() {
    let mut story = Story::of(Kind::DaemonSet, daemon_set());
    story.nodes(vec![
        ("node-1", node("1")),
        ("node-2", node("2")),
        ("tainted", tainted(Effect::NoSchedule)),
    ]);
    story.settle(true);
    let expected = |nodes: &[&str], image: &str| -> BTreeMap<String, String> {
        nodes
            .iter()
            .map(|node| ((*node).to_owned(), image.to_owned()))
            .collect()
    };
    assert_eq!(story.images_by_node(), expected(&["node-1", "node-2"], "a"));
    let pod = story.world.pods()[0].clone();
    let tolerations = pod["spec"]["tolerations"].as_array().unwrap();
    assert!(
        tolerations
            .iter()
            .any(|t| t["key"] == "node.kubernetes.io/unschedulable")
    );
    let status = &story.world.get(Kind::DaemonSet, &name("daemon"))["status"];
    let counts = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "numberAvailable",
        "updatedNumberScheduled",
    ];
    assert_eq!(counts.map(|field| status[field].as_i64().unwrap()), [2; 5]);

    story.nodes(vec![
        ("node-1", node("1")),
        ("node-2", tainted(Effect::NoSchedule)),
        ("node-3", node("3")),
    ]);
    story.settle(true);
    // Who is there may stay.
    assert_eq!(
        story.images_by_node(),
        expected(&["node-1", "node-2", "node-3"], "a")
    );
    story.nodes(vec![
        ("node-1", node("1")),
        ("node-2", tainted(Effect::NoExecute)),
        ("node-3", node("3")),
    ]);
    story.settle(true);
    assert_eq!(story.images_by_node(), expected(&["node-1", "node-3"], "a"));
}

#[test]
fn daemons_are_updated_one_node_at_a_time() {
    let mut story = Story::of(Kind::DaemonSet, daemon_set());
    story.nodes(vec![
        ("node-1", node("1")),
        ("node-2", node("2")),
        ("node-3", node("3")),
    ]);
    story.settle(true);
    story.update(
        Kind::DaemonSet,
        "daemon",
        json!({"template": template("b")}),
    );
    story.watch_pods(|story| assert!(story.world.available() >= 2));
    assert!(story.images_by_node().values().all(|image| image == "b"));
    assert_eq!(story.world.available(), 3);
}

#[test]
fn with_a_surge_a_daemon_comes_before_the_old_one_goes() {
    let mut story = Story::of(Kind::DaemonSet, daemon_set());
    let surge =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    story.update(Kind::DaemonSet, "daemon", json!({"updateStrategy": surge}));
    story.nodes(vec![
        ("n1", node("1")),
        ("n2", node("2")),
        ("n3", node("3")),
    ]);
    story.settle(true);
    assert_eq!(story.pods_named().len(), 3);
    story.update(
        Kind::DaemonSet,
        "daemon",
        json!({"template": template("b")}),
    );
    let mut most = 0;
    story.watch_pods(|story| {
        assert!(story.world.available() >= 3, "a node is without its daemon");
        most = most.max(story.images().len());
    });
    // The next new one is asked for together with the end of the last old one.
    assert!((4..=5).contains(&most), "{most} at once");
    let images: Vec<_> = story.images_by_node().into_values().collect();
    assert_eq!(
        (images.join(""), story.pods_named().len()),
        ("bbb".to_owned(), 3)
    );
}

#[test]
fn as_many_pods_of_a_stateful_set_are_replaced_together_as_may_be_missing() {
    let mut set = stateful_set(5, "Parallel", 1);
    set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!(2);
    let mut story = Story::of(Kind::StatefulSet, set);
    story.settle(true);
    story.update(Kind::StatefulSet, "db", json!({"template": template("b")}));
    let mut fewest = 5;
    story.watch_pods(|story| {
        fewest = fewest.min(story.world.available());
    });
    assert_eq!(fewest, 3);
    let images: Vec<_> = story.images().into_iter().map(|(_, image)| image).collect();
    assert_eq!(images.join(""), "abbbb");
}
