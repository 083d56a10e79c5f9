//! What a user may say: flags, a file with the same settings, and defaults.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use sealane_cni::types::is_valid_identifier;
use sealane_kube::Access;
use sealane_net::{AntiSpoofing, Attachment, IpNet, ProxyMode, Ranges, names, parse_network};
use sealane_role::{node_name, read_settings};
use sealane_route::Routing;
use sealane_service::NodePortAddresses;
use serde::{Deserialize, Serialize};

use crate::{
    cloud::{CloudOptions, CloudSettings, Ipam},
    node::Choices,
};

const CNI_BIN_DIR: &str = "/opt/cni/bin";
const CNI_CONF_DIR: &str = "/etc/cni/net.d";
const STATE_DIR: &str = "/var/lib/sealane/agent";
const RUN_DIR: &str = "/run/sealane";
/// It needs least of a machine: neither a bridge nor its netfilter hooks.
const ATTACHMENT: Attachment = Attachment::Routed;
/// 10256 is left to whoever programs Services, kube-proxy for instance.
const HEALTH_PORT: u16 = 10266;
/// kube-proxy's.
const HEALTHZ: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 10256);
/// What an ADD can wait for, and longer than endpoints and most DNS answers take to be followed.
const ADDRESS_REUSE_DELAY: u32 = 10;

/// Run the network of one node, in the network namespace in which this is started.
///
/// Works with any Kubernetes API server. It waits for the pod subnets in
/// `.spec.podCIDRs` of its Node, attaches pods to a bridge or by routes, keeps routes to the other
/// nodes (`ip route show proto 94`), gives pods that leave the cluster the
/// node's address (`nft list table ip sealane`), and answers the CNI plugin,
/// which it installs for the container runtime once it is ready. What it finds
/// right it does not touch: restarting it cuts no connection.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Network of the node")]
pub struct Options {
    /// Name of this node's Node object [default: $NODE_NAME, else the host name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,

    /// Where pods' addresses come from: the Node's `.spec.podCIDRs`, or this machine's network interfaces at
    /// Amazon EC2, as secondary addresses or prefixes [default: pod-cidrs]
    #[arg(long, value_name = "SOURCE")]
    pub ipam: Option<Ipam>,

    #[command(flatten)]
    pub ec2: CloudOptions,

    /// Ranges of all pods of the cluster, one for each address family: never masqueraded
    /// [default: the pod subnets of all nodes]
    #[arg(long, value_name = "CIDRS")]
    pub cluster_cidr: Option<Ranges>,

