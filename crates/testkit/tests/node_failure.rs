//! A node that falls silent: its pods are replaced elsewhere, traffic follows, and when the node is
//! back nothing of what was replaced is left on it.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use sealane_testkit::pod::ECHO;
use sealane_testkit::{Cluster, UpOptions, eventually};

/// Far more than it takes: grace, toleration and start are ten seconds together.
const PATIENCE: Duration = Duration::from_secs(90);
/// The node that fails.
const VICTIM: u32 = 2;

fn workload(kind: &str, name: &str, replicas: u32) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "echo", "image": ECHO}],
                },
            },
        },
    });
    if kind == "StatefulSet" {
        object["spec"]["serviceName"] = json!(name);
        object["spec"]["podManagementPolicy"] = json!("Parallel");
    }
    object
}

fn items(cluster: &Cluster, path: &str) -> Vec<Value> {
    let list = cluster.api().get(path).unwrap();
    list["items"].as_array().unwrap().clone()
}

fn pods(cluster: &Cluster, app: &str) -> Vec<Value> {
    let path = format!("/api/v1/namespaces/default/pods?labelSelector=app%3D{app}");
    items(cluster, &path)
}

fn is_on(pod: &Value, node: u32) -> bool {
    pod["spec"]["nodeName"] == format!("node-{node}")
}

fn is_leaving(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
}

fn is_true(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|c| c["type"] == kind && c["status"] == "True")
}

fn address(pod: &Value) -> String {
    pod["status"]["podIP"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The pods that serve: ready and not leaving.
fn serving(pods: &[Value]) -> BTreeSet<String> {
    let serves = |pod: &&Value| is_true(pod, "Ready") && !is_leaving(pod);
    pods.iter().filter(serves).map(address).collect()
}

/// Addresses to which the Service sends.
fn endpoints(cluster: &Cluster) -> BTreeSet<String> {
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dweb";
    let slices = items(cluster, path);
    let endpoints = slices
        .iter()
        .flat_map(|s| s["endpoints"].as_array())
        .flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    ready
        .filter_map(|endpoint| endpoint["addresses"][0].as_str())
        .map(str::to_owned)
        .collect()
}

/// Waits until so many pods of an app serve, none of them on `not_on`, and the Service sends to exactly those of `web`.
#[track_caller]
fn served(cluster: &Cluster, replicas: usize, not_on: Option<u32>) {
    eventually(
        PATIENCE,
        &format!("{replicas} pods serve, not on {not_on:?}"),
        || {
            let all = pods(cluster, "web");
            let (serving, sent) = (serving(&all), endpoints(cluster));
            let wrong = |pod: &Value| {
                let there = not_on.is_some_and(|node| is_on(pod, node));
                there && is_true(pod, "Ready")
            };
            if serving.len() == replicas && serving == sent && !all.iter().any(wrong) {
                Ok(())
            } else {
                Err(format!("serving {serving:?}, endpoints {sent:?}"))
            }
        },
    );
}

fn node(cluster: &Cluster) -> Value {
    let path = format!("/api/v1/nodes/node-{VICTIM}");
    cluster.api().get(&path).unwrap()
}

#[track_caller]
fn set_link(cluster: &Cluster, state: &str) {
    let netns = cluster.node(VICTIM);
    netns.run("ip", ["link", "set", "eth0", state]).succeeds();
}

#[test]
fn pods_of_a_node_that_falls_silent_run_elsewhere_and_it_comes_back_clean() {
    let cluster = Cluster::up(UpOptions {
        nodes: 3,
        ..UpOptions::default()
    });
    cluster
        .apply(&workload("Deployment", "web", 6).to_string())
        .succeeds();
    cluster
        .apply(&workload("StatefulSet", "db", 3).to_string())
        .succeeds();
    let expose = [
        "expose",
        "deployment",
        "web",
        "--port",
        "80",
        "--target-port",
        "8080",
    ];
    cluster.kubectl(expose).succeeds();
    served(&cluster, 6, None);
    eventually(PATIENCE, "the StatefulSet is up", || {
        (serving(&pods(&cluster, "db")).len() == 3).then_some(())
    });
    let lost: Vec<_> = pods(&cluster, "db")
        .into_iter()
        .filter(|pod| is_on(pod, VICTIM))
        .collect();
    assert!(!lost.is_empty(), "the StatefulSet is spread");
    assert!(pods(&cluster, "web").iter().any(|pod| is_on(pod, VICTIM)));

    let cut = Instant::now();
    set_link(&cluster, "down");
    served(&cluster, 6, Some(VICTIM));
    eprintln!(
        "pods of a silent node replaced and served after {:?}",
        cut.elapsed()
    );
    let silent = node(&cluster);
    assert!(
        !is_true(&silent, "Ready"),
        "{}",
        silent["status"]["conditions"]
    );
    let taints = silent["spec"]["taints"].to_string();
    assert!(
        taints.contains("node.kubernetes.io/unreachable"),
        "{taints}"
    );
    let events = cluster.kubectl(["get", "events"]).succeeds();
    for reason in ["NodeNotReady", "TaintManagerEviction"] {
        assert!(events.contains(reason), "{events}");
    }
    // Whether a pod of a StatefulSet still runs there nobody knows: it is not made a second time.
    let names = |pods: &[Value]| -> BTreeSet<String> {
        let name = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap().to_owned();
        pods.iter().map(name).collect()
    };
    eventually(PATIENCE, "the StatefulSet's pod is to go", || {
        let all = pods(&cluster, "db");
        let there = all.iter().filter(|pod| is_on(pod, VICTIM));
        there.clone().all(is_leaving).then_some(())
    });
    assert!(names(&pods(&cluster, "db")).is_superset(&names(&lost)));

    let back = Instant::now();
    set_link(&cluster, "up");
    eventually(PATIENCE, "the node is as before", || {
        let node = node(&cluster);
        let taints = &node["spec"]["taints"];
        let untainted = taints.is_null() || taints == &json!([]);
        if is_true(&node, "Ready") && untainted {
            Ok(())
        } else {
            Err(format!("{taints}"))
        }
    });
    eprintln!("the node is ready again after {:?}", back.elapsed());
    eventually(PATIENCE, "what was replaced is gone", || {
        let mut all = pods(&cluster, "web");
        all.extend(pods(&cluster, "db"));
        let leaving = all.iter().filter(|pod| is_leaving(pod)).count();
        if leaving > 0 || serving(&all).len() != 9 {
            return Err(format!(
                "{leaving} pods leave, {} serve",
                serving(&all).len()
            ));
        }
        let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap().to_owned();
        let here = all.iter().filter(|pod| is_on(pod, VICTIM));
        let here = here.map(|pod| (uid(pod), address(pod))).collect();
        let wrong = cluster.holdings(VICTIM).differences(&here);
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("; "))
        }
    });
    eprintln!("nothing of the old pods is left after {:?}", back.elapsed());

    // A Node object that is deleted comes back with its pods.
    let before = node(&cluster)["metadata"]["uid"].clone();
    cluster
        .kubectl(["delete", "node", &format!("node-{VICTIM}")])
        .succeeds();
    eventually(PATIENCE, "the node registers again", || {
        let path = format!("/api/v1/nodes/node-{VICTIM}");
        let node = cluster.api().get(&path).ok()?;
        (node["metadata"]["uid"] != before && is_true(&node, "Ready")).then_some(())
    });
    served(&cluster, 6, None);
}
