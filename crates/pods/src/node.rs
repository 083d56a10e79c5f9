//! What all pods of this node share: addresses, folders, sockets, clients.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::{Client, Resource};
use sealane_cni::invoke::{Attachment, Runtime};
use sealane_image::Store;
use sealane_kube::events::{Recorder, Severity};
use sealane_runtime::{Launcher, SandboxSpec};
use tokio::sync::watch;

use crate::desired::Desired;
use crate::downward::Allocatable;
use crate::env::links::Link;
use crate::etc::{Dns, Resolver};
use crate::folder::Folder;
use crate::images::Images;
use crate::images::pull::Puller;
use crate::network::Network;
use crate::options::Options;
use crate::rules::Rules;
use crate::sources::follow::Sources;
use crate::{capabilities, qos, sysctls, volumes};

/// The network interface of every pod.
const INTERFACE: &str = "eth0";

/// What all pods of this node share.
pub struct Node {
    /// The node's addresses.
    pub ips: Vec<IpAddr>,
    /// Which images containers run.
    pub images: Images,
    /// Brings images that are not here.
    pub puller: Option<Arc<Puller>>,
    /// Client of the API server.
    pub client: Client,
    /// Writer of Events.
    pub recorder: Recorder,
    /// Caller of CNI plugins.
    pub cni: Runtime,
    /// The CNI configuration in force.
    pub network: watch::Receiver<Network>,
    /// Whether the API has said once which pods are wanted.
    pub confirmed: watch::Receiver<bool>,
    /// Which program is a pod's shim.
    pub launcher: Launcher,
    /// The objects that pods refer to.
    pub sources: Sources,
    /// Where pods find the API server: where this node does.
    pub api_server: Option<Link>,
    /// What a container without a limit may take.
    pub allocatable: Allocatable,
    /// What holds for every pod.
    pub rules: Rules,
    /// When this process began.
    pub started_at: Timestamp,
    state_dir: PathBuf,
    run_dir: PathBuf,
    cgroup: PathBuf,
    resolv_conf: PathBuf,
    cluster_dns: Vec<IpAddr>,
    /// The domain of the cluster's names.
    pub cluster_domain: String,
}

/// What a node is made from besides its flags.
pub struct Parts {
    /// Client of the API server.
    pub client: Client,
    /// Writer of Events.
    pub recorder: Recorder,
    /// The CNI configuration in force.
    pub network: watch::Receiver<Network>,
    /// Whether the API has said once which pods are wanted.
    pub confirmed: watch::Receiver<bool>,
    /// The API server's address.
    pub api_server: Option<Link>,
    /// What a container without a limit may take.
    pub allocatable: Allocatable,
}

impl Node {
    /// A node with these flags.
    pub fn new(options: &Options, parts: Parts) -> Self {
        let store = options.image_dir.as_ref().map(Store::open);
        Self {
            ips: options.node_ip.clone(),
            rules: Rules::new(options),
            images: Images {
                aliases: options.image_alias.clone(),
                hide: options.hide.clone(),
                store: store.clone(),
            },
            puller: store.map(|store| Arc::new(Puller::new(store))),
            sources: Sources::new(parts.client.clone()),
            api_server: parts.api_server,
            allocatable: parts.allocatable,
            started_at: Timestamp::now(),
            client: parts.client,
            recorder: parts.recorder,
            cni: Runtime {
                bin_dirs: vec![options.cni_bin_dir.clone()],
                cache_dir: options.state_dir.join("cni/cache"),
            },
            network: parts.network,
            confirmed: parts.confirmed,
            launcher: Launcher::current(),
            state_dir: options.state_dir.clone(),
            run_dir: options.run_dir.clone(),
            cgroup: options.cgroup.clone(),
            resolv_conf: options.resolv_conf.clone(),
            cluster_dns: options.cluster_dns.clone(),
            cluster_domain: options.cluster_domain.clone(),
        }
    }

    /// Where the folders of pods are.
    pub fn folders(&self) -> PathBuf {
        self.state_dir.join("pods")
    }

    /// Where the sockets of shims are.
    pub fn sockets(&self) -> PathBuf {
        self.run_dir.join("pods")
    }