    /// How packets reach the pods of other nodes: `auto` decides for each node, directly when its
    /// address is on a link of this one, else through VXLAN; the same on all nodes [default: auto]
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(Routing::NAMES).try_map(|name| name.parse::<Routing>()))]
    pub routing: Option<Routing>,

    /// UDP port of VXLAN, the same on all nodes [default: 4789]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub vxlan_port: Option<u16>,

    /// Network identifier of VXLAN, the same on all nodes [default: 94]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..1 << 24))]
    pub vxlan_vni: Option<u32>,

    /// How new pods are attached to the node: `bridge` makes them ports of cbr0, `routed` gives each
    /// a route of its own and no bridge; pods that are there keep theirs [default: routed]
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Attachment::NAMES).try_map(|name| name.parse::<Attachment>()))]
    pub attachment: Option<Attachment>,

    /// Ranges that pods reach with their own addresses instead of the node's, beside pods, nodes and multicast:
    /// whoever is there needs a way back to the pods. Comma between two
    #[arg(long, value_name = "CIDRS", value_delimiter = ',', value_parser = parse_network)]
    pub non_masquerade_cidrs: Option<Vec<IpNet>>,

    /// What pods may send with: `pod` their own IP and Ethernet addresses alone, and nothing that routers and DHCP
    /// servers send; `node` the IP addresses of all pods of their node; `off` anything [default: pod]
    #[arg(long, value_name = "CHECK", value_parser = PossibleValuesParser::new(AntiSpoofing::NAMES).try_map(|name| name.parse::<AntiSpoofing>()))]
    pub anti_spoofing: Option<AntiSpoofing>,

    /// How Services are served on this node; `none` leaves them to somebody else, kube-proxy for instance
    /// [default: nftables]
    #[arg(long, value_name = "MODE", value_parser = PossibleValuesParser::new(ProxyMode::NAMES).try_map(|name| name.parse::<ProxyMode>()))]
    pub proxy_mode: Option<ProxyMode>,

    /// Serve the externalIPs of Services; whoever may write a Service can then take any address to himself
    /// (CVE-2020-8554) [default: false]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub external_ips: Option<bool>,

    /// At which addresses of the node node ports are served: ranges of addresses, or `primary` for the Node's own;
    /// a family without a range is served at all of them [default: all, and 127.0.0.1]
    #[arg(long, value_name = "CIDRS", value_parser = |text: &str| text.parse::<NodePortAddresses>())]
    pub nodeport_addresses: Option<NodePortAddresses>,

    /// Where load balancers ask whether this node takes connections, at /healthz and /livez, while it serves
    /// Services; port 0 for nowhere [default: `[::]:10256`, which is IPv4 too]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub healthz_bind_address: Option<SocketAddr>,

    /// Folder in which the container runtime looks for CNI plugins [default: /opt/cni/bin]
    #[arg(long, value_name = "DIR")]
    pub cni_bin_dir: Option<PathBuf>,

    /// Folder in which the container runtime looks for CNI configurations [default: /etc/cni/net.d]
    #[arg(long, value_name = "DIR")]
    pub cni_conf_dir: Option<PathBuf>,

    /// Plugins that the container runtime calls after ours, from the same folder, such as `portmap` and `bandwidth`
    /// instead of what the agent does for hostPort and bandwidth. Comma between two
    #[arg(long, value_name = "PLUGINS", value_delimiter = ',')]
    pub cni_chain: Option<Vec<String>>,

    /// How long an address that a pod has given back is not given to another, so that nobody takes
    /// the new pod for the old; an ADD that finds no other waits for it [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub address_reuse_delay: Option<u32>,

    /// Folder for what must survive a restart: which pod has which address [default: /var/lib/sealane/agent]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Folder for the sockets agent.sock (CNI plugin) and agent.debug.sock (state, metrics) [default: /run/sealane]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,

    /// Port on the node's address for /healthz, /readyz and /metrics, 0 for none [default: 10266]
    #[arg(long, value_name = "PORT")]
    pub health_port: Option<u16>,

    /// YAML file with the same settings, named as the flags without dashes in front; flags win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

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
    /// As the flag takes it: one text, comma between two ranges.
    cluster_cidr: Option<String>,
    routing: Option<Routing>,
    vxlan_port: Option<u16>,
    vxlan_vni: Option<u32>,
    proxy_mode: Option<ProxyMode>,
    external_ips: Option<bool>,
    nodeport_addresses: Option<Vec<String>>,
    healthz_bind_address: Option<SocketAddr>,
    attachment: Option<Attachment>,
    non_masquerade_cidrs: Option<Vec<String>>,
    anti_spoofing: Option<AntiSpoofing>,
    cni_bin_dir: Option<PathBuf>,
    cni_conf_dir: Option<PathBuf>,
    cni_chain: Option<Vec<String>>,
    address_reuse_delay: Option<u32>,
    state_dir: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    health_port: Option<u16>,
    ipam: Option<Ipam>,
    warm_ip_target: Option<usize>,
    minimum_ip_target: Option<usize>,
    #[serde(default)]
    prefix_delegation: bool,
    warm_prefix_target: Option<usize>,
    max_eni: Option<usize>,
    release_after: Option<u32>,
    ec2_region: Option<String>,
    ec2_instance: Option<String>,
    ec2_endpoint: Option<String>,
    ec2_metadata: Option<String>,
}

