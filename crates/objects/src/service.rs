use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use sealane_net::Protocol;
use serde::{Deserialize, Serialize};

/// What serving a Service needs to know of it. Each address has passed the parser; what did not is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceNet {
    /// Seconds of `.metadata.creationTimestamp` since 1970: of two Services that want the same, the older has it.
    pub created: i64,
    /// Somebody else serves it, or nobody: label `service.kubernetes.io/service-proxy-name` or
    /// `service.kubernetes.io/headless`, no cluster IP, or type `ExternalName`.
    pub skipped: bool,
    /// `.spec.clusterIPs`, at most one of each family.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<IpAddr>,
    /// `.spec.externalIPs`
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<IpAddr>,
    /// `.status.loadBalancer.ingress` with addresses that nodes themselves serve (`ipMode: VIP`, which is the default).
    #[serde(rename = "loadBalancerIPs")]
    pub load_balancer_ips: Vec<IpAddr>,
    /// `.spec.loadBalancerSourceRanges`; none: everybody.
    pub source_ranges: Option<Vec<IpNet>>,
    /// `.spec.ports`
    pub ports: Vec<ServicePortNet>,
    /// `.spec.internalTrafficPolicy`
    pub internal_policy: TrafficPolicy,
    /// `.spec.externalTrafficPolicy`
    pub external_policy: TrafficPolicy,
    /// `.spec.sessionAffinity: ClientIP` and its timeout.
    pub affinity_seconds: Option<u32>,
    /// `.spec.healthCheckNodePort`, of a load balancer with `externalTrafficPolicy: Local`.
    pub health_check_node_port: Option<u16>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePortNet {
    /// `.name`, empty for an only port without one; slices call it the same.
    pub name: Arc<str>,
    /// `.protocol`
    pub protocol: Protocol,
    /// `.port`
    pub port: u16,
    /// `.nodePort`
    pub node_port: Option<u16>,
}

/// Which endpoints may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// Those of all nodes.
    #[default]
    Cluster,
    /// Those on the node that the connection has reached.
    Local,
}