    /// Where the folders of pods' Secrets and tokens are: in memory, as run folders are.
    pub fn memory_folders(&self) -> PathBuf {
        self.run_dir.join("volumes")
    }

    /// A pod's folder.
    pub fn folder(&self, uid: &str) -> Folder {
        Folder::new(self.folders().join(uid), self.memory_folders().join(uid))
    }

    /// A pod's sandbox as the runtime is asked for it.
    pub fn sandbox(&self, pod: &Desired) -> SandboxSpec {
        let mut spec = self.bare_sandbox(pod.uid());
        spec.namespace = pod.namespace().to_owned();
        spec.name = pod.name().to_owned();
        spec.host_network = pod.host_network();
        spec.host_pid = pod.spec().host_pid == Some(true);
        spec.host_ipc = pod.spec().host_ipc == Some(true);
        spec.share_processes = pod.spec().share_process_namespace == Some(true);
        spec.host_mounts = volumes::any_follows_the_node(pod.spec());
        spec.limits = qos::pod_limits(pod.spec());
        spec.limits.pids = self.rules.pod_max_pids;
        spec.sysctls = sysctls::wanted(pod.spec());
        if !spec.host_network {
            spec.hostname = crate::etc::kernel_hostname(pod, &self.cluster_domain);
        }
        spec
    }

    /// The sandbox of a pod of which nothing but the UID is known: enough to remove it.
    pub fn bare_sandbox(&self, uid: &str) -> SandboxSpec {
        SandboxSpec {
            pod_uid: uid.to_owned(),
            dir: self.folder(uid).dir().to_owned(),
            socket: self.sockets().join(format!("{uid}.sock")),
            cgroup: self.cgroup.join(uid),
            ..SandboxSpec::default()
        }
    }

    /// A sandbox's place on the network; `netns` is absent once the sandbox is dead.
    pub fn attachment(&self, pod: &Desired, attempt: u32, netns: Option<PathBuf>) -> Attachment {
        let container_id = container_id(pod.uid(), attempt);
        let args = [
            ("IgnoreUnknown", "1"),
            ("K8S_POD_NAMESPACE", pod.namespace()),
            ("K8S_POD_NAME", pod.name()),
            ("K8S_POD_INFRA_CONTAINER_ID", &container_id),
            ("K8S_POD_UID", pod.uid()),
        ];
        Attachment {
            args: args
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            container_id,
            netns,
            ifname: INTERFACE.to_owned(),
            capabilities: capabilities::of(&pod.pod),
        }
    }

    /// How pods resolve names, read anew for each sandbox since this machine's resolvers may change.
    pub fn dns(&self) -> Dns {
        let path = &self.resolv_conf;
        let text = fs::read_to_string(path).unwrap_or_else(|error| {
            tracing::warn!(
                "read resolvers from {}: {error}; pods get none",
                path.display()
            );
            String::new()
        });
        Dns {
            upstream: Resolver::parse(&text),
            cluster: self.cluster_dns.clone(),
            domain: self.cluster_domain.clone(),
        }
    }

    /// Tells people about a pod.
    pub fn tell(&self, pod: &Pod, severity: Severity, reason: &str, message: impl Into<String>) {
        self.recorder
            .record(&pod.object_ref(&()), severity, reason, message);
    }

    /// Tells people about a container of a pod.
    pub fn tell_of(
        &self,
        pod: &Desired,
        container: &str,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let init = pod.init_names().contains(&container);
        let list = if init { "initContainers" } else { "containers" };
        let about = ObjectReference {
            field_path: Some(format!("spec.{list}{{{container}}}")),
            ..pod.pod.object_ref(&())
        };
        self.recorder.record(&about, severity, reason, message);
    }
}

/// The CNI container id of a pod's sandbox: another one for each sandbox.
fn container_id(uid: &str, attempt: u32) -> String {
    format!("{uid}-{attempt}")
}

/// The pod whose sandbox has this CNI container id.
pub fn uid_of(container_id: &str) -> Option<&str> {
    container_id.rsplit_once('-').map(|(uid, _)| uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_id_leads_back_to_its_pod() {
        let uid = "0b5e0cf4-3a35-4bd4-8f0e-6e4a3f1f2a10";
        assert_eq!(uid_of(&container_id(uid, 12)), Some(uid));
        assert_eq!(uid_of("x"), None);
    }
}
