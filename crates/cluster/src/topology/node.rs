//! One node: a namespace with a link onto the bridge.

use std::os::fd::AsFd;

use ipnet::IpNet;
use sealane_net::{Family, Route, names};
use sealane_netlink::{Netlink, Veth, VethPeer};

use super::TopologyError;
use crate::plan::Plan;

/// `proto boot`, as a route that was set up by hand: `ip route` hides it, and
/// the agent, which looks after its own protocol number alone, never touches it.
const BOOT: u8 = 3;

/// Makes node `number`, or what it lacks.
pub async fn build(
    plan: &Plan,
    number: u32,
    network: &Netlink,
    bridge: u32,
) -> Result<(), TopologyError> {
    let node = plan.node(number);
    let netns = super::ensure_netns(&node.netns)?;
    let inside = Netlink::in_netns(&netns)?;
    let port = names::node_port(number);
    let near = network.link(port.as_str()).await?;
    if near.is_none() || inside.link(names::UPLINK).await?.is_none() {
        network.delete_link(port.as_str()).await?;
        inside.delete_link(names::UPLINK).await?;
        let veth = Veth {
            name: &port,
            master: Some(bridge),
            mtu: Some(plan.mtu),
            up: true,
            peer: VethPeer {
                name: names::UPLINK,
                netns: Some(netns.as_fd()),
                ..VethPeer::default()
            },
            ..Veth::default()
        };
        network.add_veth(&veth).await?;
    }
    configure(plan, &inside)?;
    inside.set_up("lo").await?;
    for address in &node.addresses {
        inside.add_address(names::UPLINK, *address).await?;
    }
    inside.set_up(names::UPLINK).await?;
    for machine in plan.machine_addresses() {
        inside.set_route(&default_route(machine)).await?;
    }
    Ok(())
}

fn configure(plan: &Plan, inside: &Netlink) -> Result<(), TopologyError> {
    if plan.node_cidr.of(Family::V6).is_none() {
        let key = format!("net.ipv6.conf.{}.disable_ipv6", names::UPLINK);
        inside
            .set_sysctls(&[(key.as_str(), "1")])
            .or_else(super::unless_absent)?;
    }
    Ok(())
}

/// The way out of the node network. Kept without the internet too: Service
/// addresses are translated after routing, so a route there must exist.
fn default_route(machine: IpNet) -> Route {
    let everything = Family::from(machine).everything();
    Route {
        protocol: BOOT,
        ..Route::via(everything, machine.addr()).dev(names::UPLINK)
    }
}
