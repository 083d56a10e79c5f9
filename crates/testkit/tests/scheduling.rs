//! Where pods go, and what they say when they go nowhere: one cluster of four nodes that declare two CPUs each.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeMap;

use sealane_testkit::pod::ECHO;
use sealane_testkit::{Cluster, Container, LATER, Pod, UpOptions, eventually};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const HOST: &str = "kubernetes.io/hostname";
const NO_VICTIMS: &str =
    "preemption: 0/4 nodes are available: 4 No preemption victims found for incoming pod.";

#[test]
fn pods_find_their_places_or_say_why_not() {
    let options = UpOptions {
        nodes: 4,
        ..UpOptions::default()
    };
    let cluster = Cluster::up(options.flag("--node-cpu", "2"));
    nodes_declare_what_they_have(&cluster);
    anti_affinity_spreads(&cluster);
    resources_are_waited_for(&cluster);
    zones_are_kept_even(&cluster);
    gates_hold_pods_back(&cluster);
    a_pod_bound_by_hand_must_fit(&cluster);
    cluster.down();
}

fn nodes_declare_what_they_have(cluster: &Cluster) {
    let node = cluster.api().get("/api/v1/nodes/node-1").unwrap();
    let (capacity, allocatable) = (&node["status"]["capacity"], &node["status"]["allocatable"]);
    assert_eq!(
        (&capacity["cpu"], &capacity["pods"]),
        (&json!("2"), &json!("110"))
    );
    assert_eq!(allocatable["cpu"], "2");
    assert!(capacity["ephemeral-storage"].is_string() && capacity["memory"].is_string());
    assert_ne!(capacity["memory"], allocatable["memory"]);
}

/// A pod that asks for so much of a CPU.
fn asking(name: &str, cpu: &str) -> Pod {
    let resources = json!({"requests": {"cpu": cpu}});
    Pod::of(name, [Container::echo("echo").with("resources", resources)])
        .with("terminationGracePeriodSeconds", json!(1))
}

