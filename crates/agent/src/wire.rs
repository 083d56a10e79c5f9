//! One pod's link to the node: made, checked and taken away.
//!
//! ```text
//! node's namespace                     pod's namespace
//! cbr0 ◄── port ── sl0123456789ab ════ eth0  10.244.1.5/24
//! 10.244.1.1                                 default via 10.244.1.1
//! ```
//!
//! The near end's name follows from container and interface, so taking away
//! needs no record and no access to the pod's namespace: the kernel removes
//! the far end with the near one.

use std::os::fd::{AsFd, OwnedFd};

use sealane_net::{IpNet, Mac, Mtu, Route, names};
use sealane_netlink::{Error as KernelError, Link, LinkChange, Netlink, Veth, VethPeer};

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

/// Makes the link of a lease and configures the pod's end.
///
/// # Errors
/// [`WireError::Attached`] changes nothing; after another error nothing of the link is left.
pub async fn wire(
    kernel: &Netlink,
    ground: &Ground,
    lease: &Lease,
    netns: &OwnedFd,
) -> Result<Wired, WireError> {
    let link = link_name(&lease.key());
    let wired = Wired {
        link_mac: near_mac(lease),
        pod_mac: mac_of(lease.addresses.iter().map(IpNet::addr)),
        mtu: ground.mtu,
        link,
    };
    let veth = Veth {
        name: &wired.link,
        master: Some(ground.bridge_index),
        mtu: Some(wired.mtu),
        mac: Some(wired.link_mac),
        up: true,
        peer: VethPeer {
            name: &lease.ifname,
            netns: Some(netns.as_fd()),
            mac: Some(wired.pod_mac),
        },
    };
    let index = add(kernel, &veth).await?;
    let made = async {
        let (pod, interface) = configure(ground, lease, netns).await?;
        settle(kernel, &[index, ground.bridge_index]).await?;
        settle(&pod, &[interface]).await
    };
    match made.await {
        Ok(()) => Ok(wired),
        Err(error) => {
            if let Err(left) = kernel.delete_link(index).await {
                tracing::warn!("{left}");
            }
            Err(error)
        }
    }
}

/// The near end's Ethernet address: the pod's with a bit set that no pod's has.
/// Nothing is ever sent to it; a fixed one saves asking the kernel which it chose.
fn near_mac(lease: &Lease) -> Mac {
    const NEAR: u8 = 0x80;
    let mut mac = mac_of(lease.addresses.iter().map(IpNet::addr));
    mac.0[1] |= NEAR;
    mac
}

/// Makes the pair. A near end that is there already is never replaced: if it
/// is not a second ADD that asks, somebody may be talking through it.
async fn add(kernel: &Netlink, veth: &Veth<'_>) -> Result<u32, WireError> {
    let error = match kernel.add_veth(veth).await {
        Err(error) if error.is_present() => error,
        result => return Ok(result?),
    };
    if kernel.link(veth.name).await?.is_some() {
        return Err(WireError::Attached);
    }
    tracing::debug!("{error}");
    Err(WireError::NameTaken {
        ifname: veth.peer.name.to_owned(),
    })
}

/// Lets the first packet through.
///
/// Carrier goes up with the far end, but a port forwards and a link sends only
/// when the kernel's link watch has seen it, which a busy machine puts off; a
/// SYN lost meanwhile comes again after a second. Since Linux 6.8 a question
/// about one link makes the watch look at it first (`linkwatch_sync_dev` in
/// net/core/rtnetlink.c); older kernels just answer.
async fn settle(kernel: &Netlink, links: &[u32]) -> Result<(), WireError> {
    for link in links {
        kernel.link(*link).await?;
    }
    Ok(())
}

/// Configures the pod's end; what it was done with, and the interface's index.
async fn configure(
    ground: &Ground,
    lease: &Lease,
    netns: &OwnedFd,
) -> Result<(Netlink, u32), WireError> {
    let pod = Netlink::in_netns(netns)?;
    // Whether or not the runtime did: a pod's containers talk on 127.0.0.1.
    pod.set_up("lo").await?;
    let index = pod.index_of(&lease.ifname).await?;
    for address in &lease.addresses {
        pod.add_address(index, *address).await?;
    }
    pod.set_up(index).await?;
    for route in routes(ground, lease) {
        pod.set_route(&route).await?;
    }
    Ok((pod, index))
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