impl FileOptions {
    fn ec2(&self) -> CloudOptions {
        CloudOptions {
            warm_ip_target: self.warm_ip_target,
            minimum_ip_target: self.minimum_ip_target,
            prefix_delegation: self.prefix_delegation,
            warm_prefix_target: self.warm_prefix_target,
            max_eni: self.max_eni,
            release_after: self.release_after,
            ec2_region: self.ec2_region.clone(),
            ec2_instance: self.ec2_instance.clone(),
            ec2_endpoint: self.ec2_endpoint.clone(),
            ec2_metadata: self.ec2_metadata.clone(),
        }
    }
}

/// The settings as resolved; shown by `/debug/config`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    #[serde(skip)]
    pub access: Access,
    pub node_name: String,
    pub cluster_cidr: Option<Ranges>,
    pub routing: Routing,
    pub vxlan_port: u16,
    pub vxlan_vni: u32,
    pub proxy_mode: ProxyMode,
    /// Whether `.spec.externalIPs` are served.
    pub external_ips: bool,
    pub nodeport_addresses: NodePortAddresses,
    /// `None`: /healthz and /livez are not served.
    pub healthz_bind_address: Option<SocketAddr>,
    pub attachment: Attachment,
    pub non_masquerade_cidrs: Vec<IpNet>,
    pub anti_spoofing: AntiSpoofing,
    pub cni_bin_dir: PathBuf,
    pub cni_conf_dir: PathBuf,
    /// Plugins behind ours.
    pub cni_chain: Vec<String>,
    /// In seconds.
    pub address_reuse_delay: u32,
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    /// `None`: health and metrics on the socket alone.
    pub health_port: Option<u16>,
    /// `None`: addresses come from `.spec.podCIDRs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ec2: Option<CloudSettings>,
}

impl Options {
    /// Joins flags, file and defaults.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown or malformed setting, no node name.
    pub fn resolve(self) -> anyhow::Result<Settings> {
        let file = match &self.config {
            Some(path) => read_settings(path)?,
            None => FileOptions::default(),
        };
        let ec2 = match self.ipam.or(file.ipam).unwrap_or_default() {
            Ipam::PodCidrs => None,
            Ipam::Ec2 => Some(self.ec2.or(file.ec2()).resolve()),
        };
        let attachment = attachment(self.attachment.or(file.attachment), ec2.is_some())?;
        let cluster_cidr = match (self.cluster_cidr, file.cluster_cidr) {
            (Some(ranges), _) => Some(ranges),
            (None, Some(text)) => Some(
                text.parse()
                    .context("use cluster-cidr of the config file")?,
            ),
            (None, None) => None,
        };
        let listed = file.non_masquerade_cidrs.unwrap_or_default();
        let non_masquerade_cidrs = match self.non_masquerade_cidrs {
            Some(list) => list,
            None => (listed.iter())
                .map(|text| parse_network(text))
                .collect::<Result<_, _>>()
                .context("use non-masquerade-cidrs of the config file")?,
        };
        let nodeport_addresses = match (self.nodeport_addresses, file.nodeport_addresses) {
            (Some(addresses), _) => addresses,
            (None, list) => (list.unwrap_or_default().join(",").parse())
                .context("use nodeport-addresses of the config file")?,
        };
        let or = |flag: Option<PathBuf>, file: Option<PathBuf>, default: &str| {
            flag.or(file).unwrap_or_else(|| default.into())
        };
        let run_dir = or(self.run_dir, file.run_dir, RUN_DIR);
        Ok(Settings {
            access: Access {
                kubeconfig: self.access.kubeconfig.or(file.kubeconfig),
                context: self.access.context.or(file.context),
                api_server: self.access.api_server.or(file.api_server),
            },
            node_name: node_name(self.node_name.or(file.node_name))?,
            cluster_cidr,
            routing: self.routing.or(file.routing).unwrap_or_default(),
            vxlan_port: self
                .vxlan_port
                .or(file.vxlan_port)
                .unwrap_or(names::VXLAN_PORT),
            vxlan_vni: self
                .vxlan_vni
                .or(file.vxlan_vni)
                .unwrap_or(names::VXLAN_VNI),
            non_masquerade_cidrs,
            proxy_mode: self.proxy_mode.or(file.proxy_mode).unwrap_or_default(),
            external_ips: self.external_ips.or(file.external_ips).unwrap_or(false),
            nodeport_addresses,
            healthz_bind_address: Some(
                self.healthz_bind_address
                    .or(file.healthz_bind_address)
                    .unwrap_or(HEALTHZ),
            )
            .filter(|at| at.port() != 0),
            anti_spoofing: self
                .anti_spoofing
                .or(file.anti_spoofing)
                .unwrap_or_default(),
            attachment,
            ec2,
            cni_bin_dir: or(self.cni_bin_dir, file.cni_bin_dir, CNI_BIN_DIR),
            cni_conf_dir: or(self.cni_conf_dir, file.cni_conf_dir, CNI_CONF_DIR),
            cni_chain: chain(self.cni_chain.or(file.cni_chain).unwrap_or_default())?,
            address_reuse_delay: self
                .address_reuse_delay
                .or(file.address_reuse_delay)
                .unwrap_or(ADDRESS_REUSE_DELAY),
            state_dir: absolute(or(self.state_dir, file.state_dir, STATE_DIR))?,
            run_dir: absolute(run_dir)?,
            health_port: Some(self.health_port.or(file.health_port).unwrap_or(HEALTH_PORT))
                .filter(|port| *port != 0),
        })
    }
}

