//! The system calls that make one pod's link.

use std::os::fd::{AsFd, BorrowedFd};

use sealane_net::Attachment;
use sealane_netlink::{Batch, Direct, LinkChange, Veth, VethPeer};

use super::{Ground, WireError, Wired, grouped, label, link_name, near_mac, pod_mac};
use crate::leases::Lease;

/// Makes the link of a lease and configures the pod's end.
///
/// # Errors
/// [`WireError::Attached`] changes nothing; after another error nothing of the link is left.
pub fn wire(
    node: &mut Direct,
    home: BorrowedFd<'_>,
    ground: &Ground,
    lease: &Lease,
    netns: BorrowedFd<'_>,
) -> Result<Wired, WireError> {
    let wired = Wired {
        link: link_name(&lease.key()),
        link_mac: near_mac(lease),
        pod_mac: pod_mac(lease),
        mtu: ground.mtu,
    };
    let index = pair(node, ground, lease, &wired, netns)?;
    let made = Direct::open_in(netns, home)
        .map_err(WireError::from)
        .and_then(|mut pod| configure(&mut pod, ground, lease))
        .and_then(|()| settle(node, ground, lease, &wired, index));
    match made {
        Ok(()) => Ok(wired),
        Err(error) => {
            let mut undo = Batch::new();
            undo.delete_link(index);
            if let Err(left) = node.run_all(undo)
                && !left.is_absent()
            {
                tracing::warn!("{left}");
            }
            Err(error)
        }
    }
}

/// Makes the pair, its near end with its label up, and a port of the bridge
/// where pods are; that end's index.
///
/// A near end that is there already is never replaced: if it is not a second
/// ADD that asks, somebody may be talking through it.
fn pair(
    node: &mut Direct,
    ground: &Ground,
    lease: &Lease,
    wired: &Wired,
    netns: BorrowedFd<'_>,
) -> Result<u32, WireError> {
    if node.has_link(&wired.link)? {
        return Err(WireError::Attached);
    }
    let veth = Veth {
        name: &wired.link,
        master: ground.master(),
        mtu: Some(wired.mtu),
        mac: Some(wired.link_mac),
        up: true,
        peer: VethPeer {
            name: &lease.ifname,
            netns: Some(netns.as_fd()),
            mac: Some(wired.pod_mac),
        },
    };
    // One system call for pair and label: no kill leaves a link that nobody can tell whose it is.
    let label = label(lease, ground.attachment);
    let mut batch = Batch::new();
    batch.add_veth(&veth);
    if veth.master.is_some() {
        // A port has no use for an address of its own, which costs the kernel a fifth of all this.
        batch.try_no_own_ipv6(&wired.link);
    }
    let change = LinkChange {
        alias: label.as_deref(),
        ..grouped()
    };
    batch.set_link(&wired.link, change);
    if ground.master().is_some() {
        batch.reflect(&wired.link);
    }
    match node.run_all(batch) {
        Ok(_) => Ok(node.index_of(&wired.link)?),
        Err(error) if error.is_present() => {
            tracing::debug!("{error}");
            Err(WireError::NameTaken {
                ifname: lease.ifname.clone(),
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Configures the pod's end.
fn configure(pod: &mut Direct, ground: &Ground, lease: &Lease) -> Result<(), WireError> {
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    let index = pod.index_of(&lease.ifname)?;
    let mut batch = Batch::new();
    // Whether or not the runtime did: a pod's containers talk on 127.0.0.1.
    batch.set_link("lo", up);
    for address in &lease.addresses {
        batch.add_address(index, ground.in_pod(*address));
    }
    batch.set_link(index, up);
    for route in ground.routes(lease) {
        if let (Attachment::Routed, Some(next_hop)) = (ground.attachment, route.gateway) {
            batch.set_neighbour(index, next_hop, near_mac(lease));
        }
        batch.set_route(&route, Some(index));
    }
    batch.link(index);
    pod.run_all(batch)?;
    Ok(())
}

/// Leads the node to a pod that is routed, and lets the first packet through.
///
/// Carrier goes up with the far end, but a port forwards and a link sends only
/// when the kernel's link watch has seen it, which a busy machine puts off; a
/// SYN lost meanwhile comes again after a second. Since Linux 6.8 a question
/// about one link makes the watch look at it first (`linkwatch_sync_dev` in
/// net/core/rtnetlink.c); older kernels just answer. The pod's end was asked
/// for when it was configured.
fn settle(
    node: &mut Direct,
    ground: &Ground,
    lease: &Lease,
    wired: &Wired,
    index: u32,
) -> Result<(), WireError> {
    let mut batch = Batch::new();
    if ground.attachment == Attachment::Routed {
        for way in ground.ways_to(lease, &wired.link) {
            batch
                .set_neighbour(index, way.destination.addr(), wired.pod_mac)
                .set_route(&way, Some(index));
        }
    }
    batch.link(index);
    if let Some(bridge) = ground.master() {
        batch.link(bridge);
    }
    node.run_all(batch)?;
    Ok(())
}
