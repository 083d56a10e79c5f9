//! From the creation of a Deployment of 100 replicas on four nodes to all of them Ready, stage by stage.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sealane_testkit::pod::ECHO;
use sealane_testkit::{Cluster, LATER, UpOptions, eventually};
use serde_json::{Value, json};

use crate::samples::{Report, Samples};

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const REPLICAS: usize = 100;
const NODES: u32 = 4;
const RUNS: u32 = 7;
/// What each pod goes through, in order.
const STAGES: [&str; 5] = ["created", "scheduled", "sandbox made", "running", "Ready"];

/// When a watch showed each pod at each stage for the first time.
type Seen = BTreeMap<String, [Option<Instant>; STAGES.len()]>;

/// Measures several runs in one cluster.
pub fn measure(report: &mut Report) {
    let cluster = Cluster::up(UpOptions {
        nodes: NODES,
        ..UpOptions::default()
    });
    let mut last = STAGES.map(|_| Samples::default());
    for _ in 0..RUNS {
        let (begun, seen) = run(&cluster);
        for (stage, samples) in last.iter_mut().enumerate() {
            let latest = seen.values().filter_map(|stages| stages[stage]).max();
            samples.push(latest.map_or(Duration::ZERO, |latest| latest - begun));
        }
    }
    for (stage, samples) in STAGES.iter().zip(&last) {
        report.times(
            &format!("100 replicas on 4 nodes, the last one {stage}"),
            samples,
        );
    }
    cluster.down();
}

fn run(cluster: &Cluster) -> (Instant, Seen) {
    let history = cluster.api().history(PODS);
    let begun = Instant::now();
    cluster
        .api()
        .create(DEPLOYMENTS, &deployment())
        .unwrap_or_else(|error| panic!("{error}"));
    let mut seen = Seen::new();
    let mut read = 0;
    eventually(LATER, "all replicas are ready", || {
        history.read(read, |changes| {
            for change in changes {
                note(&mut seen, &change.object, change.seen);
            }
            read += changes.len();
        });
        let ready = seen
            .values()
            .filter(|stages| stages[STAGES.len() - 1].is_some());
        ready.count() == REPLICAS
    });
    remove(cluster);
    (begun, seen)
}

fn remove(cluster: &Cluster) {
    cluster
        .api()
        .delete(&format!("{DEPLOYMENTS}/many"))
        .unwrap_or_else(|error| panic!("{error}"));
    eventually(LATER, "all pods are gone", || {
        let left = cluster.api().get(PODS)?["items"]
            .as_array()
            .map_or(0, Vec::len);
        (left == 0)
            .then_some(())
            .ok_or_else(|| format!("{left} are left"))
    });
}

fn note(seen: &mut Seen, pod: &Value, at: Instant) {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let stages = seen.entry(name.to_owned()).or_default();
    let is = |condition: &str| {
        let mut all = pod["status"]["conditions"].as_array().into_iter().flatten();
        all.any(|c| c["type"] == condition && c["status"] == "True")
    };
    let reached = [
        true,
        pod["spec"]["nodeName"].is_string(),
        is("PodReadyToStartContainers"),
        pod["status"]["phase"] == "Running",
        is("Ready"),
    ];
    for (stage, _) in stages
        .iter_mut()
        .zip(reached)
        .filter(|(_, reached)| *reached)
    {
        stage.get_or_insert(at);
    }
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"},
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": {"app": "many"}},
            "template": {
                "metadata": {"labels": {"app": "many"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "echo", "image": ECHO}],
                },
            },
        },
    })
}
