//! This machine's end of the node network.

use sealane_net::names;
use sealane_netlink::{LinkChange, Netlink, Veth, VethPeer, netns};

use super::TopologyError;
use crate::plan::Plan;

/// Makes this machine's link, with its addresses, and plugs it into the bridge.
pub async fn attach(
    plan: &Plan,
    machine: &Netlink,
    network: &Netlink,
    bridge: u32,
) -> Result<(), TopologyError> {
    let name = plan.name.machine_link();
    let link = name.as_str();
    let far_end = network.link(names::MACHINE_PORT).await?;
    if far_end.is_none() || machine.link(link).await?.is_none() {
        // One end alone, or a foreign link of our name: `add_veth` says which.
        if far_end.is_some() {
            network.delete_link(names::MACHINE_PORT).await?;
        }
        let here = netns::open(std::path::Path::new("/proc/thread-self/ns/net"))?;
        let veth = Veth {
            name: names::MACHINE_PORT,
            master: Some(bridge),
            mtu: Some(plan.mtu),
            up: true,
            peer: VethPeer {
                name: link,
                netns: Some(std::os::fd::AsFd::as_fd(&here)),
                ..VethPeer::default()
            },
            ..Veth::default()
        };
        network.add_veth(&veth).await?;
    }
    configure(plan, machine, link)?;
    for address in plan.machine_addresses() {
        machine.add_address(link, address).await?;
    }
    let change = LinkChange {
        up: Some(true),
        mtu: Some(plan.mtu),
        ..LinkChange::default()
    };
    machine.set_link(link, change).await?;
    Ok(())
}

/// Settings of our link alone; the machine's other links keep theirs.
fn configure(plan: &Plan, machine: &Netlink, link: &str) -> Result<(), TopologyError> {
    let of_link = |setting: &str| format!("net/ipv4/conf/{link}/{setting}");
    // Without the internet, what pods send beyond this machine is answered with
    // "unreachable", even where this machine forwards for others.
    let forwarding = if plan.internet { "1" } else { "0" };
    machine.set_sysctls(&[
        (of_link("forwarding").as_str(), forwarding),
        (of_link("send_redirects").as_str(), "0"),
    ])?;
    // A link that forwards would cost this machine the IPv6 default routes that it was told of;
    // a node's advertisements are nothing to it.
    let (setting, value) = match plan.node_cidr.of(sealane_net::Family::V6) {
        None => ("disable_ipv6", "1"),
        Some(_) => ("accept_ra", "0"),
    };
    let key = format!("net/ipv6/conf/{link}/{setting}");
    machine
        .set_sysctls(&[(key.as_str(), value)])
        .or_else(super::unless_absent)
        .map_err(TopologyError::from)
}
