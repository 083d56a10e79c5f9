//! What Services need to know of their node.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sealane_net::names;
use sealane_netlink::Netlink;
use sealane_objects::ObjectName;
use sealane_service::{NodeFacts, NodePortAddresses, PodPorts};
use tokio::{sync::watch, time};

use super::{Input, Sender};
use crate::core::View;

/// How often the node's addresses are looked at although nothing has happened.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What a user has chosen.
pub struct Asked {
    /// Whether `.spec.externalIPs` are served.
    pub external_ips: bool,
    /// Where node ports are served.
    pub node_port_addresses: NodePortAddresses,
    /// Whether pods' host ports are served.
    pub host_ports: bool,
}

/// Tells the thread of the node whenever it has changed.
pub async fn follow_node(
    kernel: Netlink,
    mut view: watch::Receiver<Arc<View>>,
    asked: Asked,
    inputs: Sender,
) {
    let mut told = None;
    let mut looked_at = None;
    let mut ports_told = None;
    loop {
        let seen = Arc::clone(&view.borrow_and_update());
        // Before the node: when that is known, a restart may take away what nobody has told of.
        if asked.host_ports && seen.network.uplink.is_some() {
            let ports = host_ports(&seen);
            if ports_told.as_ref() != Some(&ports) {
                ports_told = Some(ports.clone());
                if inputs.send(Input::HostPorts(ports)).is_err() {
                    return;
                }
            }
        }
        // Pods come and go without a change of what is looked at.
        let concerns = (seen.node.clone(), Arc::clone(&seen.network));
        if looked_at.as_ref() != Some(&concerns) {
            let facts = facts(&kernel, &seen, &asked).await;
            looked_at = facts.is_some().then_some(concerns);
            if let Some(facts) = facts.filter(|facts| told.as_ref() != Some(facts)) {
                told = Some(facts.clone());
                if inputs.send(Input::Node(facts)).is_err() {
                    return;
                }
            }
        }
        match time::timeout(LOOK_AGAIN, view.changed()).await {
            Ok(Err(_)) => return,
            Ok(Ok(())) => {}
            Err(_) => looked_at = None,
        }
    }
}

fn host_ports(view: &View) -> Vec<PodPorts> {
    let with_ports = view.leases.iter().filter(|l| !l.host_ports.is_empty());
    let ports = with_ports.map(|lease| PodPorts {
        pod: match &lease.pod {
            Some(pod) => pod.name.clone(),
            None => ObjectName::new("", lease.ifname.clone()),
        },
        container: lease.container_id.clone(),
        addresses: lease
            .addresses
            .iter()
            .map(|address| address.addr())
            .collect(),
        ports: lease.host_ports.clone(),
    });
    ports.collect()
}

/// `None` until the node's network is there.
async fn facts(kernel: &Netlink, view: &View, asked: &Asked) -> Option<NodeFacts> {
    let node = view.node.as_ref()?;
    view.network.uplink.as_ref()?;
    let addresses = match kernel.addresses().await {
        Ok(addresses) => addresses,
        Err(error) => {
            tracing::warn!("{error}");
            return None;
        }
    };
    // Where the node's DNS server answers is the same on all nodes, and none of theirs.
    let own = addresses
        .iter()
        .filter(|a| a.protocol != names::DNS_PROTOCOL);
    let addresses = own.map(|address| address.address.addr());
    let mut reachable: Vec<IpAddr> = addresses.filter(is_reachable).collect();
    reachable.sort_unstable();
    reachable.dedup();
    let choice = &asked.node_port_addresses;
    let serving = reachable.iter().copied();
    let serving = serving.filter(|address| choice.has(*address, &node.internal_ips));
    Some(NodeFacts {
        name: node.name.as_str().into(),
        zone: node.zone.as_deref().map(Arc::from),
        node_port_addresses: serving.chain(choice.loopback()).collect(),
        host_addresses: reachable,
        pod_cidrs: node.pod_networks().collect(),
        external_ips: asked.external_ips,
    })
}

/// Not by others: what is behind a loopback address has its port for itself.
fn is_reachable(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !address.is_loopback() && !link_local
}
