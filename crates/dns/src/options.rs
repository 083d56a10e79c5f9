//! What a user may say: flags, a file with the same settings, and defaults.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use sealane_kube::Access;
use sealane_net::{ClusterDomain, Family, names};
use sealane_role::{node_name, read_settings};
use serde::{Deserialize, Serialize};

use crate::keeper::Inherited;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const RUN_DIR: &str = "/run/sealane";
const STATE_DIR: &str = "/var/lib/sealane/dns";
/// The port of CoreDNS' metrics, by which Prometheus' usual rules find them.
const HEALTH_PORT: u16 = 9153;

/// The flags of `sealane dns`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Names of the cluster")]
pub struct Options {
    /// Name of this node's Node object [default: $NODE_NAME, else the host name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,

    /// Addresses of the cluster's DNS Service, one for each address family: where this node answers, beside
    /// 169.254.20.10 and fd94::53
    #[arg(long, value_name = "IP[,IP]", value_delimiter = ',')]
    pub cluster_dns: Option<Vec<IpAddr>>,

    /// Domain of the cluster's names, as kubelets know it [default: cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    pub cluster_domain: Option<ClusterDomain>,

    /// Corefile to follow [default: key Corefile of ConfigMap kube-system/coredns, else built in]
    #[arg(long, value_name = "FILE")]
    pub corefile: Option<PathBuf>,

    /// File with the servers that outside names are asked for, wherever the Corefile says /etc/resolv.conf
    /// [default: /etc/resolv.conf]
    #[arg(long, value_name = "FILE")]
    pub resolv_conf: Option<PathBuf>,

    /// Take the addresses at once, before names are known: where nobody else answers there, questions wait instead of
    /// being refused [default: false]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub at_once: Option<bool>,

    /// Folder for the sockets dns.sock (a newer process of this program) and dns.debug.sock (state, metrics)
    /// [default: /run/sealane]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,

    /// Folder for what the node last knew, which is answered after a start without an API server
    /// [default: /var/lib/sealane/dns]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Port on the node's addresses for /healthz, /readyz and /metrics, 0 for none [default: 9153]
    #[arg(long, value_name = "PORT")]
    pub health_port: Option<u16>,

    /// YAML file with the same settings, named as the flags without dashes in front; flags win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What the process that answers is given by the one that starts it.
    #[arg(long, hide = true, value_name = "NAME=FD")]
    pub inherit: Vec<Inherited>,

    /// How many workers before it have panicked.
    #[arg(long, hide = true, value_name = "NUMBER", default_value_t = 0)]
    pub panics: u64,

    // Last, since its heading would go on to what follows.
    #[command(flatten)]
    pub access: Access,
}

/// The file's form: every flag, without the dashes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileOptions {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    api_server: Option<String>,
    node_name: Option<String>,
    cluster_dns: Option<Vec<IpAddr>>,
    cluster_domain: Option<ClusterDomain>,
    corefile: Option<PathBuf>,
    resolv_conf: Option<PathBuf>,
    at_once: Option<bool>,
    run_dir: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    health_port: Option<u16>,
}

/// The settings as resolved; shown by `/debug/config`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    #[serde(skip)]
    pub access: Access,
    pub node_name: String,
    /// Where this node answers: the cluster's addresses, then the local one of each of their families.
    pub addresses: Vec<IpAddr>,
    pub cluster_domain: ClusterDomain,
    /// `None`: from the API.
    pub corefile: Option<PathBuf>,
    pub resolv_conf: PathBuf,
    /// Whether the addresses are taken before names are known.
    pub at_once: bool,
    pub run_dir: PathBuf,
    pub state_dir: PathBuf,
    /// `None`: health and metrics on the debug socket alone.
    pub health_port: Option<u16>,
    /// Workers of this keeper that have panicked.
    #[serde(skip)]
    pub panics: u64,
}

