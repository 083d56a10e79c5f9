//! One container's link to the bridge.

use std::{
    fs::File,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use sealane_net::{IpNet, Mac, Route, fingerprint};
use sealane_netlink::{Batch, Direct, LinkChange, Veth, VethPeer};

use super::{host::Host, kernel, leases::Lease, near_end};
use crate::types::{CniError, code};

/// `proto static`: routes in a container are the container's.
const PROTO_STATIC: u8 = 4;

/// A link that was made.
pub struct Made {
    pub near: String,
    pub near_mac: Mac,
    pub far_mac: Mac,
}

/// The Ethernet address that goes with an IP address: `02:42` and the IPv4 address, as Docker's containers have it.
pub fn mac_of(address: IpAddr) -> Mac {
    let [a, b, c, d] = match address {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => (fingerprint(&v6.octets()) as u32).to_be_bytes(),
    };
    Mac([0x02, 0x42, a, b, c, d])
}

/// Makes the pair, configures the container's end, and lets the first packet through.
///
/// # Errors
/// Code 103 when the container has an interface of that name, 100 when the
/// kernel refuses; nothing of the link is left then.
pub fn make(
    node: &mut Direct,
    host: &Host,
    lease: &Lease,
    mac: Option<Mac>,
    netns: BorrowedFd<'_>,
) -> Result<Made, CniError> {
    let first = lease.addresses[0].addr();
    let far_mac = mac.unwrap_or_else(|| mac_of(first));
    let mut near_mac = mac_of(first);
    // A bit that no container's has.
    near_mac.0[1] |= 0x80;
    let made = Made {
        near: near_end(&lease.container_id, &lease.ifname),
        near_mac,
        far_mac,
    };
    let veth = Veth {
        name: &made.near,
        master: Some(host.index),
        mtu: Some(host.mtu),
        mac: Some(near_mac),
        up: true,
        peer: VethPeer {
            name: &lease.ifname,
            netns: Some(netns.as_fd()),
            mac: Some(far_mac),
        },
    };
    let mut batch = Batch::new();
    batch.add_veth(&veth);
    node.run_all(batch).map_err(|error| {
        if error.is_present() {
            let (ifname, id) = (&lease.ifname, &lease.container_id);
            return CniError::new(
                code::ALREADY_ATTACHED,
                format!("wire {ifname} of container {id}: its network namespace has an interface of that name"),
            );
        }
        kernel(error)
    })?;
    let configured = configure(host, lease, netns).and_then(|()| {
        // Asking makes the kernel look at the links' carriers before the first packet does.
        let mut batch = Batch::new();
        batch.link(&made.near).link(host.index);
        node.run_all(batch).map(drop).map_err(kernel)
    });
    match configured {
        Ok(()) => Ok(made),
        Err(error) => {
            let mut undo = Batch::new();
            undo.delete_link(&made.near);
            // What it reports would only hide the cause.
            let _ = node.run_all(undo);
            Err(error)
        }
    }
}

/// A socket in the container's namespace.
fn inside(netns: BorrowedFd<'_>) -> Result<Direct, CniError> {
    let home = File::open("/proc/thread-self/ns/net").map_err(|error| {
        CniError::new(
            code::IO_FAILURE,
            format!("open this process's namespace: {error}"),
        )
    })?;
    Direct::open_in(netns, home).map_err(kernel)
}

fn configure(host: &Host, lease: &Lease, netns: BorrowedFd<'_>) -> Result<(), CniError> {
    let mut pod = inside(netns)?;
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    let mut first = Batch::new();
    first.set_link("lo", up).link(&lease.ifname);
    let links = pod.run_all(first).map_err(kernel)?;
    let index = links.first().map_or(0, |link| link.index);
    let mut batch = Batch::new();
    for address in &lease.addresses {
        batch.add_address(index, *address);
    }
    batch.set_link(index, up);
    for gateway in lease.addresses.iter().filter_map(|a| host.gateway_of(*a)) {
        batch.set_route(&default_by(gateway), None);
    }
    batch.link(index);
    pod.run_all(batch).map(drop).map_err(kernel)
}

fn default_by(gateway: IpNet) -> Route {
    let everything = sealane_net::Family::from(gateway).everything();
    Route {
        protocol: PROTO_STATIC,
        ..Route::via(everything, gateway.addr())
    }
}

/// What is wrong with a container's link, in one phrase each.
///
/// # Errors
/// When the kernel does not answer.
pub fn faults(
    node: &mut Direct,
    bridge: u32,
    lease: &Lease,
    netns: BorrowedFd<'_>,
) -> Result<Vec<String>, CniError> {
    let near = near_end(&lease.container_id, &lease.ifname);
    let mut faults = Vec::new();
    match look(node, &near)? {
        None => faults.push(format!("link {near} is missing on the host")),
        Some(link) if link.master != Some(bridge) => {
            faults.push(format!("link {near} is no port of the bridge"));
        }
        Some(link) if !link.up => faults.push(format!("link {near} is down on the host")),
        Some(_) => {}
    }
    let mut pod = inside(netns)?;
    let ifname = &lease.ifname;
    match look(&mut pod, ifname)? {
        None => faults.push(format!("interface {ifname} is missing in the container")),
        Some(link) if !link.up => {
            faults.push(format!("interface {ifname} is down in the container"))
        }
        Some(_) => {}
    }
    let present = pod.addresses().map_err(kernel)?;
    let missing = |wanted: &&IpNet| !present.iter().any(|found| found.address == **wanted);
    let absent = lease.addresses.iter().filter(missing);
    faults.extend(absent.map(|address| format!("address {address} is missing on {ifname}")));
    let present = pod.routes().map_err(kernel)?;
    for address in &lease.addresses {
        let everything = sealane_net::Family::from(*address).everything();
        if !present.iter().any(|route| route.destination == everything) {
            faults.push(format!(
                "the default route for {address} is missing in the container"
            ));
        }
    }
    Ok(faults)
}

fn look(socket: &mut Direct, name: &str) -> Result<Option<sealane_netlink::Link>, CniError> {
    let mut batch = Batch::new();
    batch.link(name);
    match socket.run_all(batch) {
        Ok(links) => Ok(links.into_iter().next()),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(kernel(error)),
    }
}