fn node_of(cluster: &Cluster, pod: &str) -> String {
    let pod = cluster.pod(pod).unwrap();
    pod["spec"]["nodeName"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn unscheduled(pod: &Value) -> Option<&Value> {
    let mut conditions = pod["status"]["conditions"].as_array()?.iter();
    conditions.find(|c| c["type"] == "PodScheduled" && c["status"] == "False")
}

/// Waits until a pod's condition, and an Event, say exactly this.
#[track_caller]
fn says(cluster: &Cluster, pod: &str, expected: &str) {
    let condition = cluster.wait_pod(pod, "it says why it has no node", |pod| {
        let condition = unscheduled(pod)?;
        (condition["message"] == expected).then(|| condition.clone())
    });
    assert_eq!(condition["reason"], "Unschedulable");
    eventually(LATER, "an Event says the same", || {
        let events = cluster.api().get("/api/v1/namespaces/default/events")?;
        let told = events["items"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|event| {
                event["reason"] == "FailedScheduling"
                    && event["involvedObject"]["name"] == pod
                    && event["message"] == expected
            });
        told.then_some(())
            .ok_or_else(|| events["items"].to_string())
    });
}

fn anti_affinity_spreads(cluster: &Cluster) {
    let alone = |name: &str| {
        let selector = json!({"matchLabels": {"app": "alone"}});
        let required = json!([{"labelSelector": selector, "topologyKey": HOST}]);
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
        Pod::echo(name)
            .label("app", "alone")
            .with("affinity", json!({"podAntiAffinity": required}))
            .with("terminationGracePeriodSeconds", json!(1))
    };
    let four = ["alone-1", "alone-2", "alone-3", "alone-4"];
    cluster.start(&four.map(alone));
    let mut nodes = four.map(|pod| node_of(cluster, pod));
    nodes.sort();
    assert_eq!(nodes, ["node-1", "node-2", "node-3", "node-4"]);

    cluster.create(&[alone("alone-5")]);
    let why = "0/4 nodes are available: 4 node(s) didn't match pod anti-affinity rules.";
    says(cluster, "alone-5", &format!("{why} {NO_VICTIMS}"));
    // One that nobody told to stay away is kept away all the same.
    let stranger = Pod::echo("stranger").label("app", "alone");
    cluster.create(&[stranger]);
    let why =
        "0/4 nodes are available: 4 node(s) didn't satisfy existing pods anti-affinity rules.";
    says(cluster, "stranger", &format!("{why} {NO_VICTIMS}"));
    cluster.delete(["stranger"]);

    let free = node_of(cluster, "alone-3");
    cluster.delete(["alone-3"]);
    cluster.wait_ready("alone-5");
    assert_eq!(node_of(cluster, "alone-5"), free);
    cluster.delete(["alone-1", "alone-2", "alone-4", "alone-5"]);
}

fn resources_are_waited_for(cluster: &Cluster) {
    let four = ["big-1", "big-2", "big-3", "big-4"];
    cluster.start(&four.map(|name| asking(name, "1500m")));
    cluster.create(&[
        asking("late", "1"),
        asking("huge", "3"),
        asking("small", "500m"),
    ]);
    cluster.wait_ready("small");
    let why = "0/4 nodes are available: 4 Insufficient cpu.";
    says(cluster, "late", &format!("{why} {NO_VICTIMS}"));
    let never = "preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling.";
    says(cluster, "huge", &format!("{why} {never}"));

    let described = cluster.kubectl(["describe", "node", &node_of(cluster, "big-1")]);
    let described = described.succeeds();
    let allocated = described.split_once("Allocated resources:").unwrap().1;
    assert!(
        allocated.contains("1500m (75%)") || allocated.contains("2 (100%)"),
        "{described}"
    );

    cluster.delete(["big-2"]);
    cluster.wait_ready("late");
    cluster.delete(["big-1", "big-3", "big-4", "late", "huge", "small"]);
}

fn zones_are_kept_even(cluster: &Cluster) {
    for (node, zone) in [
        ("node-1", "a"),
        ("node-2", "a"),
        ("node-3", "a"),
        ("node-4", "b"),
    ] {
        let label = format!("topology.kubernetes.io/zone={zone}");
        cluster.kubectl(["label", "node", node, &label]).succeeds();
    }
    let constraint = json!([{
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "even"}},
    }]);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "even"},
        "spec": {
            "replicas": 6, "selector": {"matchLabels": {"app": "even"}},
            "template": {
                "metadata": {"labels": {"app": "even"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "topologySpreadConstraints": constraint,
                    "containers": [{"name": "echo", "image": ECHO}],
                },
            },
        },
    });
    cluster.apply(&deployment.to_string()).succeeds();
    let status = ["rollout", "status", "deployment/even", "--timeout=60s"];
    cluster.kubectl(status).succeeds();
    let pods = cluster
        .api()
        .get(&format!("{PODS}?labelSelector=app%3Deven"))
        .unwrap();
    let mut nodes = BTreeMap::<&str, usize>::new();
    for pod in pods["items"].as_array().unwrap() {
        *nodes
            .entry(pod["spec"]["nodeName"].as_str().unwrap())
            .or_default() += 1;
    }
    // Three pods in each zone; zone b has one node.
    assert_eq!(nodes["node-4"], 3, "{nodes:?}");
    cluster.kubectl(["delete", "deployment", "even"]).succeeds();
}

fn gates_hold_pods_back(cluster: &Cluster) {
    let gate = json!([{"name": "example.com/wait"}]);
    cluster.create(&[Pod::echo("gated").with("schedulingGates", gate)]);
    cluster.wait_pod("gated", "it says that it is held back", |pod| {
        (unscheduled(pod)?["reason"] == "SchedulingGated").then_some(())
    });
    assert_eq!(node_of(cluster, "gated"), "");
    let open = json!({"spec": {"schedulingGates": null}});
    cluster
        .api()
        .merge(&format!("{PODS}/gated"), &open)
        .unwrap();
    cluster.wait_ready("gated");
    cluster.delete(["gated"]);
}

fn a_pod_bound_by_hand_must_fit(cluster: &Cluster) {
    let bound = |pod: Pod| pod.with("nodeName", json!("node-1"));
    let elsewhere = Pod::echo("elsewhere").with("nodeSelector", json!({HOST: "node-2"}));
    cluster.create(&[
        bound(asking("greedy", "3")),
        bound(elsewhere),
        bound(asking("modest", "1")),
    ]);
    cluster.wait_ready("modest");
    let refused = |pod: &str, reason: &str, message: &str| {
        let status = cluster.wait_pod(pod, "it has failed", |pod| {
            (pod["status"]["phase"] == "Failed").then(|| pod["status"].clone())
        });
        assert_eq!(status["reason"], reason);
        assert_eq!(status["message"], message);
    };
    let why = "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000";
    refused("greedy", "OutOfcpu", why);
    let why = "Pod was rejected: Predicate NodeAffinity failed: \
               node(s) didn't match Pod's node affinity/selector";
    refused("elsewhere", "NodeAffinity", why);
    cluster.delete(["greedy", "elsewhere", "modest"]);
}
