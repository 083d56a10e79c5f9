//! The flags of `sealane node`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use sealane_kube::Access;
use sealane_objects::ImageAlias;
use serde::Serialize;

use crate::quantity;

/// The kubelet's part on one node: runs the pods that the scheduler has put on
/// it, reports their state, and serves their logs and `exec`.
///
/// It starts in the node's network namespace, talks to the cluster through the
/// Kubernetes API alone, and wires pods by calling CNI plugins. Pods outlive it:
/// after a restart it takes them over.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where the API server is and who we are.
    #[command(flatten)]
    pub access: Access,

    /// Where pods are told that the API server is: the Service `kubernetes` [default: where this
    /// node itself finds it, which needs nobody to program Services].
    #[arg(long, value_name = "IP:PORT")]
    pub kubernetes_service: Option<SocketAddr>,

    /// Name of the Node object and of this node.
    #[arg(long, value_name = "NAME")]
    pub node_name: String,

    /// Addresses of this node, the first one being its main address.
    #[arg(long, value_name = "IP[,IP]", value_delimiter = ',', required = true)]
    pub node_ip: Vec<IpAddr>,

    /// Folder for what must survive a restart: a folder for each pod below pods/.
    #[arg(long, value_name = "DIR")]
    pub state_dir: PathBuf,

    /// Folder for sockets: one for each pod below pods/, and node.debug.sock.
    #[arg(long, value_name = "DIR")]
    pub run_dir: PathBuf,

    /// Folder with the CNI plugins.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    pub cni_bin_dir: PathBuf,

    /// Folder with the CNI configuration; the node is Ready once there is one.
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub cni_conf_dir: PathBuf,

    /// Certificate that is shown to the API server, which asks for logs and exec.
    #[arg(long, value_name = "FILE")]
    pub tls_cert: PathBuf,

    /// Key of that certificate.
    #[arg(long, value_name = "FILE")]
    pub tls_key: PathBuf,

    /// Authority whose certificates clients must show; of those, only members of
    /// system:masters are let in.
    #[arg(long, value_name = "FILE")]
    pub client_ca: PathBuf,

    /// Port on each node address for logs and exec.
    #[arg(long, value_name = "PORT", default_value_t = 10250)]
    pub port: u16,

    /// Processor time that the node declares, `2` or `500m` [default: the machine's].
    #[arg(long, value_name = "CPUS", value_parser = cpu_millis)]
    pub cpu: Option<u64>,

    /// Memory that the node declares, `4Gi` [default: the machine's].
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub memory: Option<u64>,

    /// Seconds for which a renewal of this node's Lease is good; it is renewed every quarter of that.
    #[arg(long, value_name = "SECONDS", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub node_lease_duration_seconds: u32,

    /// Cgroup below which each pod gets its own, relative to the mount of each hierarchy.
    #[arg(long, value_name = "PATH", default_value = "sealane/node")]
    pub cgroup: PathBuf,

    /// Paths of this machine that pods of the image sealane.io/host must not see.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub hide: Vec<PathBuf>,

    /// Image store; without one there are the built-in images alone.
    #[arg(long, value_name = "DIR")]
    pub image_dir: Option<PathBuf>,

    /// Run another image in place of those that match; may be given several times, the first
    /// match counts. `*` stands for any run of characters.
    #[arg(long, value_name = "PATTERN=IMAGE")]
    pub image_alias: Vec<ImageAlias>,

    /// File with the resolvers that pods use for names outside the cluster.
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,

    /// Addresses of the cluster's DNS; without one, pods use the node's resolvers alone.
    #[arg(long, value_name = "IP[,IP]", value_delimiter = ',')]
    pub cluster_dns: Vec<IpAddr>,

    /// Domain of the cluster's names.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// What holds for every pod.
    #[command(flatten)]
    pub pods: PodOptions,
}

/// What holds for every pod of the node; names and defaults are the kubelet's.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub struct PodOptions {
    /// Give containers that say nothing the seccomp profile RuntimeDefault instead of none.
    #[arg(long)]
    pub seccomp_default: bool,

    /// Length at which the file of a container's log is put aside and a new one begun.
    #[arg(long, value_name = "SIZE", default_value = "10Mi", value_parser = log_size)]
    pub container_log_max_size: u64,

    /// Files of a container's log that are kept, the one that is written included.
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub container_log_max_files: u32,

    /// Processes and threads that a pod may have; -1 is as many as the machine allows.
    #[arg(long, value_name = "COUNT", default_value_t = -1, allow_hyphen_values = true)]
    pub pod_max_pids: i64,

    /// Kernel settings of a pod's own namespaces that pods may choose besides the safe ones; a
    /// `*` at the end stands for any name that begins so.
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',')]
    pub allowed_unsafe_sysctls: Vec<String>,
}

/// Reads a size such as `10Mi`; below 4 KiB a log would be nothing but rotation.
fn log_size(text: &str) -> Result<u64, String> {
    let size = quantity::units(&Quantity(text.to_owned()));
    let size = size.ok_or_else(|| "expected a size such as 10Mi".to_owned())?;
    match size {
        0..4096 => Err("expected at least 4Ki".to_owned()),
        _ => Ok(size),
    }
}

fn cpu_millis(text: &str) -> Result<u64, String> {
    let millis = sealane_objects::quantity::millis(text).filter(|millis| *millis > 0);
    millis.ok_or_else(|| "expected a number of CPUs above 0, as 2, 0.5 or 500m".to_owned())
}

fn bytes(text: &str) -> Result<u64, String> {
    let bytes = sealane_objects::quantity::units(text).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "expected a size above 0, as 4Gi or 512Mi".to_owned())
}

/// What `/debug/config` shows.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    kubernetes_service: Option<SocketAddr>,
    node_name: &'a str,
    node_ip: &'a [IpAddr],
    state_dir: &'a PathBuf,
    run_dir: &'a PathBuf,
    cni_bin_dir: &'a PathBuf,
    cni_conf_dir: &'a PathBuf,
    port: u16,
    cpu_millis: Option<u64>,
    memory_bytes: Option<u64>,
    node_lease_duration_seconds: u32,
    cgroup: &'a PathBuf,
    hide: &'a [PathBuf],
    image_dir: Option<&'a PathBuf>,
    image_alias: &'a [ImageAlias],
    resolv_conf: &'a PathBuf,
    cluster_dns: &'a [IpAddr],
    cluster_domain: &'a str,
    pods: &'a PodOptions,
}

impl Options {
    /// The settings as they are shown to whoever debugs; no keys.
    pub fn shown(&self) -> Shown<'_> {
        Shown {
            kubernetes_service: self.kubernetes_service,
            node_name: &self.node_name,
            node_ip: &self.node_ip,
            state_dir: &self.state_dir,
            run_dir: &self.run_dir,
            cni_bin_dir: &self.cni_bin_dir,
            cni_conf_dir: &self.cni_conf_dir,
            port: self.port,
            cpu_millis: self.cpu,
            memory_bytes: self.memory,
            node_lease_duration_seconds: self.node_lease_duration_seconds,
            cgroup: &self.cgroup,
            hide: &self.hide,
            image_dir: self.image_dir.as_ref(),
            image_alias: &self.image_alias,
            resolv_conf: &self.resolv_conf,
            cluster_dns: &self.cluster_dns,
            cluster_domain: &self.cluster_domain,
            pods: &self.pods,
        }
    }
}
