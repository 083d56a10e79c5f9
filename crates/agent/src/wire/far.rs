//! A pod's end of its link, looked at.

use std::os::fd::OwnedFd;

use sealane_net::{Attachment, Mac};
use sealane_netlink::{Link, Netlink};

use super::{Ground, WireError, near_mac, pod_mac};
use crate::leases::Lease;

/// What is wrong with it, in one phrase each.
///
/// # Errors
/// When the kernel does not answer.
pub async fn faults(
    ground: &Ground,
    lease: &Lease,
    netns: &OwnedFd,
) -> Result<Vec<String>, WireError> {
    let pod = Netlink::in_netns(netns)?;
    let Some(far) = pod.link(&lease.ifname).await? else {
        return Ok(vec![format!(
            "interface {} is missing in the pod",
            lease.ifname
        )]);
    };
    let mut faults = link_faults(lease, &far);
    let addresses = pod.addresses_of(far.index).await?;
    let wanted = lease.addresses.iter().map(|a| ground.in_pod(*a));
    let missing = wanted.filter(|a| !addresses.contains(a));
    faults.extend(missing.map(|a| format!("address {a} is missing on {}", lease.ifname)));
    let routes = ground.routes(lease);
    let present = pod.routes().await?;
    // A later plugin of the chain may have changed how a route looks, not where it leads.
    let missing = routes.iter().filter(|wanted| {
        !present
            .iter()
            .any(|found| found.destination == wanted.destination)
    });
    faults.extend(missing.map(|route| format!("route {route} is missing in the pod")));
    if ground.attachment == Attachment::Routed {
        let mac = near_mac(lease);
        let known = pod.neighbours().await?;
        let next_hops = routes.iter().filter_map(|route| route.gateway);
        let unknown = next_hops.filter(|next_hop| {
            let knows = known
                .iter()
                .find(|n| n.link == far.index && n.address == *next_hop);
            knows.and_then(|n| n.mac) != Some(mac)
        });
        faults.extend(
            unknown.map(|next_hop| {
                format!("{next_hop} does not have Ethernet address {mac} in the pod")
            }),
        );
    }
    Ok(faults)
}

fn link_faults(lease: &Lease, far: &Link) -> Vec<String> {
    let mut faults = Vec::new();
    if lease.mac.is_some() && far.mac != lease.mac {
        let found = far.mac.as_ref().map_or("none".into(), Mac::to_string);
        faults.push(format!(
            "interface {} has Ethernet address {found}, expected {}",
            lease.ifname,
            pod_mac(lease)
        ));
    }
    if !far.up {
        faults.push(format!("interface {} is down in the pod", lease.ifname));
    }
    faults
}
