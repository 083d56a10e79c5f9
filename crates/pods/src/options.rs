//! The flags of `sealane node`.

use std::net::IpAddr;
use std::path::PathBuf;

use sealane_kube::Access;
use serde::Serialize;

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

    /// Cgroup below which each pod gets its own, relative to the mount of each hierarchy.
    #[arg(long, value_name = "PATH", default_value = "sealane/node")]
    pub cgroup: PathBuf,

    /// Paths of this machine that pods of the image sealane.io/host must not see.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub hide: Vec<PathBuf>,

    /// File with the resolvers that pods use for names outside the cluster.
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,

    /// Addresses of the cluster's DNS; without one, pods use the node's resolvers alone.
    #[arg(long, value_name = "IP[,IP]", value_delimiter = ',')]
    pub cluster_dns: Vec<IpAddr>,

    /// Domain of the cluster's names.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
}

/// What `/debug/config` shows.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    node_name: &'a str,
    node_ip: &'a [IpAddr],
    state_dir: &'a PathBuf,
    run_dir: &'a PathBuf,
    cni_bin_dir: &'a PathBuf,
    cni_conf_dir: &'a PathBuf,
    port: u16,
    cgroup: &'a PathBuf,
    hide: &'a [PathBuf],
    resolv_conf: &'a PathBuf,
    cluster_dns: &'a [IpAddr],
    cluster_domain: &'a str,
}

impl Options {
    /// The settings as they are shown to whoever debugs; no keys.
    pub fn shown(&self) -> Shown<'_> {
        Shown {
            node_name: &self.node_name,
            node_ip: &self.node_ip,
            state_dir: &self.state_dir,
            run_dir: &self.run_dir,
            cni_bin_dir: &self.cni_bin_dir,
            cni_conf_dir: &self.cni_conf_dir,
            port: self.port,
            cgroup: &self.cgroup,
            hide: &self.hide,
            resolv_conf: &self.resolv_conf,
            cluster_dns: &self.cluster_dns,
            cluster_domain: &self.cluster_domain,
        }
    }
}
