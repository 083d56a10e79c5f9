use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What the network needs to know of a Node: where it is and which pods are behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeNet {
    /// `.metadata.name`
    pub name: String,
    /// `.status.addresses` of type `InternalIP`, in their order; at most one of each family is used.
    #[serde(rename = "internalIPs")]
    pub internal_ips: Vec<IpAddr>,
    /// `.spec.podCIDRs`, at most one of each family; empty until a controller has set it.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNet>,
    /// The node's blocks of named pools, ascending: pods have their addresses too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_ranges: Vec<IpNet>,
    /// Label `topology.kubernetes.io/zone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// It is being deleted, or is about to be: `.metadata.deletionTimestamp`, or the cluster autoscaler's taint
    /// `ToBeDeletedByClusterAutoscaler` (KEP-3836).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

impl NodeNet {
    /// All that pods of the node may have addresses of: its subnets, then its blocks.
    pub fn pod_networks(&self) -> impl Iterator<Item = IpNet> {
        self.pod_cidrs.iter().chain(&self.pod_ranges).copied()
    }

    /// The first internal address of the family of `of`.
    pub fn internal_ip_like(&self, of: IpAddr) -> Option<IpAddr> {
        self.internal_ips
            .iter()
            .copied()
            .find(|ip| ip.is_ipv4() == of.is_ipv4())
    }
}

#[cfg(test)]
mod tests {
    use super::NodeNet;

    #[test]
    fn picks_an_address_of_the_family_and_is_written_with_the_names_of_the_api() {
        let node = NodeNet {
            name: "node-1".into(),
            internal_ips: vec!["172.29.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            pod_cidrs: vec!["10.244.0.0/24".parse().unwrap()],
            ..NodeNet::default()
        };
        assert_eq!(
            node.internal_ip_like("::1".parse().unwrap()),
            Some("fd00::2".parse().unwrap())
        );
        assert_eq!(
            serde_json::to_string(&node).unwrap(),
            r#"{"name":"node-1","internalIPs":["172.29.0.2","fd00::2"],"podCIDRs":["10.244.0.0/24"]}"#
        );
    }
}
