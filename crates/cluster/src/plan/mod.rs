//! What a single-machine cluster is made of, decided before anything is made.
//!
//! Input: what was asked for on the command line ([`Asked`]) and what this
//! machine already uses ([`Observed`]: addresses, routes, listening ports).
//! Output: a [`Plan`], or every reason why there is none ([`PlanErrors`]). No
//! IO happens here, so each decision is a row of a table in the tests.
//!
//! Two rules carry the weight:
//!
//! - A range that was *asked for* is refused, by name, when it overlaps another
//!   range of the cluster or something on this machine. Guessing a better one
//!   would hide the mistake until a packet goes astray.
//! - A range that was *not* asked for gives way to the next free one of a fixed
//!   list, so that several clusters, and a cluster beside a VPN, just work.
//!
//! The default route overlaps everything and counts as a use of nothing. So do
//! the two halves of it (`0.0.0.0/1`, `128.0.0.0/1`) that VPN clients install.
//!
//! A plan is written to `cluster.json` before the first kernel object exists;
//! `down` and a later `up` read it back and never guess.

mod asked;
mod candidates;
mod error;
mod flags;
mod name;
mod ports;
mod ranges;
mod resolve;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use sealane_net::{
    AntiSpoofing, Attachment, ClusterDomain, Family, Mtu, ProxyMode, Ranges, Use, names,
};
use sealane_objects::ImageAlias;
use sealane_route::Routing;
use serde::{Deserialize, Serialize};

pub use asked::{Asked, Difference, IpFamily, networks};
pub use error::{PlanError, PlanErrors};
pub use name::{ClusterName, NameError};
pub use resolve::{recheck, resolve};

/// Number of nodes when `--nodes` is not given.
pub const DEFAULT_NODES: u32 = 2;
/// Prefix length of a node's IPv4 pod subnet when it is not asked for.
pub const DEFAULT_NODE_MASK_V4: u8 = 24;
/// Prefix length of a node's IPv6 pod subnet.
pub const NODE_MASK_V6: u8 = 64;
/// Which address of a Service range the DNS Service has, by kubeadm's custom.
const DNS_ADDRESS: u32 = 10;
/// First port that is tried for the API.
pub const API_PORT: u16 = 6443;

/// A resolved single-machine cluster: everything that the other parts need to
/// know, with no defaults left to fill in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The cluster's name; names of kernel objects derive from it.
    pub name: ClusterName,
    /// How many nodes; they are numbered from 1.
    pub nodes: u32,
    /// The nodes' own addresses.
    pub node_cidr: Ranges,
    /// The pods' addresses.
    pub cluster_cidr: Ranges,
    /// The Services' addresses.
    pub service_cidr: Ranges,
    /// Prefix length of each node's IPv4 pod subnet.
    pub node_mask_v4: u8,
    /// Port of the API on this machine's address in the node network.
    pub api_port: u16,
    /// Port of the API on 127.0.0.1.
    pub local_port: u16,
    /// MTU of the node network: that of the link of the default route.
    pub mtu: Mtu,
    /// Whether pods may reach the world beyond this machine.
    pub internet: bool,
    /// The domain of the cluster's names.
    #[serde(default)]
    pub cluster_domain: ClusterDomain,
    /// Which images stand in for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_aliases: Vec<ImageAlias>,
    /// How packets reach the pods of other nodes.
    #[serde(default)]
    pub routing: Routing,
    /// How pods are attached to their nodes.
    #[serde(default)]
    pub attachment: Attachment,
    /// What pods may send with.
    #[serde(default)]
    pub anti_spoofing: AntiSpoofing,
    /// Where pods' packets go with the pods' own addresses, besides pods and nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub non_masquerade_cidrs: Vec<IpNet>,
    /// How Services are served on the nodes.
    #[serde(default)]
    pub proxy_mode: ProxyMode,
    /// Processor time that each node declares; none: all of this machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_cpu: Option<String>,
    /// Memory that each node declares; none: all of this machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_memory: Option<String>,
    /// How soon a node that fell silent is given up.
    #[serde(default)]
    pub patience: Patience,
}

/// How soon a node that fell silent is given up. Kubernetes takes 50 seconds and 300; a person who
/// tries it out on one machine does not want to wait for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// Without a sign of life for so long, a node is not ready. It gives one every quarter of it.
    pub node_seconds: u32,
    /// Pods that do not say otherwise stay on such a node for so long.
    pub pod_seconds: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            node_seconds: 5,
            pod_seconds: 4,
        }
    }
}

/// What a plan has to get along with on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Addresses and routes of this machine, and ranges of other clusters on it.
    /// Without this cluster's own, and without the default route.
    pub uses: Vec<Use>,
    /// Listening TCP sockets.
    pub listeners: Vec<SocketAddr>,
    /// MTU of the link of the default route, where there is one.
    pub uplink_mtu: Option<Mtu>,
}

/// One node of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// Kubernetes name and hostname, `node-N`.
    pub name: String,
    /// Name of its network namespace.
    pub netns: String,
    /// Its addresses on the node network, with the prefix of that network.
    pub addresses: Vec<IpNet>,
}

impl Plan {
    /// The nodes, in order.
    pub fn node_plans(&self) -> Vec<NodePlan> {
        (1..=self.nodes).map(|number| self.node(number)).collect()
    }

    /// Node `number`, counted from 1.
    pub fn node(&self, number: u32) -> NodePlan {
        NodePlan {
            name: names::node(number),
            netns: self.name.node_netns(number),
            addresses: self.nth_addresses(number + 1),
        }
    }

    /// This machine's addresses on the node network: the first of each range.
    pub fn machine_addresses(&self) -> Vec<IpNet> {
        self.nth_addresses(1)
    }

    /// The `kubernetes` Service's addresses: the first of each Service range.
    pub fn kubernetes_service_addresses(&self) -> Vec<IpAddr> {
        self.service_cidr
            .iter()
            .map(|range| ranges::nth(range, 1))
            .collect()
    }

    /// The addresses of the cluster's DNS Service: the tenth of each Service range, if pods have addresses of its
    /// family: clusters of older versions with IPv6 alone have Services of IPv4.
    pub fn dns_addresses(&self) -> Vec<IpAddr> {
        let of_pods = |range: &IpNet| self.cluster_cidr.of(Family::from(*range)).is_some();
        let ranges = self.service_cidr.iter().filter(of_pods);
        ranges
            .map(|range| ranges::nth(range, DNS_ADDRESS))
            .collect()
    }

    /// The API as nodes and agents reach it.
    pub fn api_url(&self) -> String {
        let host = match self.machine_addresses().first().map(IpNet::addr) {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            Some(IpAddr::V4(address)) => address.to_string(),
            None => "localhost".to_owned(),
        };
        format!("https://{host}:{}", self.api_port)
    }

    /// The API as people and programs on this machine reach it.
    pub fn local_api_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.local_port)
    }

    fn nth_addresses(&self, n: u32) -> Vec<IpNet> {
        self.node_cidr
            .iter()
            .map(|range| ranges::with_prefix(ranges::nth(range, n), range.prefix_len()))
            .collect()
    }
}
