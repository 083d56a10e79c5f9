//! What Services need to know of their node.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sealane_netlink::Netlink;
use sealane_service::NodeFacts;
use tokio::{sync::watch, time};

use super::{Input, Sender};
use crate::core::View;

/// How often the node's addresses are looked at although nothing has happened.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Tells the thread of the node whenever it has changed.
pub async fn follow_node(
    kernel: Netlink,
    mut view: watch::Receiver<Arc<View>>,
    external_ips: bool,
    inputs: Sender,
) {
    let mut told = None;
    loop {
        let seen = Arc::clone(&view.borrow_and_update());
        if let Some(facts) = facts(&kernel, &seen, external_ips).await
            && told.as_ref() != Some(&facts)
        {
            told = Some(facts.clone());
            if inputs.send(Input::Node(facts)).is_err() {
                return;
            }
        }
        if let Ok(Err(_)) = time::timeout(LOOK_AGAIN, view.changed()).await {
            return;
        }
    }
}

/// `None` until the node's network is there.
async fn facts(kernel: &Netlink, view: &View, external_ips: bool) -> Option<NodeFacts> {
    let node = view.node.as_ref()?;
    view.network.uplink.as_ref()?;
    let addresses = match kernel.addresses().await {
        Ok(addresses) => addresses,
        Err(error) => {
            tracing::warn!("{error}");
            return None;
        }
    };
    let addresses = addresses.iter().map(|address| address.address.addr());
    let mut serving: Vec<IpAddr> = addresses.filter(is_reachable).collect();
    serving.sort_unstable();
    serving.dedup();
    Some(NodeFacts {
        name: node.name.as_str().into(),
        zone: node.zone.as_deref().map(Arc::from),
        node_port_addresses: serving,
        pod_cidrs: node.pod_networks().collect(),
        external_ips,
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
