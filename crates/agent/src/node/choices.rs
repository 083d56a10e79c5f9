use sealane_net::{Attachment, Ranges, names};
use sealane_route::Routing;

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
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            cluster_cidr: None,
            routing: Routing::default(),
            attachment: Attachment::default(),
            vxlan_port: names::VXLAN_PORT,
            vxlan_vni: names::VXLAN_VNI,
        }
    }
}
