//! The cluster at one moment, cut down to what a packet's walk depends on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sealane_net::{Attachment, IpNet, Protocol, ProxyMode};
use sealane_objects::{NodeNet, ObjectName, PodDns, PodNet, PortMapping, ServiceNet, SliceNet};
use sealane_route::Routing;
use sealane_service::NodePortAddresses;

/// All objects that a walk can meet.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Ascending by name.
    pub nodes: Vec<NodeView>,
    /// All of them.
    pub pods: Vec<PodView>,
    /// All of them.
    pub services: Vec<ServiceView>,
    /// All of them.
    pub slices: Vec<SliceView>,
    /// The ranges of the ServiceCIDRs; empty where there are no such objects.
    pub service_ranges: Vec<IpNet>,
    /// Names of the NetworkPolicies, which nothing enforces yet.
    pub policies: usize,
    /// What objects do not tell.
    pub settings: Settings,
}

/// With what the agents run, which no object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `--routing` of the agents.
    pub routing: Routing,
    /// `--attachment` of the agents.
    pub attachment: Attachment,
    /// `--proxy-mode` of the agents.
    pub proxy_mode: ProxyMode,
    /// `--nodeport-addresses` of the agents.
    pub node_port_addresses: NodePortAddresses,
    /// Whether pods may reach what is beyond this machine; none where nobody knows.
    pub internet: Option<bool>,
    /// The networks between nodes; nodes in the same one share a link. Empty: all nodes do.
    pub node_ranges: Vec<IpNet>,
    /// The domain of the cluster's names.
    pub domain: String,
    /// The addresses at which each node answers names itself (`sealane dns --cluster-dns`); none: Services lead there.
    pub dns: Vec<IpAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            routing: Routing::Auto,
            attachment: Attachment::default(),
            proxy_mode: ProxyMode::default(),
            node_port_addresses: NodePortAddresses::default(),
            internet: None,
            node_ranges: Vec::new(),
            domain: "cluster.local".to_owned(),
            dns: Vec::new(),
        }
    }
}

/// A Node.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Its addresses.
    pub net: NodeNet,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Why it is not ready; none if it is.
    pub not_ready: Option<String>,
}

/// A Pod.
#[derive(Clone, Debug)]
pub struct PodView {
    /// Its addresses and its node.
    pub net: PodNet,
    /// What Services select by.
    pub labels: BTreeMap<String, String>,
    /// Why it is not ready; none if it is.
    pub not_ready: Option<String>,
    /// `.metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The ports that its containers name: name, protocol, number.
    pub ports: Vec<(String, Protocol, u16)>,
    /// How it looks for names.
    pub dns: PodDns,
    /// Those of them that are ports of its node, too.
    pub host_ports: Vec<PortMapping>,
}

/// A Service.
#[derive(Clone, Debug, Default)]
pub struct ServiceView {
    /// Its name.
    pub name: ObjectName,
    /// What serving it needs.
    pub net: ServiceNet,
    /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`.
    pub kind: String,
    /// `None` stands for its address.
    pub headless: bool,
    /// Empty: somebody else writes its endpoints.
    pub selector: BTreeMap<String, String>,
    /// What a name stands for that is somewhere else.
    pub external_name: String,
    /// `.targetPort` of each port, where it is a name, in the order of `net.ports`.
    pub target_names: Vec<Option<String>>,
}

/// An EndpointSlice.
#[derive(Clone, Debug)]
pub struct SliceView {
    /// Its name.
    pub name: ObjectName,
    /// Its endpoints.
    pub net: SliceNet,
    /// The hostnames of those that have one.
    pub hostnames: Vec<(IpAddr, Arc<str>)>,
}

impl Snapshot {
    pub(crate) fn node(&self, name: &str) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.net.name == name)
    }

    pub(crate) fn pod(&self, name: &ObjectName) -> Option<&PodView> {
        self.pods.iter().find(|pod| pod.net.name == *name)
    }

    /// The pods of a node that have ports of it.
    pub(crate) fn pods_with_host_ports<'a>(
        &'a self,
        node: &'a NodeView,
    ) -> impl Iterator<Item = &'a PodView> {
        let here = |pod: &&PodView| pod.net.node_name == node.net.name && pod.net.needs_address();
        self.pods
            .iter()
            .filter(here)
            .filter(|pod| !pod.host_ports.is_empty())
    }

    /// The pod that has an address of its own.
    pub(crate) fn pod_at(&self, address: IpAddr) -> Option<&PodView> {
        self.pods
            .iter()
            .filter(|pod| pod.net.needs_address())
            .find(|pod| pod.net.pod_ips.contains(&address))
    }

    pub(crate) fn node_at(&self, address: IpAddr) -> Option<&NodeView> {
        self.nodes
            .iter()
            .find(|node| node.net.internal_ips.contains(&address))
    }

    /// The node whose pods have addresses like this one. Pools may give pods addresses beside the
    /// subnet of their node.
    pub(crate) fn node_behind(&self, address: IpAddr) -> Option<&NodeView> {
        let by_range = self.nodes.iter().find(|node| node.has_pods_at(address));
        by_range.or_else(|| self.node(&self.pod_at(address)?.net.node_name))
    }

    pub(crate) fn service(&self, name: &ObjectName) -> Option<&ServiceView> {
        self.services.iter().find(|service| service.name == *name)
    }

    pub(crate) fn service_at(&self, address: IpAddr) -> Option<&ServiceView> {
        let has = |service: &&ServiceView| {
            let net = &service.net;
            net.cluster_ips.contains(&address)
                || net.load_balancer_ips.contains(&address)
                || net.external_ips.contains(&address)
        };
        self.services.iter().find(has)
    }

    pub(crate) fn slices_of<'a>(
        &'a self,
        service: &'a ObjectName,
    ) -> impl Iterator<Item = &'a SliceView> {
        let of = |slice: &&SliceView| {
            slice.name.namespace == service.namespace && *slice.net.service == *service.name
        };
        self.slices.iter().filter(of)
    }
}

impl NodeView {
    pub(crate) fn pod_networks(&self) -> impl Iterator<Item = IpNet> {
        self.net.pod_networks()
    }

    pub(crate) fn has_pods_at(&self, address: IpAddr) -> bool {
        self.pod_networks().any(|range| range.contains(&address))
    }

    /// Its end of the bridge that its pods are on: the first address of its subnet.
    pub(crate) fn gateway(&self, like: IpAddr) -> Option<IpAddr> {
        let range = self
            .pod_networks()
            .find(|range| range.addr().is_ipv4() == like.is_ipv4())?;
        range.hosts().next()
    }

    pub(crate) fn address(&self, like: IpAddr) -> Option<IpAddr> {
        self.net.internal_ip_like(like)
    }
}
