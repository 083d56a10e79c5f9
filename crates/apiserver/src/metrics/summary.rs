//! What a node says of its containers: a kubelet's `/stats/summary`, as far as it is needed.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;

/// What a node and its pods have taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// All pods of the node together.
    pub node: Option<Meter>,
    /// By the pod's uid.
    pub pods: HashMap<String, Pod>,
}

/// The containers of a pod that run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// In no order.
    pub containers: Vec<Container>,
}

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// When it began.
    pub began: Timestamp,
    /// What it has taken since.
    pub meter: Meter,
}

/// A reading of two counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meter {
    /// When they were read.
    pub at: Timestamp,
    /// Processor time, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory in use: the working set.
    pub memory_bytes: u64,
}

#[derive(Deserialize)]
struct Said {
    node: SaidNode,
    #[serde(default)]
    pods: Vec<SaidPod>,
}

#[derive(Deserialize)]
struct SaidNode {
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SaidPod {
    pod_ref: PodRef,
    #[serde(default)]
    containers: Vec<SaidContainer>,
}

#[derive(Deserialize)]
struct PodRef {
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SaidContainer {
    name: String,
    start_time: Timestamp,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: Timestamp,
    usage_core_nano_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    working_set_bytes: u64,
}

impl Summary {
    /// Reads an answer of a node.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let said: Said = serde_json::from_slice(bytes)?;
        let pods = said.pods.into_iter().map(|pod| {
            let containers = pod.containers.into_iter().filter_map(container);
            let containers = containers.collect();
            (pod.pod_ref.uid, Pod { containers })
        });
        Ok(Self {
            node: meter(said.node.cpu.as_ref(), said.node.memory.as_ref()),
            pods: pods.collect(),
        })
    }
}

fn container(said: SaidContainer) -> Option<Container> {
    Some(Container {
        meter: meter(said.cpu.as_ref(), said.memory.as_ref())?,
        name: said.name,
        began: said.start_time,
    })
}

fn meter(cpu: Option<&Cpu>, memory: Option<&Memory>) -> Option<Meter> {
    let (cpu, memory) = (cpu?, memory?);
    Some(Meter {
        at: cpu.time,
        cpu_nanos: cpu.usage_core_nano_seconds,
        memory_bytes: memory.working_set_bytes,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_is_read() {
        let time = "2026-11-21T20:00:00.5Z";
        let cpu = json!({"time": time, "usageNanoCores": 1, "usageCoreNanoSeconds": 7});
        let memory = json!({"time": time, "usageBytes": 9, "workingSetBytes": 8});
        let said = json!({
            "node": {"nodeName": "n", "cpu": cpu, "memory": memory},
            "pods": [{
                "podRef": {"name": "p", "namespace": "d", "uid": "u"},
                "containers": [
                    {"name": "c", "startTime": time, "cpu": cpu, "memory": memory},
                    {"name": "ended", "startTime": time},
                ],
            }],
        });
        let summary = Summary::parse(said.to_string().as_bytes()).unwrap();
        let meter = Meter {
            at: time.parse().unwrap(),
            cpu_nanos: 7,
            memory_bytes: 8,
        };
        assert_eq!(summary.node, Some(meter));
        let container = Container {
            name: "c".into(),
            began: meter.at,
            meter,
        };
        let pod = Pod {
            containers: vec![container],
        };
        assert_eq!(summary.pods, [("u".to_owned(), pod)].into());
        assert!(Summary::parse(b"{}").is_err());
    }
}