impl Settings {
    /// Whether the agent limits pods itself: unless the stock plugin behind ours does.
    pub fn limits_bandwidth(&self) -> bool {
        !self.cni_chain.iter().any(|plugin| plugin == "bandwidth")
    }

    /// Whether the agent serves pods' host ports itself: with its own rules for Services, unless the stock plugin
    /// behind ours does.
    pub fn serves_host_ports(&self) -> bool {
        self.proxy_mode == ProxyMode::Nftables && !self.chains_portmap()
    }

    /// Whether nobody serves them, as far as we can know: without rules of ours somebody else may.
    pub fn leaves_host_ports(&self) -> bool {
        self.proxy_mode == ProxyMode::Iptables && !self.chains_portmap()
    }

    fn chains_portmap(&self) -> bool {
        self.cni_chain.iter().any(|plugin| plugin == "portmap")
    }

    /// Where the CNI plugin reaches the agent.
    pub fn cni_socket(&self) -> PathBuf {
        self.run_dir.join("agent.sock")
    }

    /// Where the CNI plugin leaves DELs while there is no agent.
    pub fn spool_dir(&self) -> PathBuf {
        self.state_dir.join("spool")
    }

    /// How long an address rests between two pods.
    pub fn reuse_delay(&self) -> Duration {
        Duration::from_secs(self.address_reuse_delay.into())
    }

    /// What concerns the node's network.
    pub fn choices(&self) -> Choices {
        Choices {
            cluster_cidr: self.cluster_cidr.clone(),
            routing: self.routing,
            attachment: self.attachment,
            vxlan_port: self.vxlan_port,
            vxlan_vni: self.vxlan_vni,
            anti_spoofing: self.anti_spoofing,
            non_masquerade: self.non_masquerade_cidrs.clone(),
            cloud: None,
            limit_bandwidth: self.limits_bandwidth(),
        }
    }

    /// Where state, metrics and health are served.
    pub fn debug_socket(&self) -> PathBuf {
        self.run_dir.join("agent.debug.sock")
    }
}

/// Pods with addresses of the machine's interfaces have no subnet that a bridge could be the gateway of.
fn attachment(given: Option<Attachment>, ec2: bool) -> anyhow::Result<Attachment> {
    match (given, ec2) {
        (Some(Attachment::Bridge), true) => {
            bail!("use --attachment bridge with --ipam ec2: pods are routed then; leave it out")
        }
        (_, true) => Ok(Attachment::Routed),
        (given, false) => Ok(given.unwrap_or(ATTACHMENT)),
    }
}

/// A plugin's name is a file's in the runtime's folder, and no other.
fn chain(plugins: Vec<String>) -> anyhow::Result<Vec<String>> {
    match plugins.iter().find(|name| !is_valid_identifier(name)) {
        Some(name) => bail!("use cni-chain: {name:?} is not the name of a plugin, such as portmap"),
        None => Ok(plugins),
    }
}

