//! One pod's link to the node: made, checked and taken away.
//!
//! ```text
//! node's namespace                           pod's namespace
//! cbr0 ◄── port ── sl0123456789ab ══════════ eth0  10.244.1.5/24
//! 10.244.1.1                                       default via 10.244.1.1
//!
//! 10.244.1.6 dev sl9c41… ── sl9c41… ════════ eth0  10.244.1.6/32
//! 10.244.1.6 lladdr … PERMANENT                    default via 169.254.1.1
//!                                                  169.254.1.1 lladdr … PERMANENT
//! ```
//!
//! Above a port of the bridge, below a pod that is routed
//! ([`Attachment`]): whatever it sends goes to the node, whose near
//! end answers to a next hop that nobody has; nothing has to be asked for on the
//! link in either direction.
//!
//! A pod is wired by three system calls of netlink, on a thread that may wait
//! for them ([`Wirer`]): the pair, the pod's end, and a last look that lets the
//! first packet through.
//!
//! The near end's name follows from container and interface, so taking away
//! needs no record and no access to the pod's namespace: the kernel removes
//! the far end with the near one. It also carries a label that says whose it
//! is, so that an agent whose file of leases is lost learns them from the kernel.

mod far;
mod label;
mod limit;
mod make;
mod near;
mod worker;

use std::{net::IpAddr, os::fd::OwnedFd};

use sealane_net::{Attachment, Family, IpNet, Mac, Mtu, Route, names};
use sealane_netlink::{Error as KernelError, LinkChange, Netlink};

pub use label::{attachment, label, labelled};
pub use limit::{Limited, keep_limits};
pub use near::{NearEnd, NearEnds, near_end, near_ends, repair};
pub use worker::{Job, Wirer};

use crate::{
    leases::{Key, Lease},
    node::{Programmed, mac_of},
    shape::Shape,
};

/// The protocol number of what an administrator sets (`proto static`): routes in a pod are the pod's.
const PROTO_STATIC: u8 = 4;

/// What a pod's link needs to know of the node.
#[derive(Clone, Debug)]
pub struct Ground {
    /// How new pods are attached.
    pub attachment: Attachment,
    /// There while pods are its ports, or new ones are to be.
    pub bridge_index: Option<u32>,
    /// Of new pods.
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
            attachment: node.program.attachment,
            bridge_index: node.bridge_index,
            mtu: node.program.mtu,
            gateways: node.program.gateways.clone(),
        }
    }
}

impl Ground {
    /// The bridge of which new pods become ports.
    fn master(&self) -> Option<u32> {
        match self.attachment {
            Attachment::Bridge => self.bridge_index,
            Attachment::Routed => None,
        }
    }

    /// The next hop of a pod with this address.
    pub fn next_hop(&self, address: IpAddr) -> Option<IpAddr> {
        match self.attachment {
            Attachment::Bridge => self.gateway_like(address),
            Attachment::Routed => Some(names::routed_gateway(address.into())),
        }
    }

    /// The node's own address among those of the pods.
    fn gateway_like(&self, address: IpAddr) -> Option<IpAddr> {
        let gateways = self.gateways.iter().map(IpNet::addr);
        gateways
            .into_iter()
            .find(|gateway| gateway.is_ipv4() == address.is_ipv4())
    }

    /// An address as the pod has it: beside the others of its subnet, or alone.
    pub fn in_pod(&self, address: IpNet) -> IpNet {
        match self.attachment {
            Attachment::Bridge => address,
            Attachment::Routed => address.addr().into(),
        }
    }

    /// One default route for each family that the pod has an address of.
    fn routes(&self, lease: &Lease) -> Vec<Route> {
        let route = |family: Family| {
            let mut addresses = lease.addresses.iter();
            let address = addresses.find(|address| Family::from(**address) == family)?;
            let next_hop = self.next_hop(address.addr())?;
            let off_link = !self.in_pod(*address).contains(&next_hop);
            Some(Route {
                protocol: PROTO_STATIC,
                // A link-local next hop of IPv6 is on the link in any case.
                onlink: off_link && !is_link_local(next_hop),
                ..Route::via(family.everything(), next_hop)
            })
        };
        Family::ALL.into_iter().filter_map(route).collect()
    }

    /// The routes that lead to a pod that is routed.
    fn ways_to(&self, lease: &Lease, link: &str) -> Vec<Route> {
        let way = |address: IpAddr| Route {
            source: self.gateway_like(address),
            ..Route::on_link(address.into(), link)
        };
        lease.addresses.iter().map(|a| way(a.addr())).collect()
    }
}

/// Of IPv6, which has such a network on every link.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The Ethernet address of the pod's end: as asked for, else the one that goes with its IP address.
pub fn pod_mac(lease: &Lease) -> Mac {
    let derived = || mac_of(lease.addresses.iter().map(IpNet::addr));
    lease.mac.unwrap_or_else(derived)
}

/// The near end's Ethernet address: the one of the pod's IP address with a bit
/// set that no pod's has. A port of the bridge is never sent anything; a fixed
/// address saves asking the kernel which it chose.
pub fn near_mac(lease: &Lease) -> Mac {
    const NEAR: u8 = 0x80;
    let mut mac = mac_of(lease.addresses.iter().map(IpNet::addr));
    mac.0[1] |= NEAR;
    mac
}

/// Takes a pod's link away; an absent one is success.
///
/// # Errors
/// When the kernel refuses.
pub async fn unwire(kernel: &Netlink, key: &Key) -> Result<(), WireError> {
    kernel.delete_link(&link_name(key)).await?;
    Ok(())
}

/// What rules know a pod's link by.
pub fn grouped() -> LinkChange<'static> {
    LinkChange {
        group: Some(names::POD_LINK_GROUP),
        ..LinkChange::default()
    }
}

/// What makes a link one that those rules pass over.
pub fn ungrouped() -> LinkChange<'static> {
    LinkChange {
        group: Some(0),
        ..LinkChange::default()
    }
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
    shape: Shape,
) -> Result<Vec<String>, WireError> {
    let name = link_name(&lease.key());
    let (mut faults, attachment) = match near_end(kernel, &name).await? {
        Some(near) => (
            near.faults(ground.bridge_index, lease),
            Some(near.attachment()),
        ),
        None => (vec![format!("link {name} is missing on the node")], None),
    };
    faults.extend(limit::fault(kernel, &name, shape.ingress, "receives").await?);
    if shape.egress.is_some() {
        let pod = Netlink::in_netns(netns)?;
        faults.extend(limit::fault(&pod, &lease.ifname, shape.egress, "sends").await?);
    }
    let as_found = Ground {
        attachment: attachment.unwrap_or(ground.attachment),
        ..ground.clone()
    };
    faults.extend(far::faults(&as_found, lease, netns).await?);
    Ok(faults)
}

/// The near end's name.
pub fn link_name(key: &Key) -> String {
    names::pod_link(&key.container_id, &key.ifname)
}
