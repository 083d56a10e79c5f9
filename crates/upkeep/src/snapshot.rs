//! A node as it was found, whoever made it so.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use sealane_net::{Family, IpNet, Ranges, Route, names};
use sealane_netlink::{Address, Link, Neighbour};
use sealane_objects::NodeNet;
use serde::Deserialize;

use crate::finding::Skipped;
use crate::firewall::Table;

/// Everything that is judged. What could not be read is empty, and [`Snapshot::skipped`] says so.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What the agent was told, or would be.
    pub settings: AgentSettings,
    /// All links of the network namespace.
    pub links: Vec<Link>,
    /// Their addresses.
    pub addresses: Vec<Address>,
    /// The routes of the main table and of ours, with the names of their links.
    pub routes: Vec<Route>,
    /// What is known of neighbours.
    pub neighbours: Vec<Neighbour>,
    /// Settings of the kernel, those that it has.
    pub sysctls: BTreeMap<String, String>,
    /// What the kernel has counted.
    pub counters: Counters,
    /// What it was tried to make, and the kernel's refusal.
    pub missing_features: Vec<(Feature, String)>,
    /// Rules of others.
    pub firewall: Vec<Table>,
    /// The folder with the configurations of container networks.
    pub networks: ConfDir,
    /// The agent.
    pub agent: Agent,
    /// Whether a DNS server of ours can be reached by its socket.
    pub dns_answers: bool,
    /// All nodes, when the API server told.
    pub nodes: Option<Vec<NodeNet>>,
    /// Ranges of Services, when somebody told.
    pub services: Vec<IpNet>,
    /// What could not be looked at.
    pub skipped: Vec<Skipped>,
}

/// The settings that decide what should be there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentSettings {
    /// The Node's name.
    pub node_name: String,
    /// The range of all pods.
    pub cluster_cidr: Option<Ranges>,
    /// `auto`, `direct`, `vxlan`.
    pub routing: String,
    /// The UDP port.
    pub vxlan_port: u16,
    /// `bridge`, `routed`.
    pub attachment: String,
    /// Who programs Services, once that is known.
    pub proxy_mode: Option<String>,
    /// The folder of plugins.
    pub cni_bin_dir: PathBuf,
    /// The folder of configurations.
    pub cni_conf_dir: PathBuf,
    /// The agent's memory.
    pub state_dir: PathBuf,
    /// The agent's sockets.
    pub run_dir: PathBuf,
    /// For probes.
    pub health_port: Option<u16>,
}

/// What the kernel has counted since the namespace was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets dropped by rp_filter.
    pub reverse_path_drops: u64,
    /// Connections now.
    pub connections: Option<u64>,
    /// Connections at most.
    pub connections_max: Option<u64>,
    /// Packets dropped since there was no room for their connection.
    pub connections_dropped: u64,
    /// Times that there was no room for a neighbour.
    pub neighbours_full: u64,
}

/// Something that a kernel may be built without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Links of pods.
    Veth,
    /// Their bridge.
    Bridge,
    /// The overlay.
    Vxlan,
    /// Tables with masquerading, for one family.
    Nft(Family),
    /// Bandwidth limits.
    TrafficControl,
}

/// The folder with the configurations of container networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfDir {
    /// What a container runtime would read, sorted as it sorts.
    pub files: Vec<String>,
    /// Whether the plugin is in its folder.
    pub plugin: bool,
    /// Whether the folder could be read.
    pub readable: bool,
}

/// What the agent says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agent {
    /// Nobody answers.
    Away {
        /// Why.
        why: String,
    },
    /// It answers.
    Here {
        /// Whether ADD is served.
        ready: bool,
        /// What of it is not well, one line each.
        troubles: Vec<String>,
        /// Nodes that are not reached, and why.
        problems: Vec<String>,
        /// Where leases and links do not agree.
        leases: Vec<String>,
        /// Addresses of pods that somebody else uses too.
        duplicates: Vec<String>,
        /// Whether it runs in the network namespace that is looked at; `None` when that is not known.
        same_namespace: Option<bool>,
    },
}

impl Default for Agent {
    fn default() -> Self {
        Self::Away { why: String::new() }
    }
}

impl Snapshot {
    /// The Node's object, if the API server told of it.
    pub fn this_node(&self) -> Option<&NodeNet> {
        let nodes = self.nodes.as_ref()?;
        nodes.iter().find(|n| n.name == self.settings.node_name)
    }

    /// All other nodes, if the API server told.
    pub fn peers(&self) -> impl Iterator<Item = &NodeNet> {
        let nodes = self.nodes.iter().flatten();
        nodes.filter(|node| node.name != self.settings.node_name)
    }