/// The plugin runs in another folder, so its conflist must name folders in full.
fn absolute(path: PathBuf) -> anyhow::Result<PathBuf> {
    std::path::absolute(&path).with_context(|| format!("use folder {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn with_file(text: &str, flags: Options) -> anyhow::Result<Settings> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.yaml");
        fs::write(&path, text).unwrap();
        Options {
            config: Some(path),
            ..flags
        }
        .resolve()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let flags = Options {
            node_name: Some("Node-1".into()),
            ..Options::default()
        };
        let settings = with_file(
            "node-name: other\nhealth-port: 0\ncluster-cidr: 10.244.0.0/16\nrun-dir: /run/x\nrouting: vxlan\nvxlan-port: 8472\nattachment: bridge\n\
             anti-spoofing: node\nnon-masquerade-cidrs: [192.168.0.0/16, fd01::/16]\n",
            flags,
        )
        .unwrap();
        assert_eq!(settings.node_name, "node-1");
        assert_eq!(settings.health_port, None);
        assert_eq!(settings.cni_socket(), Path::new("/run/x/agent.sock"));
        assert_eq!(settings.cni_bin_dir, Path::new(CNI_BIN_DIR));
        assert_eq!(settings.routing, Routing::Vxlan);
        assert_eq!(settings.attachment, Attachment::Bridge);
        assert_eq!(settings.anti_spoofing, AntiSpoofing::Node);
        let kept: Vec<String> = settings
            .non_masquerade_cidrs
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(kept, ["192.168.0.0/16", "fd01::/16"]);
        assert_eq!((settings.vxlan_port, settings.vxlan_vni), (8472, 94));
        assert_eq!(settings.cluster_cidr.unwrap().to_string(), "10.244.0.0/16");
    }

    #[test]
    fn an_empty_file_is_no_settings() {
        let flags = Options {
            node_name: Some("a".into()),
            ..Options::default()
        };
        let settings = with_file("", flags).unwrap();
        assert_eq!(settings.health_port, Some(HEALTH_PORT));
        assert_eq!(settings.attachment, ATTACHMENT);
        assert_eq!(settings.healthz_bind_address, Some(HEALTHZ));
        assert_eq!(settings.nodeport_addresses, NodePortAddresses::All);
    }

    #[test]
    fn addresses_of_ec2_come_with_routed_pods_and_no_setting_of_it_alone_turns_it_on() {
        let flags = || Options {
            node_name: Some("a".into()),
            ..Options::default()
        };
        let with = |text: &str| with_file(text, flags()).unwrap();
        assert!(with("warm-ip-target: 3\n").ec2.is_none());
        let settings = with("ipam: ec2\nwarm-ip-target: 3\nmax-eni: 2\nrelease-after: 60\n");
        assert_eq!(settings.attachment, Attachment::Routed);
        let targets = settings.ec2.unwrap().targets;
        assert_eq!((targets.warm, targets.interfaces), (Some(3), Some(2)));
        assert_eq!(targets.idle, Duration::from_secs(60));
    }

    #[test]
    fn what_the_file_cannot_mean_is_refused_by_name() {
        for (text, why) in [
            ("node: a\n", "unknown field `node`"),
            ("health-port: many\n", "health-port"),
            ("attachment: ipvlan\n", "ipvlan"),
            ("anti-spoofing: yes\n", "anti-spoofing"),
            ("non-masquerade-cidrs: [10.0.0.1/8]\n", "10.0.0.0/8"),
            ("cluster-cidr: 10.244.0.0\n", "10.244.0.0"),
            ("cni-chain: [../sh]\n", "../sh"),
            ("nodeport-addresses: [primary, 10.0.0.0/8]\n", "primary"),
            ("healthz-bind-address: 10256\n", "healthz-bind-address"),
            ("ipam: ec2\nattachment: bridge\n", "pods are routed"),
            ("ipam: azure\n", "azure"),
        ] {
            let error = with_file(text, Options::default()).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(why), "{error}");
        }
    }
}
