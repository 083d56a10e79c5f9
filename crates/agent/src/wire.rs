//! One pod's link to the node: made, checked and taken away.
//!
//! ```text
//! node's namespace                     pod's namespace
//! cbr0 ◄── port ── sl0123456789ab ════ eth0  10.244.1.5/24
//! 10.244.1.1                                 default via 10.244.1.1
//! ```
//!
//! A pod is wired by three system calls of netlink, on a thread that may wait
//! for them ([`Wirer`]): the pair, the pod's end, and a last look that lets the
//! first packet through.
//!
//! The near end's name follows from container and interface, so taking away
//! needs no record and no access to the pod's namespace: the kernel removes
//! the far end with the near one. It also carries a label that says whose it
//! is, so that an agent whose file of leases is lost learns them from the kernel.

mod label;
mod make;
mod worker;

use std::os::fd::OwnedFd;

use sealane_net::{IpNet, Mac, Mtu, Route, names};
use sealane_netlink::{Error as KernelError, Link, LinkChange, Netlink};

pub use label::{label, labelled};
pub use worker::{Job, Wirer};

use crate::{
    leases::{Key, Lease},
    node::{Programmed, mac_of},
};

/// The protocol number of what an administrator sets (`proto static`): routes in a pod are the pod's.
const PROTO_STATIC: u8 = 4;

/// What a pod's link needs to know of the node.
#[derive(Clone, Debug)]
pub struct Ground {
    pub bridge_index: u32,
    pub mtu: Mtu,
    pub gateways: Vec<IpNet>,
}

/// A link that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wired {
    pub link: String,
    pub link_mac: Mac,
    pub pod_mac: Mac,
    pub mtu: Mtu,
}

/// Why a pod has no link.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The pod has an interface of that name already.
    #[error("add {ifname} to the pod: its network namespace has an interface of that name")]
    NameTaken { ifname: String },
    /// The near end is there already: this is a second ADD.
    #[error("it has a network already")]
    Attached,
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl From<&Programmed> for Ground {
    fn from(node: &Programmed) -> Self {
        Self {
            bridge_index: node.bridge_index,
            mtu: node.mtu,
            gateways: node.program.bridge.gateways.clone(),
        }
    }
}

/// One default route for each family that the pod has an address of.
pub fn routes(ground: &Ground, lease: &Lease) -> Vec<Route> {
    let in_family = |gateway: &&IpNet| {
        lease
            .addresses
            .iter()
            .any(|address| address.addr().is_ipv4() == gateway.addr().is_ipv4())
    };
    ground
        .gateways
        .iter()
        .filter(in_family)
        .map(|gateway| {
            let everything = sealane_net::Family::from(gateway.addr()).everything();
            // The kernel finds the interface from the gateway.
            Route {
                protocol: PROTO_STATIC,
                ..Route::via(everything, gateway.addr())
            }
        })
        .collect()
}

/// The Ethernet address of the pod's end: as asked for, else the one that goes with its IP address.
pub fn pod_mac(lease: &Lease) -> Mac {
    let derived = || mac_of(lease.addresses.iter().map(IpNet::addr));
    lease.mac.unwrap_or_else(derived)
}

/// Takes a pod's link away; an absent one is success.
///
/// # Errors
/// When the kernel refuses.
pub async fn unwire(kernel: &Netlink, key: &Key) -> Result<(), WireError> {
    kernel.delete_link(&link_name(key)).await?;
    Ok(())
}

/// Makes a link a port of the bridge again, and sets it up.
///
/// # Errors
/// When the kernel refuses.
pub async fn repair(kernel: &Netlink, ground: &Ground, link: &str) -> Result<(), WireError> {
    let change = LinkChange {
        up: Some(true),
        master: Some(ground.bridge_index),
        ..LinkChange::default()
    };
    Ok(kernel.set_link(link, change).await?)
}

/// What is wrong with a pod's network, in one phrase each; nothing when it is as ADD has made it.
///
/// # Errors
/// When the kernel does not answer.
pub async fn faults(
    kernel: &Netlink,
    ground: &Ground,
    lease: &Lease,
    netns: &OwnedFd,
) -> Result<Vec<String>, WireError> {
    let near = link_name(&lease.key());
    let mut faults = match kernel.link(&near).await? {
        Some(link) => port_faults(ground, &link),
        None => vec![format!("link {near} is missing on the node")],
    };
    let pod = Netlink::in_netns(netns)?;
    let Some(far) = pod.link(&lease.ifname).await? else {
        faults.push(format!("interface {} is missing in the pod", lease.ifname));
        return Ok(faults);
    };
    if lease.mac.is_some() && far.mac != lease.mac {
        let found = far
            .mac
            .map_or_else(|| "none".to_owned(), |mac| mac.to_string());
        faults.push(format!(
            "interface {} has Ethernet address {found}, expected {}",
            lease.ifname,
            pod_mac(lease)
        ));
    }
    if !far.up {
        faults.push(format!("interface {} is down in the pod", lease.ifname));
    }
    let addresses = pod.addresses_of(far.index).await?;
    let missing = lease.addresses.iter().filter(|a| !addresses.contains(a));
    faults.extend(missing.map(|a| format!("address {a} is missing on {}", lease.ifname)));
    let present = pod.routes().await?;
    // A later plugin of the chain may have changed how a route looks, not where it leads.
    let missing = routes(ground, lease).into_iter().filter(|wanted| {
        !present
            .iter()
            .any(|found| found.destination == wanted.destination)
    });
    faults.extend(missing.map(|route| format!("route {route} is missing in the pod")));
    Ok(faults)
}

fn port_faults(ground: &Ground, link: &Link) -> Vec<String> {
    let mut faults = Vec::new();
    if !link.up {
        faults.push(format!("link {} is down on the node", link.name));
    }
    if link.master != Some(ground.bridge_index) {
        faults.push(format!(
            "link {} is no port of {}",
            link.name,
            names::POD_BRIDGE
        ));
    }
    faults
}

/// The near end's name.
pub fn link_name(key: &Key) -> String {
    names::pod_link(&key.container_id, &key.ifname)
}
