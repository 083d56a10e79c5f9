//! What the pods of this node take of processor and memory, in the form of a kubelet's
//! `/stats/summary`: totals since each container began. Who wants a rate asks twice.
//!
//! Nothing is counted here: the kernel does, in the control groups of containers, and its counters
//! are read when somebody asks. The node's own figure is that of its pods together, since the
//! machine belongs to all nodes.

use std::path::PathBuf;

use jiff::Timestamp;
use sealane_runtime::{Meters, Usage};
use serde_json::{Value, json};

use crate::record::{Record, State};
use crate::worker::View;

/// Where the figures of this node are read.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The node's name.
    pub node: String,
    /// The control group above those of its pods.
    pub cgroup: PathBuf,
}

/// A pod whose containers are to be read.
pub struct Pod {
    namespace: String,
    name: String,
    uid: String,
    running: Vec<(String, Timestamp)>,
}

impl Pod {
    /// The pod that a worker looks after; `None` while nothing of it runs.
    pub fn of(view: &View) -> Option<Self> {
        let running = running(&view.record);
        let desired = &view.desired;
        (!running.is_empty()).then(|| Self {
            namespace: desired.namespace().to_owned(),
            name: desired.name().to_owned(),
            uid: desired.uid().to_owned(),
            running,
        })
    }
}

/// Containers that run, and since when.
fn running(record: &Record) -> Vec<(String, Timestamp)> {
    let containers = record.containers.iter();
    containers
        .filter_map(|(name, container)| match container.state {
            State::Running(since) => Some((name.clone(), since)),
            _ => None,
        })
        .collect()
}

impl Figures {
    /// Reads the figures of all these pods. It blocks for some microseconds for each container.
    ///
    /// # Errors
    /// When the machine's control groups cannot be found.
    pub fn read(&self, pods: &[Pod]) -> std::io::Result<Value> {
        let meters = Meters::open()?;
        let pods: Vec<Value> = pods.iter().map(|pod| self.pod(&meters, pod)).collect();
        let mut node = json!({ "nodeName": self.node });
        // Before the first pod there is no group.
        let nothing = pods.is_empty().then(Usage::default);
        if let Some(usage) = meters.usage(&self.cgroup).or(nothing) {
            figures(&mut node, &usage);
        }
        Ok(json!({ "node": node, "pods": pods }))
    }

    fn pod(&self, meters: &Meters, pod: &Pod) -> Value {
        let group = self.cgroup.join(&pod.uid);
        let containers = pod.running.iter().filter_map(|(name, since)| {
            // One that has just ended has no group any more.
            let usage = meters.usage(&group.join(name))?;
            let mut shown = json!({ "name": name, "startTime": since.to_string() });
            figures(&mut shown, &usage);
            Some(shown)
        });
        let mut shown = json!({
            "podRef": { "name": pod.name, "namespace": pod.namespace, "uid": pod.uid },
            "containers": containers.collect::<Vec<_>>(),
        });
        if let Some(usage) = meters.usage(&group) {
            figures(&mut shown, &usage);
        }
        shown
    }
}

/// Adds `cpu` and `memory` as a kubelet writes them.
fn figures(to: &mut Value, usage: &Usage) {
    let time = Timestamp::now().to_string();
    to["cpu"] = json!({ "time": time, "usageCoreNanoSeconds": usage.cpu_nanos });
    to["memory"] = json!({
        "time": time,
        "usageBytes": usage.memory_bytes,
        "workingSetBytes": usage.working_set_bytes,
    });
}
