//! The node's end of a pod's link: as it is found, what is wrong with it, and repaired.

use std::{collections::BTreeMap, net::IpAddr};

use sealane_net::{Attachment, IpNet, Mac, Route, names};
use sealane_netlink::{Link, LinkChange, Neighbour, Netlink};

use super::{Ground, WireError, attachment, grouped, pod_mac};
use crate::leases::Lease;

/// The near ends of pods' links, by name.
pub type NearEnds = BTreeMap<String, NearEnd>;

/// A pod's near end, and what leads through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearEnd {
    pub link: Link,
    /// The addresses that our routes lead to through it.
    pub routes: Vec<IpAddr>,
    /// Permanent entries.
    pub neighbours: Vec<(IpAddr, Mac)>,
}

impl NearEnd {
    /// How it was attached when it was made.
    pub fn attachment(&self) -> Attachment {
        attachment(self.link.alias.as_deref())
    }

    /// What is wrong, in one phrase each.
    pub fn faults(&self, bridge_index: Option<u32>, lease: &Lease) -> Vec<String> {
        let name = &self.link.name;
        let mut faults = Vec::new();
        if !self.link.up {
            faults.push(format!("link {name} is down on the node"));
        }
        match self.attachment() {
            Attachment::Bridge if bridge_index.is_none() || self.link.master != bridge_index => {
                faults.push(format!("link {name} is no port of {}", names::POD_BRIDGE));
            }
            Attachment::Bridge => {}
            Attachment::Routed => faults.extend(self.way_faults(lease)),
        }
        faults
    }

    fn way_faults(&self, lease: &Lease) -> Vec<String> {
        let name = &self.link.name;
        let mut faults = Vec::new();
        if self.link.master.is_some() {
            faults.push(format!(
                "link {name} is a port, expected one that stands alone"
            ));
        }
        let mac = pod_mac(lease);
        for address in lease.addresses.iter().map(IpNet::addr) {
            if !self.routes.contains(&address) {
                faults.push(format!("route {address} dev {name} is missing on the node"));
            }
            if !self.neighbours.contains(&(address, mac)) {
                faults.push(format!(
                    "neighbour {address} lladdr {mac} of {name} is missing on the node"
                ));
            }
        }
        faults
    }
}

/// All near ends of the node.
///
/// # Errors
/// When the kernel does not answer.
pub async fn near_ends(kernel: &Netlink) -> Result<NearEnds, WireError> {
    let links = kernel.links().await?;
    let of_pods = |link: &Link| names::is_pod_link(&link.name);
    complete(kernel, links.into_iter().filter(of_pods)).await
}

/// One of them; `None` when it is absent.
///
/// # Errors
/// When the kernel does not answer.
pub async fn near_end(kernel: &Netlink, name: &str) -> Result<Option<NearEnd>, WireError> {
    let link = kernel.link(name).await?;
    Ok(complete(kernel, link).await?.remove(name))
}

/// With routes and neighbours, where some of the links need them.
async fn complete(
    kernel: &Netlink,
    links: impl IntoIterator<Item = Link>,
) -> Result<NearEnds, WireError> {
    let alone = |link: Link| NearEnd {
        link,
        routes: Vec::new(),
        neighbours: Vec::new(),
    };
    let mut ends: NearEnds = links
        .into_iter()
        .map(|link| (link.name.clone(), alone(link)))
        .collect();
    if !ends
        .values()
        .any(|end| end.attachment() == Attachment::Routed)
    {
        return Ok(ends);
    }
    for route in kernel.routes_of(names::ROUTE_PROTOCOL).await? {
        if let Some(end) = route.device.as_ref().and_then(|name| ends.get_mut(name))
            && route.table == Route::MAIN
        {
            end.routes.push(route.destination.addr());
        }
    }
    let mut by_index: BTreeMap<u32, &mut NearEnd> =
        ends.values_mut().map(|end| (end.link.index, end)).collect();
    let permanent = |neighbour: &Neighbour| neighbour.permanent;
    for neighbour in kernel.neighbours().await?.into_iter().filter(permanent) {
        if let (Some(end), Some(mac)) = (by_index.get_mut(&neighbour.link), neighbour.mac) {
            end.neighbours.push((neighbour.address, mac));
        }
    }
    Ok(ends)
}

/// Makes a near end as it was when it was new.
///
/// # Errors
/// When the kernel refuses.
pub async fn repair(
    kernel: &Netlink,
    ground: &Ground,
    lease: &Lease,
    near: &NearEnd,
) -> Result<(), WireError> {
    const NONE: u32 = 0;
    let routed = near.attachment() == Attachment::Routed;
    let change = LinkChange {
        up: Some(true),
        master: if routed {
            Some(NONE)
        } else {
            ground.bridge_index
        },
        ..grouped()
    };
    let link = &near.link;
    kernel.set_link(link.index, change).await?;
    if routed {
        for way in ground.ways_to(lease, &link.name) {
            kernel.set_route(&way).await?;
        }
        for address in &lease.addresses {
            let mac = pod_mac(lease);
            kernel
                .set_neighbour(link.index, address.addr(), mac)
                .await?;
        }
    }
    Ok(())
}
