//! What the workloads of the test declare, as far as operations change it.

use std::collections::BTreeSet;

use sealane_testkit::pod::ECHO;
use sealane_testkit::{Cluster, SOON, eventually};
use serde_json::{Value, json};

/// One workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// A Deployment that rolls.
    Web,
    /// A Deployment that is recreated.
    Api,
    /// A StatefulSet, in order.
    Db,
    /// A StatefulSet, all at once.
    Cache,
    /// A DaemonSet.
    Log,
}

impl Workload {
    pub const ALL: [Self; 5] = [Self::Web, Self::Api, Self::Db, Self::Cache, Self::Log];

    /// Its name, and its pods' label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Api => "api",
            Self::Db => "db",
            Self::Cache => "cache",
            Self::Log => "log",
        }
    }

    /// Its kind as kubectl takes it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Web | Self::Api => "deployment",
            Self::Db | Self::Cache => "statefulset",
            Self::Log => "daemonset",
        }
    }

    /// Where the API keeps it.
    pub fn path(self) -> String {
        format!("{}/{}", self.collection(), self.name())
    }

    fn collection(self) -> String {
        format!("/apis/apps/v1/namespaces/default/{}s", self.kind())
    }

    fn manifest(self, replicas: u64) -> Value {
        let name = self.name();
        let probe = json!({"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 2});
        let mut spec = json!({
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "containers": [{"name": "echo", "image": ECHO, "readinessProbe": probe}],
                },
            },
        });
        match self {
            Self::Web => {}
            Self::Api => spec["strategy"] = json!({"type": "Recreate"}),
            Self::Db | Self::Cache => spec["serviceName"] = json!(name),
            Self::Log => {}
        }
        match self {
            Self::Cache => spec["podManagementPolicy"] = json!("Parallel"),
            // The volumes are there to be left over.
            Self::Web => {
                let pod = &mut spec["template"]["spec"];
                pod["volumes"] = json!([{"name": "m", "emptyDir": {"medium": "Memory"}}, {"name": "d", "emptyDir": {}}]);
                pod["containers"][0]["volumeMounts"] =
                    json!([{"name": "m", "mountPath": "/m"}, {"name": "d", "mountPath": "/d"}]);
            }
            _ => {}
        }
        if self != Self::Log {
            spec["replicas"] = json!(replicas);
        }
        let kind = match self {
            Self::Web | Self::Api => "Deployment",
            Self::Db | Self::Cache => "StatefulSet",
            Self::Log => "DaemonSet",
        };
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
    }
}

/// The workloads that there are, and the pods that have none.
#[derive(Debug)]
pub struct Declared {
    workloads: Vec<(Workload, u64)>,
    /// Pods that were taken out of their workloads by another label.
    pub strays: BTreeSet<String>,
    /// Nodes that take no new pods.
    pub cordoned: BTreeSet<u32>,
}

impl Declared {
    /// Makes all workloads.
    #[track_caller]
    pub fn begin(cluster: &Cluster) -> Self {
        let mut declared = Self {
            workloads: Vec::new(),
            strays: BTreeSet::new(),
            cordoned: BTreeSet::new(),
        };
        for workload in Workload::ALL {
            declared.create(cluster, workload, 2);
        }
        declared
    }

    /// Makes a workload.
    #[track_caller]
    pub fn create(&mut self, cluster: &Cluster, workload: Workload, replicas: u64) {
        let manifest = workload.manifest(replicas);
        persist(&format!("create {}", workload.name()), || {
            let created = cluster.api().create(&workload.collection(), &manifest);
            // An earlier try whose answer was lost has made it.
            created.or_else(|error| unless("already exists", error))
        });
        self.workloads.push((workload, replicas));
    }

    /// Deletes a workload; its pods go in the background.
    #[track_caller]
    pub fn delete(&mut self, cluster: &Cluster, workload: Workload) {
        let options = json!({"propagationPolicy": "Background"});
        persist(&format!("delete {}", workload.name()), || {
            let deleted = cluster.api().delete_with(&workload.path(), &options);
            deleted.or_else(|error| unless("not found", error))
        });
        self.workloads.retain(|(other, _)| *other != workload);
    }

    /// Deletes everything.
    #[track_caller]
    pub fn delete_all(&mut self, cluster: &Cluster) {
        for workload in Workload::ALL {
            self.delete(cluster, workload);
        }
        for stray in std::mem::take(&mut self.strays) {
            persist(&format!("delete {stray}"), || {
                let deleted = cluster.api().delete(&pod_path(&stray));
                deleted.or_else(|error| unless("not found", error))
            });
        }
    }

    /// The workloads and their replicas.
    pub fn workloads(&self) -> &[(Workload, u64)] {
        &self.workloads
    }

    /// Enters a new number of replicas.
    pub fn set_replicas(&mut self, workload: Workload, replicas: u64) {
        let mut all = self.workloads.iter_mut();
        if let Some(entry) = all.find(|(other, _)| *other == workload) {
            entry.1 = replicas;
        }
    }
}

/// Where the API keeps a pod.
pub fn pod_path(name: &str) -> String {
    format!("/api/v1/namespaces/default/pods/{name}")
}

/// Tries until the API answers: it may be the very process that was killed.
#[track_caller]
pub fn persist(what: &str, act: impl Fn() -> Result<Value, String>) -> Value {
    eventually(SOON, what, act)
}

/// An error that says so is none.
pub fn unless(words: &str, error: String) -> Result<Value, String> {
    match error.contains(words) {
        true => Ok(Value::Null),
        false => Err(error),
    }
}
