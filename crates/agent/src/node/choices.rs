use sealane_net::{AntiSpoofing, Attachment, IpNet, Ranges, names};
use sealane_route::Routing;

use super::CloudNet;

/// What the operator has chosen, the same on every node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    /// The ranges of all pods where they are known; else the pod subnets of all nodes stand for them.
    pub cluster_cidr: Option<Ranges>,
    pub routing: Routing,
    /// How new pods are attached to the node.
    pub attachment: Attachment,
    /// The UDP port of the overlay.
    pub vxlan_port: u16,
    /// The network identifier of the overlay.
    pub vxlan_vni: u32,
    pub anti_spoofing: AntiSpoofing,
    /// Where pods' packets go with the pods' own addresses, besides pods and nodes.
    pub non_masquerade: Vec<IpNet>,
    /// What EC2 has given, where addresses come from it: then it is no choice, but as fixed for one run.
    pub cloud: Option<CloudNet>,
    /// Whether the bandwidth that pods ask for is seen to here, not by a plugin behind ours.
    pub limit_bandwidth: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            cluster_cidr: None,
            routing: Routing::default(),
            attachment: Attachment::default(),
            vxlan_port: names::VXLAN_PORT,
            vxlan_vni: names::VXLAN_VNI,
            anti_spoofing: AntiSpoofing::default(),
            non_masquerade: Vec::new(),
            cloud: None,
            limit_bandwidth: true,
        }
    }
}
