use sealane_net::{Attachment, Ranges, names};
use sealane_route::Routing;
use serde::{Deserialize, Serialize};

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
}

/// What pods may send with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AntiSpoofing {
    /// Each with its own addresses, and nothing that routers and DHCP servers send.
    #[default]
    Pod,
    /// With the IP addresses of any pod of its node.
    Node,
    /// With anything.
    Off,
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
        }
    }
}