    /// The subnets of this node's pods: the Node's, else those that the agent has made something for.
    pub fn pod_subnets(&self) -> Vec<IpNet> {
        match self.this_node() {
            Some(node) if !node.pod_cidrs.is_empty() => node.pod_cidrs.clone(),
            _ => {
                let on_bridge = self.addresses_of(names::POD_BRIDGE);
                // Without a bridge, what no pod has is unreachable.
                let routed = self.routes.iter().filter(|route| route.unreachable);
                let routed = routed.map(|route| route.destination);
                let mut all: Vec<IpNet> = on_bridge.map(|a| a.trunc()).chain(routed).collect();
                all.sort();
                all.dedup();
                all
            }
        }
    }

    /// The families of pods; IPv4 where nothing is known.
    pub fn families(&self) -> Vec<Family> {
        let subnets = self.pod_subnets();
        let has = |family: &Family| subnets.iter().any(|s| Family::from(*s) == *family);
        let found: Vec<Family> = Family::ALL.into_iter().filter(has).collect();
        if found.is_empty() {
            return vec![Family::V4];
        }
        found
    }

    /// A link by its name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The usable addresses of a link.
    pub fn addresses_of(&self, name: &str) -> impl Iterator<Item = IpNet> {
        let index = self.link(name).map(|link| link.index);
        let own = self.addresses.iter();
        own.filter(move |address| address.global && Some(address.link) == index)
            .map(|address| address.address)
    }

    /// The link with the node's address, else the one with the default route.
    pub fn uplink(&self) -> Option<&Link> {
        let of_node = self
            .this_node()
            .and_then(|node| node.internal_ips.first())
            .and_then(|ip| self.addresses.iter().find(|a| a.address.addr() == *ip))
            .and_then(|a| self.links.iter().find(|link| link.index == a.link));
        of_node.or_else(|| {
            let default = self.routes.iter().find(|r| is_default(r));
            self.link(default?.device.as_deref()?)
        })
    }

    /// An address of this node that others use, of a family.
    pub fn node_address(&self, family: Family) -> Option<IpAddr> {
        let told = self.this_node().map(|node| node.internal_ips.clone());
        let told = told.unwrap_or_default();
        let uplink = self.uplink().map_or("", |link| &link.name);
        let here = self.addresses_of(uplink).map(|net| net.addr());
        let mut all = told.into_iter().chain(here);
        all.find(|ip| Family::from(*ip) == family)
    }

    /// The route that a packet of the node to an address takes, by the main table.
    pub fn route_to(&self, address: IpAddr) -> Option<&Route> {
        let fits =
            |route: &&Route| route.table == Route::MAIN && route.destination.contains(&address);
        let best = |route: &&Route| {
            (
                route.destination.prefix_len(),
                std::cmp::Reverse(route.metric),
            )
        };
        self.routes.iter().filter(fits).max_by_key(best)
    }

    /// Whether a link is one that the agent makes.
    pub fn is_ours(name: &str) -> bool {
        name == names::POD_BRIDGE || name == names::VXLAN || names::is_pod_link(name)
    }

    /// The link that pods' packets come by, and how iptables and nft write all of them.
    pub fn pods_side(&self) -> PodsSide {
        if self.settings.attachment != "routed" {
            return PodsSide {
                link: names::POD_BRIDGE.into(),
                pattern: names::POD_BRIDGE,
            };
        }
        let found = self.links.iter().find(|l| names::is_pod_link(&l.name));
        PodsSide {
            link: found.map_or_else(|| names::pod_link("any", "eth0"), |l| l.name.clone()),
            pattern: names::POD_LINK_PREFIX,
        }
    }

    /// A setting's value.
    pub fn sysctl(&self, key: &str) -> Option<&str> {
        self.sysctls.get(key).map(String::as_str)
    }
}

/// Where pods are, as rules of others see it.
#[derive(Clone, Debug)]
pub struct PodsSide {
    /// One link.
    pub link: String,
    /// The whole name of the only link, or what all names begin with.
    pub pattern: &'static str,
}

impl PodsSide {
    /// As iptables writes it.
    pub fn iptables(&self) -> String {
        self.with("+")
    }

    /// As nft writes it.
    pub fn nft(&self) -> String {
        self.with("*")
    }

    fn with(&self, any: &str) -> String {
        let whole = self.pattern == self.link;
        format!("{}{}", self.pattern, if whole { "" } else { any })
    }
}

/// Whether a route is the way to everywhere.
pub fn is_default(route: &Route) -> bool {
    route.destination.prefix_len() == 0 && route.table == Route::MAIN
}
