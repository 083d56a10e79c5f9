use std::net::IpAddr;
use std::sync::Arc;

use sealane_net::{Family, IpNet};
use serde::Serialize;

/// What the decisions depend on besides the API's Services and slices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// `.metadata.name` of this node: endpoints with this `nodeName` are local.
    pub name: Arc<str>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// The addresses at which this node serves node ports.
    pub node_port_addresses: Vec<IpAddr>,
    /// The pod subnets of this node: who sends from there is a pod.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNet>,
    /// Whether `.spec.externalIPs` are served. Off unless asked for: whoever may write a Service could take
    /// any address for himself (CVE-2020-8554).
    #[serde(rename = "externalIPs")]
    pub external_ips: bool,
}

impl NodeFacts {
    pub(crate) fn addresses(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        let addresses = self.node_port_addresses.iter().copied();
        addresses.filter(move |address| Family::from(*address) == family)
    }
}
