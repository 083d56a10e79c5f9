//! Who decides through a readiness gate whether a pod may be asked: yes, and now and then no for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sealane_testkit::history::Deed;
use sealane_testkit::{Api, Chance, Cluster};
use serde_json::{Value, json};

use crate::PODS;

/// The condition that every pod of the Deployment waits for.
pub const GATE: &str = "tests.sealane.io/open";

/// How often it looks.
const PACE: Duration = Duration::from_millis(10);
/// At one of so many looks, readiness is taken away from a pod.
const SELDOM: u64 = 30;

/// A thread that opens and closes the gates.
pub struct Steward {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u32>,
}

impl Steward {
    /// Begins, with a client of its own.
    pub fn start(cluster: &Cluster, chance: Chance) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let kubeconfig = cluster.kubeconfig();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let api = Api::from_kubeconfig(&kubeconfig);
            watch_over(&api, &stopped, chance)
        });
        Self { stop, thread }
    }

    /// Opens what is closed and ends; how often a gate was closed.
    pub fn stop(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn watch_over(api: &Api, stop: &AtomicBool, mut chance: Chance) -> u32 {
    let history = api.history(PODS);
    let mut pods: BTreeMap<String, Value> = BTreeMap::new();
    let (mut seen, mut flips) = (0, 0);
    loop {
        let last = stop.load(Ordering::Relaxed);
        history.read(seen, |changes| {
            seen += changes.len();
            for change in changes {
                let name = change.object["metadata"]["name"].as_str().unwrap();
                match change.deed {
                    Deed::Deleted => drop(pods.remove(name)),
                    _ => drop(pods.insert(name.to_owned(), change.object.clone())),
                }
            }
        });
        let gated: Vec<_> = pods.iter().filter(|(_, pod)| is_gated(pod)).collect();
        for (name, pod) in &gated {
            let unready = condition(pod, "Ready") != Some("True");
            if !is_open(pod) && (unready || last) {
                set(api, name, pod, "True");
            }
        }
        if last {
            match gated.iter().all(|(_, pod)| is_open(pod)) {
                true => return flips,
                false => continue,
            }
        }
        let open: Vec<_> = gated
            .iter()
            .filter(|(_, pod)| condition(pod, "Ready") == Some("True"))
            .collect();
        // One at a time, so that the Deployment can go on.
        let all_open = gated.iter().all(|(_, pod)| is_open(pod));
        if all_open
            && chance.below(SELDOM) == 0
            && let Some((name, pod)) = chance.pick(&open)
        {
            flips += u32::from(set(api, name, pod, "False"));
        }
        std::thread::sleep(PACE);
    }
}

/// A pod that waits for its gate and is not on its way out.
fn is_gated(pod: &Value) -> bool {
    let gates = pod["spec"]["readinessGates"].is_array();
    let stays = pod["metadata"]["deletionTimestamp"].is_null();
    gates && stays && condition(pod, "ContainersReady") == Some("True")
}

fn is_open(pod: &Value) -> bool {
    condition(pod, GATE) == Some("True")
}

/// The status of a condition of a pod.
pub fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = pod["status"]["conditions"].as_array()?;
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    condition["status"].as_str()
}

/// Sets the gate in the version of the pod that was seen; false when it has changed since.
fn set(api: &Api, name: &str, pod: &Value, status: &str) -> bool {
    let version = &pod["metadata"]["resourceVersion"];
    let patch = json!({
        "metadata": {"resourceVersion": version},
        "status": {"conditions": [{"type": GATE, "status": status}]},
    });
    api.merge_lists(&format!("{PODS}/{name}/status"), &patch)
        .is_ok()
}
