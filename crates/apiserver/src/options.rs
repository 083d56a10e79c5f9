//! Flags.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use crate::Listen;

/// Flags of `sealane apiserver`, named as those of kube-apiserver where it has them.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Address and port to serve on, or fd:N for a listening socket that is inherited as
    /// descriptor N; may be given several times
    #[arg(long, required = true, value_name = "IP:PORT|fd:N")]
    pub listen: Vec<Listen>,

    /// Address and port at which pods find this server: the endpoint of the `kubernetes` Service
    #[arg(long, value_name = "IP:PORT")]
    pub advertise_address: SocketAddr,

    /// File that holds the objects; made if it does not exist
    #[arg(long, value_name = "FILE")]
    pub store: PathBuf,

    /// Certificates (PEM) of the authority that signs client certificates
    ///
    /// The common name of a client's certificate is its user name, the organizations are its
    /// groups.
    #[arg(long, value_name = "FILE")]
    pub client_ca: PathBuf,

    /// Certificates (PEM) of the authority that signs this server's own, for the ConfigMap
    /// kube-root-ca.crt of each namespace [default: that of --client-ca]
    #[arg(long, value_name = "FILE")]
    pub root_ca_file: Option<PathBuf>,

    /// Certificate (PEM) that this server shows to clients
    #[arg(long, value_name = "FILE")]
    pub tls_cert: PathBuf,

    /// Key (PEM) of that certificate
    #[arg(long, value_name = "FILE")]
    pub tls_key: PathBuf,

    /// Certificate (PEM) that this server shows to nodes, for logs, exec and port-forward
    #[arg(long, value_name = "FILE")]
    pub kubelet_client_cert: PathBuf,

    /// Key (PEM) of that certificate
    #[arg(long, value_name = "FILE")]
    pub kubelet_client_key: PathBuf,

    /// Certificates (PEM) of the authority that signs the nodes' serving certificates
    #[arg(long, value_name = "FILE")]
    pub kubelet_ca: PathBuf,

    /// Key (PEM, ECDSA P-256) that signs and verifies the tokens of service accounts
    ///
    /// Without one, no tokens are given and none are taken.
    #[arg(long, value_name = "FILE")]
    pub service_account_key_file: Option<PathBuf>,

    /// Who issues those tokens, and the audience of those that are meant for this server
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://kubernetes.default.svc.cluster.local"
    )]
    pub service_account_issuer: String,

    /// Addresses of Services; one range, or one for each IP family
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        default_value = "10.96.0.0/12"
    )]
    pub service_cluster_ip_range: Vec<IpNet>,

    /// Ports of Services of type NodePort and LoadBalancer
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767", value_parser = port_range)]
    pub service_node_port_range: PortRange,

    /// Events that are kept, at most for an hour, for watches that resume
    ///
    /// A client that comes back later than that is told to list again.
    #[arg(long, value_name = "COUNT", default_value_t = 16_384)]
    pub event_history: usize,

    /// Seconds for which a pod stays on a node that is not ready, unless it says so itself
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub default_not_ready_toleration_seconds: i64,

    /// Seconds for which a pod stays on a node that cannot be reached, unless it says so itself
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub default_unreachable_toleration_seconds: i64,

    /// Unix socket for /metrics, /healthz, /debug/config and /debug/state
    #[arg(long, value_name = "PATH")]
    pub debug_socket: Option<PathBuf>,
}

impl Options {
    /// The authority of this server's own certificate.
    pub fn root_ca(&self) -> &Path {
        self.root_ca_file.as_deref().unwrap_or(&self.client_ca)
    }
}

/// Ports from the first to the last, both included.
pub type PortRange = std::ops::RangeInclusive<u16>;

fn port_range(text: &str) -> Result<PortRange, String> {
    let parsed = text.split_once('-').and_then(|(first, last)| {
        Some((
            first.trim().parse::<u16>().ok()?,
            last.trim().parse::<u16>().ok()?,
        ))
    });
    match parsed {
        Some((first, last)) if first > 0 && first <= last => Ok(first..=last),
        _ => Err(format!(
            "expected FIRST-LAST, such as 30000-32767, found {text:?}"
        )),
    }
}
