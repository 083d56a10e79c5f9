//! What naming Services, their endpoints and pods needs to know of them.
//!
//! These are other forms than those of serving ([`crate::ServiceNet`], [`crate::SliceNet`]):
//! serving skips just those Services that are nothing but a name, and names need no node, hint or
//! node port. So neither process keeps what only the other one reads.

use std::{net::IpAddr, sync::Arc};

use sealane_net::Protocol;
use serde::{Deserialize, Serialize};

/// What a Service's name stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceDns {
    /// Addresses, endpoints or another name.
    pub target: DnsTarget,
    /// `.spec.ports`
    pub ports: Vec<PortDns>,
}

/// What a Service's name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DnsTarget {
    /// `.spec.clusterIPs`; none while the Service waits for them.
    Addresses(Vec<IpAddr>),
    /// Its ready endpoints: `clusterIP: None`.
    Endpoints,
    /// `.spec.externalName`, as it is written there.
    Name(String),
}

impl Default for DnsTarget {
    fn default() -> Self {
        Self::Addresses(Vec::new())
    }
}

/// A port, of a Service or of all endpoints of a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortDns {
    /// `.name`, empty for an only port without one.
    pub name: Arc<str>,
    /// `.protocol`
    pub protocol: Protocol,
    /// `.port`
    pub port: u16,
}

/// What an EndpointSlice tells of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SliceDns {
    /// Label `kubernetes.io/service-name`: the Service in the slice's namespace; empty if there is none.
    pub service: Arc<str>,
    /// `.ports` that have a number.
    pub ports: Vec<PortDns>,
    /// `.endpoints`, each of its addresses by itself; none of a slice of names (`addressType: FQDN`).
    pub endpoints: Vec<EndpointDns>,
}

/// One address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointDns {
    /// One of `.addresses`.
    pub address: IpAddr,
    /// `.conditions.ready`, which is true of all endpoints of a Service with
    /// `publishNotReadyAddresses`; unknown counts as true.
    pub ready: bool,
    /// `.hostname`, of a pod whose `subdomain` is the Service's name.
    pub hostname: Option<Arc<str>>,
    /// `.targetRef.name`, if it is a pod.
    pub pod: Option<Arc<str>>,
}

/// What a Pod tells of names, and of how it asks for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDns {
    /// Its own addresses, `.status.podIPs`; none on its node's network, of one that has ended, and of one
    /// that has no network yet.
    pub addresses: Vec<IpAddr>,
    /// `.spec.hostNetwork`
    pub host_network: bool,
    /// `.spec.dnsPolicy`
    pub policy: DnsPolicy,
    /// `.spec.dnsConfig`
    pub config: DnsConfig,
}

/// Where a pod's resolver settings come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsPolicy {
    /// The cluster's, and the node's on the node's network.
    #[default]
    ClusterFirst,
    /// The cluster's.
    ClusterFirstWithHostNet,
    /// The node's.
    Default,
    /// None but those of the pod's `dnsConfig`.
    None,
}

/// Resolver settings of a pod's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsConfig {
    /// `.searches`
    pub searches: Vec<String>,
    /// Option `ndots`, where it is a number.
    pub ndots: Option<u32>,
}
