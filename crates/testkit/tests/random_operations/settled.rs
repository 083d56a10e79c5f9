//! Whether API and nodes are as declared.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealane_testkit::{Cluster, eventually};
use serde_json::Value;

use crate::declared::{Declared, Workload};

/// A container that was killed again and again waits minutes for its next start, as on Kubernetes.
const PATIENCE: Duration = Duration::from_secs(330);

/// Waits until everything is as declared, and stays so for one look.
#[track_caller]
pub fn wait(cluster: &Cluster, declared: &Declared, when: &str) {
    eventually(PATIENCE, &format!("all is as declared {when}"), || {
        let wrongs = match look(cluster, declared) {
            Ok(wrongs) => wrongs,
            Err(error) => vec![error],
        };
        if wrongs.is_empty() {
            Ok(())
        } else {
            // Looking costs a process and a walk through /proc.
            std::thread::sleep(Duration::from_millis(200));
            Err(wrongs.join("\n"))
        }
    });
}

/// What is not as declared.
fn look(cluster: &Cluster, declared: &Declared) -> Result<Vec<String>, String> {
    let mut wrongs = Vec::new();
    for (workload, replicas) in declared.workloads() {
        let object = cluster.api().get(&workload.path())?;
        wrongs.extend(unfinished(*workload, *replicas, cluster.nodes(), &object));
    }
    let pods = items(cluster, "/api/v1/namespaces/default/pods")?;
    wrongs.extend(wrong_pods(cluster, declared, &pods));
    wrongs.extend(surplus_sets(cluster, declared)?);
    // The nodes are looked at once the API is right: before that they cannot be.
    if wrongs.is_empty() {
        for node in 1..=cluster.nodes() {
            let held = cluster.holdings(node).differences(&pods_of(node, &pods));
            wrongs.extend(
                held.into_iter()
                    .map(|wrong| format!("node-{node}: {wrong}")),
            );
        }
    }
    Ok(wrongs)
}

fn items(cluster: &Cluster, path: &str) -> Result<Vec<Value>, String> {
    let list = cluster.api().get(path)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn unfinished(workload: Workload, replicas: u64, nodes: u32, object: &Value) -> Option<String> {
    let replicas = match workload {
        Workload::Log => nodes.into(),
        _ => replicas,
    };
    let status = &object["status"];
    let fields: &[&str] = match workload {
        Workload::Web | Workload::Api => &[
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
        ],
        Workload::Db | Workload::Cache => &["replicas", "updatedReplicas", "readyReplicas"],
        Workload::Log => &[
            "desiredNumberScheduled",
            "updatedNumberScheduled",
            "numberReady",
            "numberAvailable",
        ],
    };
    let count = |field: &&str| status[field].as_u64().unwrap_or(0);
    let current = status["observedGeneration"] == object["metadata"]["generation"];
    let done = current && fields.iter().all(|field| count(field) == replicas);
    (!done).then(|| format!("{} is not at {replicas}: {status}", workload.name()))
}

/// Pods that should not be, and workloads that have not the right number.
fn wrong_pods(cluster: &Cluster, declared: &Declared, pods: &[Value]) -> Vec<String> {
    let mut wrongs = Vec::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        if !is_ready(pod) || pod["metadata"]["deletionTimestamp"].is_string() {
            wrongs.push(format!("pod {name} is not ready: {}", brief(pod)));
        }
        let app = pod["metadata"]["labels"]["app"].as_str().unwrap_or("none");
        *counts.entry(app.to_owned()).or_default() += 1;
        if app == "stray" && !declared.strays.contains(name) {
            wrongs.push(format!("pod {name} strays and should not be there"));
        }
    }
    let strays = u64::try_from(declared.strays.len()).unwrap_or(0);
    let mut expected: BTreeMap<String, u64> = declared
        .workloads()
        .iter()
        .map(|(workload, replicas)| match workload {
            Workload::Log => (workload.name().to_owned(), cluster.nodes().into()),
            _ => (workload.name().to_owned(), *replicas),
        })
        .collect();
    expected.insert("stray".to_owned(), strays);
    expected.retain(|_, count| *count > 0);
    if counts != expected {
        wrongs.push(format!(
            "there are pods {counts:?}, and should be {expected:?}"
        ));
    }
    let addresses: BTreeSet<&str> = pods
        .iter()
        .filter_map(|pod| pod["status"]["podIP"].as_str())
        .collect();
    if addresses.len() != pods.len() {
        wrongs.push(format!(
            "{} pods have {} addresses",
            pods.len(),
            addresses.len()
        ));
    }
    wrongs
}

/// ReplicaSets that have pods without being the newest of their Deployment, or have lost it.
fn surplus_sets(cluster: &Cluster, declared: &Declared) -> Result<Vec<String>, String> {
    let sets = items(cluster, "/apis/apps/v1/namespaces/default/replicasets")?;
    let mut wrongs = Vec::new();
    for (workload, replicas) in declared.workloads() {
        let theirs = sets
            .iter()
            .filter(|set| set["metadata"]["labels"]["app"] == workload.name());
        let with_pods: Vec<u64> = theirs
            .filter_map(|set| set["status"]["replicas"].as_u64())
            .filter(|count| *count > 0)
            .collect();
        let one = match (workload, replicas) {
            (Workload::Web | Workload::Api, 1..) => vec![*replicas],
            _ => Vec::new(),
        };
        if with_pods != one {
            wrongs.push(format!(
                "ReplicaSets of {} have {with_pods:?} pods",
                workload.name()
            ));
        }
    }
    let owned = |set: &&Value| {
        let owner = set["metadata"]["ownerReferences"][0]["name"].as_str();
        declared
            .workloads()
            .iter()
            .any(|(workload, _)| Some(workload.name()) == owner)
    };
    let lost = sets.iter().filter(|set| !owned(set)).count();
    if lost > 0 {
        wrongs.push(format!("{lost} ReplicaSets have lost their Deployment"));
    }
    Ok(wrongs)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn brief(pod: &Value) -> String {
    let status = &pod["status"];
    format!(
        "on {}, {}, deleted {}, {}",
        pod["spec"]["nodeName"],
        status["phase"],
        pod["metadata"]["deletionTimestamp"],
        status["containerStatuses"][0]["state"]
    )
}

/// UID and address of each pod of a node.
fn pods_of(node: u32, pods: &[Value]) -> BTreeSet<(String, String)> {
    let title = format!("node-{node}");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let theirs = pods.iter().filter(|pod| pod["spec"]["nodeName"] == title);
    theirs
        .map(|pod| (word(&pod["metadata"]["uid"]), word(&pod["status"]["podIP"])))
        .collect()
}