impl Options {
    /// Joins flags, file and defaults.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown or malformed setting, no node name, no address.
    pub fn resolve(self) -> anyhow::Result<Settings> {
        let file = match &self.config {
            Some(path) => read_settings(path)?,
            None => FileOptions::default(),
        };
        let or = |flag: Option<PathBuf>, file: Option<PathBuf>, default: &str| {
            flag.or(file).unwrap_or_else(|| default.into())
        };
        let domain = self.cluster_domain.or(file.cluster_domain);
        let health_port = self.health_port.or(file.health_port);
        Ok(Settings {
            access: Access {
                kubeconfig: self.access.kubeconfig.or(file.kubeconfig),
                context: self.access.context.or(file.context),
                api_server: self.access.api_server.or(file.api_server),
            },
            node_name: node_name(self.node_name.or(file.node_name))?,
            addresses: addresses(self.cluster_dns.or(file.cluster_dns).unwrap_or_default())?,
            cluster_domain: domain.unwrap_or_default(),
            corefile: self.corefile.or(file.corefile),
            resolv_conf: or(self.resolv_conf, file.resolv_conf, RESOLV_CONF),
            at_once: self.at_once.or(file.at_once).unwrap_or(false),
            run_dir: or(self.run_dir, file.run_dir, RUN_DIR),
            state_dir: or(self.state_dir, file.state_dir, STATE_DIR),
            health_port: Some(health_port.unwrap_or(HEALTH_PORT)).filter(|port| *port != 0),
            panics: self.panics,
        })
    }
}

impl Settings {
    /// Where a newer process asks for the sockets.
    pub fn control_socket(&self) -> PathBuf {
        self.run_dir.join("dns.sock")
    }

    /// Where state, metrics and health are served.
    pub fn debug_socket(&self) -> PathBuf {
        self.run_dir.join("dns.debug.sock")
    }
}

/// With the local address of each family that the cluster's have.
fn addresses(cluster: Vec<IpAddr>) -> anyhow::Result<Vec<IpAddr>> {
    if cluster.is_empty() {
        bail!(
            "find the addresses of the cluster's DNS Service: give --cluster-dns IP \
             (kubectl get service -n kube-system kube-dns)"
        );
    }
    let mut all = cluster.clone();
    for family in Family::ALL {
        let of_family = cluster.iter().filter(|ip| Family::from(**ip) == family);
        match of_family.count() {
            0 => {}
            1 => all.push(names::dns_local(family)),
            _ => bail!(
                "use --cluster-dns {}: a Service has one address of each family",
                list(&cluster)
            ),
        }
    }
    let unusable = |ip: &&IpAddr| ip.is_unspecified() || ip.is_multicast() || ip.is_loopback();
    if let Some(ip) = cluster.iter().find(unusable) {
        bail!("use --cluster-dns {ip}: pods cannot ask there; expected the address of a Service");
    }
    all.dedup();
    Ok(all)
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn resolve(dns: &[&str], file: &str) -> anyhow::Result<Settings> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dns.yaml");
        fs::write(&path, file).unwrap();
        let given = dns.iter().map(|ip| ip.parse().unwrap()).collect();
        Options {
            node_name: Some("Node-1".into()),
            cluster_dns: (!dns.is_empty()).then_some(given),
            config: Some(path),
            ..Options::default()
        }
        .resolve()
    }

    #[test]
    fn each_family_of_the_cluster_has_a_local_address_too() {
        let shown = |settings: Settings| list(&settings.addresses);
        let one = resolve(&["10.96.0.10"], "").unwrap();
        assert_eq!(
            (one.node_name.as_str(), one.health_port),
            ("node-1", Some(9153))
        );
        assert_eq!(shown(one), "10.96.0.10,169.254.20.10");
        let both = resolve(&["fd00::a", "10.96.0.10"], "").unwrap();
        assert_eq!(shown(both), "fd00::a,10.96.0.10,169.254.20.10,fd94::53");
        let local = resolve(&["169.254.20.10"], "").unwrap();
        assert_eq!(shown(local), "169.254.20.10");
    }

    #[test]
    fn the_file_says_the_same_as_flags() {
        let text = "cluster-dns: [10.0.0.10]\ncluster-domain: K8S.example.\nhealth-port: 0\nrun-dir: /r\ncorefile: /c\n";
        let settings = resolve(&[], text).unwrap();
        assert_eq!(settings.cluster_domain.as_str(), "k8s.example");
        assert_eq!(settings.health_port, None);
        assert_eq!(settings.control_socket(), Path::new("/r/dns.sock"));
        assert_eq!(settings.corefile.as_deref(), Some(Path::new("/c")));
        let flags = resolve(&["10.96.0.10"], text).unwrap();
        assert_eq!(flags.addresses[0].to_string(), "10.96.0.10");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let one = ["10.96.0.10"];
        for (dns, text, why) in [
            (&[][..], "", "give --cluster-dns"),
            (&["10.0.0.1", "10.0.0.2"], "", "10.0.0.1,10.0.0.2"),
            (&["127.0.0.1"], "", "127.0.0.1"),
            (&one, "cluster-domain: a..b\n", "a..b"),
            (&one, "cluster-dns: many\n", "cluster-dns"),
            (&one, "port: 53\n", "unknown field `port`"),
        ] {
            let error = format!("{:#}", resolve(dns, text).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
