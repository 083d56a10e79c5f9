//! Making and removing a pod's sandbox: shim, network, files of /etc.
//!
//! ```text
//! build:      (volumes) ─> shim (namespaces) ─> CNI ADD ─> hosts, hostname, resolv.conf
//! tear down:  CNI DEL ─> shim and everything in its cgroup
//! ```
//!
//! The pod's worker makes the volumes before, and they outlive the sandbox. Neither keeps a state of its own: the record says which attempt this is, and
//! a sandbox that was begun is torn down in full before the next one is made.
//! DEL comes before the end of the shim, while the namespace is still there.

use std::net::IpAddr;
use std::time::Duration;

use sealane_kube::events::Severity;
use sealane_runtime::{Shim, reset};

use crate::desired::Desired;
use crate::etc;
use crate::folder::{Folder, FolderError};
use crate::node::Node;
use crate::volumes::VolumeError;

/// A plugin that takes longer is hanging.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// A shim that takes longer to end is killed by its cgroup.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A volume could not be had.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The pod's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The shim.
    #[error(transparent)]
    Shim(#[from] sealane_runtime::Error),
    /// The network, in the plugin's words.
    #[error("set up the pod's network: {0}")]
    Network(String),
    /// The task that removes what is left did not come to its end.
    #[error("remove the pod's sandbox: {0}")]
    Remains(String),
    /// The network could not be taken down.
    #[error("take the pod's network down: {0}")]
    Release(String),
}

impl SandboxError {
    /// The reason of the Event about it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Volume(_) => "FailedMount",
            Self::Network(_) | Self::Shim(_) | Self::Folder(_) => "FailedCreatePodSandBox",
            Self::Release(_) | Self::Remains(_) => "FailedKillPod",
        }
    }
}

/// A sandbox that is ready for containers.
pub struct Built {
    /// Its shim.
    pub shim: Shim,
    /// Its addresses; none on the node's own network.
    pub ips: Vec<IpAddr>,
}

/// Makes the sandbox number `attempt` of a pod.
///
/// # Errors
/// What went wrong first; what was made stays, to be torn down.
pub async fn build(
    node: &Node,
    pod: &Desired,
    attempt: u32,
    folder: &Folder,
) -> Result<Built, SandboxError> {
    let shim = node.launcher.create(&node.sandbox(pod)).await?;
    let ips = match pod.host_network() {
        true => Vec::new(),
        false => connect(node, pod, attempt, &shim).await?,
    };
    write_etc(node, pod, &ips, folder)?;
    Ok(Built { shim, ips })
}

/// Calls CNI ADD.
async fn connect(
    node: &Node,
    pod: &Desired,
    attempt: u32,
    shim: &Shim,
) -> Result<Vec<IpAddr>, SandboxError> {
    let network = node
        .network
        .borrow()
        .clone()
        .map_err(SandboxError::Network)?;
    let attachment = node.attachment(pod, attempt, Some(shim.netns_path()));
    let added = tokio::time::timeout(PLUGIN_TIMEOUT, node.cni.add(&network, &attachment)).await;
    let result = match added {
        Ok(result) => result.map_err(|error| SandboxError::Network(error.to_string()))?,
        Err(_) => {
            let message = format!("no answer from the plugin within {PLUGIN_TIMEOUT:?}");
            return Err(SandboxError::Network(message));
        }
    };
    let ips: Vec<_> = result.ips.iter().map(|ip| ip.address.addr()).collect();
    if ips.is_empty() {
        return Err(SandboxError::Network(
            "the plugin gave the pod no address".to_owned(),
        ));
    }
    Ok(ips)
}

fn write_etc(
    node: &Node,
    pod: &Desired,
    ips: &[IpAddr],
    folder: &Folder,
) -> Result<(), FolderError> {
    let dns = node.dns();
    let hosts = match pod.host_network() {
        true => etc::hosts_of_node(
            pod,
            &std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
        ),
        false => etc::hosts(pod, ips, &dns.domain),
    };
    let hostname = match pod.host_network() {
        true => nix::unistd::gethostname()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        false => etc::kernel_hostname(pod, &dns.domain),
    };
    folder.write_etc("hosts", &hosts)?;
    folder.write_etc("hostname", &format!("{hostname}\n"))?;
    let (resolver, left_out) = etc::resolver(pod, &dns);
    for what in left_out {
        node.tell(&pod.pod, Severity::Warning, "DNSConfigForming", what);
    }
    folder.write_etc("resolv.conf", &resolver.render())
}

/// Removes whatever exists of the sandbox number `attempt` of a pod; its folder stays.
///
/// # Errors
/// The network could not be taken down, or something could not be killed: to be repeated.
pub async fn tear_down(
    node: &Node,
    pod: &Desired,
    attempt: u32,
    shim: Option<&Shim>,
) -> Result<(), SandboxError> {
    let spec = node.sandbox(pod);
    let found = match shim {
        Some(shim) => Some(shim.clone()),
        // Half-built, or after a restart: it may live all the same.
        None => sealane_runtime::adopt(&spec.socket).await.ok(),
    };
    let released = match pod.host_network() {
        true => Ok(()),
        false => release(node, pod, attempt, found.as_ref()).await,
    };
    if let Some(shim) = &found {
        let ended = tokio::time::timeout(SHUTDOWN_TIMEOUT, shim.shutdown(Duration::ZERO)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!("end shim of pod {}: {error}", pod.in_words());
        }
    }
    // Killing may have to wait for the kernel.
    let cleaned = tokio::task::spawn_blocking(move || reset(&spec)).await;
    cleaned.map_err(|error| SandboxError::Remains(error.to_string()))??;
    released
}

/// Calls CNI DEL.
async fn release(
    node: &Node,
    pod: &Desired,
    attempt: u32,
    shim: Option<&Shim>,
) -> Result<(), SandboxError> {
    let network = node.network.borrow().clone().ok();
    let attachment = node.attachment(pod, attempt, shim.map(Shim::netns_path));
    let deleted = node.cni.del(network.as_deref(), &attachment);
    match tokio::time::timeout(PLUGIN_TIMEOUT, deleted).await {
        Ok(result) => result.map_err(|error| SandboxError::Release(error.to_string())),
        Err(_) => Err(SandboxError::Release(format!(
            "no answer within {PLUGIN_TIMEOUT:?}"
        ))),
    }
}
