//! Host ports: ports of the node that lead to a pod of it.
//!
//! They are served as a node port with policy `Local` and one endpoint would be:
//! who calls from elsewhere is seen by the pod, and a pod that calls itself sees
//! its node. A Service that wants the same port has it, as with kube-proxy and
//! the stock plugin `portmap`; of two pods the one that came first.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sealane_net::{Family, Protocol};
use sealane_objects::{ObjectName, PortMapping, TrafficPolicy};
use serde::Serialize;

use crate::choose::share;
use crate::claims::Claimant;
use crate::{Endpoint, Frontend, NodeFacts, PortKey, ServicePort};

/// A pod of this node that has host ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodPorts {
    /// The pod.
    pub pod: ObjectName,
    /// Its sandbox: a pod that is made again may come before the old one has gone.
    pub container: String,
    /// At most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Those of all its containers.
    pub ports: Vec<PortMapping>,
}

/// What stands before a pod's name where others have a Service's: no name of an object has a slash.
const SIGN: &str = "pod/";

impl PodPorts {
    /// Under which name it stands among Services.
    pub(crate) fn name(&self) -> ObjectName {
        let ObjectName { namespace, name } = &self.pod;
        let short = self.container.get(..12).unwrap_or(&self.container);
        ObjectName::new(namespace.clone(), format!("{SIGN}{name}/{short}"))
    }

    /// All frontends that it asks for, as the `order`-th pod to do so.
    pub(crate) fn claim(
        &self,
        name: &Arc<ObjectName>,
        order: u32,
        node: &NodeFacts,
    ) -> (Claimant, Vec<Frontend>) {
        let claimant = Claimant {
            created: i64::MAX - i64::from(u32::MAX - order),
            service: Arc::clone(name),
        };
        let mut wanted = Vec::new();
        for address in &self.addresses {
            let family = Family::from(*address);
            for port in &self.ports {
                wanted.extend(at(port, family, node));
                wanted.extend(everywhere(port, family));
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        (claimant, wanted)
    }

    /// Its ports as they are served; `has` says which frontends are its own.
    pub(crate) fn serve(
        &self,
        name: &Arc<ObjectName>,
        node: &NodeFacts,
        has: impl Fn(&Frontend) -> bool,
    ) -> Vec<Arc<ServicePort>> {
        let mut served = Vec::new();
        for address in &self.addresses {
            let family = Family::from(*address);
            for port in &self.ports {
                let own = at(port, family, node).into_iter().filter(&has);
                let own: Vec<IpAddr> = own.map(|frontend| frontend.address).collect();
                let all = everywhere(port, family);
                if !own.is_empty() && all.is_none_or(|all| has(&all)) {
                    served.push(Arc::new(serve(name, port, *address, own)));
                }
            }
        }
        served.sort_by(|a, b| a.key.cmp(&b.key));
        served.dedup_by(|a, b| a.key == b.key);
        served
    }
}

/// The pod whose host ports stand under this name where others have a Service's.
pub fn pod_with_ports(owner: &ObjectName) -> Option<ObjectName> {
    let pod = owner.name.strip_prefix(SIGN)?;
    let name = pod.split('/').next().unwrap_or_default();
    Some(ObjectName::new(owner.namespace.clone(), name))
}

/// How people call whoever has a frontend.
pub(crate) fn title(owner: &ObjectName) -> String {
    match pod_with_ports(owner) {
        Some(pod) => format!("pod {pod}"),
        None => format!("the older Service {owner}"),
    }
}

/// Where a port is asked for, of the addresses that the node has.
fn at(port: &PortMapping, family: Family, node: &NodeFacts) -> Vec<Frontend> {
    let at = |address| Frontend {
        address,
        protocol: port.protocol,
        port: port.host_port,
    };
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let here = node.node_port_addresses.contains(&loopback);
    let all = node.host_addresses.iter().copied();
    let all = all.chain(here.then_some(loopback));
    let asked = |address: &IpAddr| {
        Family::from(*address) == family && port.host_ip.is_none_or(|ip| ip == *address)
    };
    all.filter(asked).map(at).collect()
}

/// A port at all addresses keeps others from it at addresses that the node will have, too.
fn everywhere(port: &PortMapping, family: Family) -> Option<Frontend> {
    port.host_ip.is_none().then(|| Frontend {
        address: crate::table::unspecified(family),
        protocol: port.protocol,
        port: port.host_port,
    })
}

fn serve(
    name: &Arc<ObjectName>,
    port: &PortMapping,
    address: IpAddr,
    node_port_addresses: Vec<IpAddr>,
) -> ServicePort {
    let endpoint = share(vec![Endpoint {
        address,
        port: port.container_port,
        local: true,
    }]);
    ServicePort {
        key: Arc::new(key(name, port, Family::from(address))),
        port: port.host_port,
        cluster_ip: None,
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: None,
        node_port: Some(port.host_port),
        node_port_addresses,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Local,
        affinity_seconds: None,
        health_check_node_port: None,
        local_ready: 0,
        cluster: Arc::clone(&endpoint),
        local: endpoint,
        has_endpoints: true,
    }
}

fn key(name: &Arc<ObjectName>, port: &PortMapping, family: Family) -> PortKey {
    let protocol: Protocol = port.protocol;
    PortKey {
        service: Arc::clone(name),
        name: port.to_string().into(),
        protocol,
        family,
    }
}
