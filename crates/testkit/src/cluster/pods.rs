//! Pods of a cluster: made, awaited, entered.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::Cluster;
use crate::command::{Finished, finish};
use crate::deadline::{LATER, SOON, eventually};
use crate::namespace::Namespace;
use crate::pod::Pod;
use crate::process::Process;

/// Where the API keeps them.
const PODS: &str = "/api/v1/namespaces/default/pods";

impl Cluster {
    /// Creates pods and returns at once.
    #[track_caller]
    pub fn create(&self, pods: &[Pod]) {
        for pod in pods {
            let created = self.api().create(PODS, pod.manifest());
            created.unwrap_or_else(|error| panic!("create pod {}: {error}", pod.name()));
        }
    }

    /// Creates pods and waits until each is ready.
    #[track_caller]
    pub fn start(&self, pods: &[Pod]) {
        self.create(pods);
        for pod in pods {
            self.wait_ready(pod.name());
        }
    }

    /// Waits until a pod runs and all its containers are ready.
    #[track_caller]
    pub fn wait_ready(&self, pod: &str) {
        self.wait_pod(pod, "is ready", |object| {
            let conditions = object["status"]["conditions"].as_array()?;
            let ready = conditions
                .iter()
                .find(|condition| condition["type"] == "Ready")?;
            (ready["status"] == "True").then_some(())
        });
    }

    /// Waits until `look` finds what it wants in a pod, and prints the pod's status when it does not.
    #[track_caller]
    pub fn wait_pod<T>(&self, pod: &str, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        eventually(LATER, &format!("pod {pod} {what}"), || {
            let object = self.pod(pod)?;
            look(&object).ok_or_else(|| format!("its status is {:#}", object["status"]))
        })
    }

    /// A pod as the API shows it.
    ///
    /// # Errors
    /// When there is none, or the API server does not answer.
    pub fn pod(&self, name: &str) -> Result<Value, String> {
        self.api().get(&format!("{PODS}/{name}"))
    }

    /// Deletes pods and waits until they are gone.
    #[track_caller]
    pub fn delete<const N: usize>(&self, pods: [&str; N]) {
        for pod in pods {
            let deleted = self.api().delete(&format!("{PODS}/{pod}"));
            deleted.unwrap_or_else(|error| panic!("delete pod {pod}: {error}"));
        }
        for pod in pods {
            self.wait_gone(pod);
        }
    }

    /// Waits until the API knows no such pod.
    #[track_caller]
    pub fn wait_gone(&self, pod: &str) {
        eventually(LATER, &format!("pod {pod} is gone"), || {
            match self.pod(pod) {
                Err(error) if error.contains("not found") => Ok(()),
                Err(error) => Err(error),
                Ok(object) => Err(format!("it is there: {:#}", object["status"])),
            }
        });
    }

    /// The addresses of a pod that runs.
    #[track_caller]
    pub fn pod_ip(&self, pod: &str) -> IpAddr {
        self.wait_pod(pod, "has an address", |object| {
            object["status"]["podIP"].as_str()?.parse().ok()
        })
    }

    /// All addresses of a pod that runs, the preferred family's first.
    #[track_caller]
    pub fn pod_ips(&self, pod: &str) -> Vec<IpAddr> {
        self.wait_pod(pod, "has addresses", |object| {
            let ips = object["status"]["podIPs"].as_array()?.iter();
            let ips: Option<Vec<IpAddr>> = ips.map(|ip| ip["ip"].as_str()?.parse().ok()).collect();
            ips.filter(|ips| !ips.is_empty())
        })
    }

    /// Requires that no two pods have the same address.
    #[track_caller]
    pub fn assert_addresses_differ(&self, pods: &[Pod]) {
        let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for pod in pods {
            let address = self.pod_ip(pod.name());
            if let Some(other) = owners.insert(address, pod.name()) {
                panic!(
                    "pods {other} and {} both have address {address}",
                    pod.name()
                );
            }
        }
    }

    /// Runs a command in the first container of a pod, by `kubectl exec`.
    #[track_caller]
    pub fn exec<I, S>(&self, pod: &str, command: I) -> Finished
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut kubectl = self.kubectl_command();
        kubectl.args(["exec", pod, "--"]).args(command);
        finish(kubectl)
    }

    /// The process that holds a pod's namespaces.
    #[track_caller]
    pub fn shim(&self, pod: &str) -> Process {
        let object = self.pod(pod).unwrap_or_else(|error| panic!("{error}"));
        let uid = object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        eventually(SOON, &format!("the shim of pod {pod} runs"), || {
            shim_of(&uid)
        })
    }

    /// A pod's network namespace, entered from outside: also where the pod has no tools of its own.
    #[track_caller]
    pub fn pod_netns(&self, pod: &str) -> Namespace {
        Namespace::of_process(&format!("pod {pod}"), self.shim(pod).pid)
    }
}

/// The shim of the pod with that UID.
fn shim_of(uid: &str) -> Option<Process> {
    let is_shim =
        |process: &Process| process.command.contains(" shim ") && process.command.contains(uid);
    Process::all().into_iter().find(is_shim)
}
