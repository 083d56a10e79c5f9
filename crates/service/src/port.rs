use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sealane_net::{Family, IpNet, Protocol};
use sealane_objects::{ObjectName, TrafficPolicy};
use serde::Serialize;

/// Which port of which Service, in which family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortKey {
    /// The Service.
    pub service: Arc<ObjectName>,
    /// The name of its port, empty for an only one without.
    pub name: Arc<str>,
    /// One port number may be there for several protocols.
    pub protocol: Protocol,
    /// Of the frontends and of the endpoints.
    pub family: Family,
}

impl fmt::Display for PortKey {
    /// `default/web:http TCP`, as kube-proxy calls it in comments and metrics, and the family if it is not IPv4.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.service)?;
        if !self.name.is_empty() {
            write!(f, ":{}", self.name)?;
        }
        write!(f, " {}", self.protocol)?;
        match self.family {
            Family::V4 => Ok(()),
            Family::V6 => write!(f, " {}", self.family),
        }
    }
}

/// Where connections to a Service go to before their translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Frontend {
    /// The address; of a node port the node's.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = SocketAddr::new(self.address, self.port);
        write!(f, "{at} {}", self.protocol)
    }
}

/// What sort of address a frontend has: it says which policy holds and who is masqueraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// `internalTrafficPolicy` holds; who is no pod is masqueraded.
    ClusterIp,
    /// `externalTrafficPolicy` holds.
    ExternalIp,
    /// As an external address, and source ranges count.
    LoadBalancer,
    /// `externalTrafficPolicy` holds.
    NodePort,
}

/// A port of a Service in one family, as this node serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Whose port it is.
    pub key: Arc<PortKey>,
    /// At cluster, external and load-balancer addresses.
    pub port: u16,
    /// Of the family; none when an older Service has it.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<IpAddr>,
    /// Of the family; none unless this node serves external addresses.
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<IpAddr>,
    /// Of the family.
    #[serde(rename = "loadBalancerIPs")]
    pub load_balancer_ips: Vec<IpAddr>,
    /// From where load-balancer addresses may be reached; none: from everywhere; empty: from nowhere in this family.
    pub source_ranges: Option<Arc<[IpNet]>>,
    /// At this node's addresses.
    pub node_port: Option<u16>,
    /// Which those are: all of the family, but those where another Service has the very port.
    pub node_port_addresses: Vec<IpAddr>,
    /// For connections to the cluster IP.
    pub internal_policy: TrafficPolicy,
    /// For connections from outside to all other frontends.
    pub external_policy: TrafficPolicy,
    /// How long a client stays with its endpoint after its last connection.
    pub affinity_seconds: Option<u32>,
    /// Where load balancers ask whether this node has endpoints.
    pub health_check_node_port: Option<u16>,
    /// What they are told: how many pods on this node are ready to serve any port of the Service, in either family.
    /// 0 when nobody asks.
    pub local_ready: usize,
    /// Those that policy `Cluster` may use, ascending: ready and meant for this node or zone, or, when no endpoint
    /// at all is ready, those that still serve although they terminate.
    pub cluster: Arc<[Endpoint]>,
    /// Those that policy `Local` may use, ascending: on this node and ready, or, when none is, those on this node
    /// that still serve although they terminate. Empty when no policy asks for it.
    pub local: Arc<[Endpoint]>,
    /// Whether any endpoint of the cluster could serve: if not, connections are refused, whatever the policy.
    pub has_endpoints: bool,
}

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Of a pod, usually.
    pub address: IpAddr,
    /// The target port: a number, which may differ from slice to slice.
    pub port: u16,
    /// On this node.
    pub local: bool,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// One of these serves it.
    Endpoints(&'a Arc<[Endpoint]>),
    /// It is dropped: endpoints are there, only not on this node, so it should not have come here.
    Drop,
    /// It is refused: nobody serves it anywhere.
    Refuse,
}

impl ServicePort {
    /// Connections to the cluster IP.
    pub fn internal(&self) -> Way<'_> {
        self.way(self.internal_policy)
    }

    /// Connections from outside to any other frontend. Those from this node and its pods take [`ServicePort::inside`].
    pub fn external(&self) -> Way<'_> {
        self.way(self.external_policy)
    }

    /// Connections from this node and its pods to an external frontend: as if they had gone out to the
    /// load balancer and come back in, where any node could serve them.
    pub fn inside(&self) -> Way<'_> {
        self.way(TrafficPolicy::Cluster)
    }

    /// Where a listener of the node passes on what comes to the node port at `::1`, from where rules lead nowhere: to one
    /// of the node's own addresses, in TCP and UDP.
    pub fn behind_localhost(&self) -> Option<SocketAddr> {
        let port = self
            .node_port
            .filter(|_| self.key.protocol != Protocol::Sctp)?;
        let mut own = self.node_port_addresses.iter();
        let address = own.find(|address| address.is_ipv6() && !address.is_loopback())?;
        Some(SocketAddr::new(*address, port))
    }

    fn way(&self, policy: TrafficPolicy) -> Way<'_> {
        let list = match policy {
            TrafficPolicy::Cluster => &self.cluster,
            TrafficPolicy::Local => &self.local,
        };
        match (list.is_empty(), self.has_endpoints) {
            (false, _) => Way::Endpoints(list),
            (true, true) => Way::Drop,
            (true, false) => Way::Refuse,
        }
    }

    /// All frontends with their sort, each once: of a cluster IP that is a load balancer's too, the first sort counts.
    pub fn frontends(&self) -> Vec<(Frontend, Kind)> {
        let at = |address, port| Frontend {
            address,
            protocol: self.key.protocol,
            port,
        };
        let mut all = Vec::new();
        for (addresses, kind) in [
            (self.cluster_ip.as_slice(), Kind::ClusterIp),
            (&self.load_balancer_ips, Kind::LoadBalancer),
            (&self.external_ips, Kind::ExternalIp),
        ] {
            all.extend(addresses.iter().map(|a| (at(*a, self.port), kind)));
        }
        if let Some(port) = self.node_port {
            let addresses = self.node_port_addresses.iter();
            all.extend(addresses.map(|a| (at(*a, port), Kind::NodePort)));
        }
        all.sort();
        all.dedup_by_key(|(frontend, _)| *frontend);
        all
    }
}
