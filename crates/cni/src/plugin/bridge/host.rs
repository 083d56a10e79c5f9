//! The bridge, forwarding, and the way out.

use std::{fs, net::Ipv4Addr};

use sealane_ipam::Pool;
use sealane_net::{Family, IpNet, Mac, Mtu, names};
use sealane_netlink::{Batch, Bridge, Direct, Link, LinkChange, sync_tables, sysctl};
use sealane_ruleset::bridge_egress;

use super::{conf::BridgeConf, kernel};
use crate::types::{CniError, code};

/// The sign that a bridge is ours, its alias in `ip link`.
const SIGN: &str = "sealane/bridge";

/// The bridge as it is.
#[derive(Clone, Debug)]
pub struct Host {
    pub bridge: String,
    pub index: u32,
    pub mac: Mac,
    pub mtu: Mtu,
    /// The bridge's addresses, with the lengths of the subnets' prefixes.
    pub gateways: Vec<IpNet>,
}

impl Host {
    /// Makes what is missing; repeating it changes nothing.
    ///
    /// # Errors
    /// Code 7 when the name or the subnet is somebody else's, 100 when the kernel refuses.
    pub fn ensure(conf: &BridgeConf, node: &mut Direct) -> Result<Self, CniError> {
        let gateways = gateways(conf)?;
        let mac = mac_of(gateways[0]);
        let found = find(conf, node)?;
        let mtu = match (&found, conf.mtu) {
            (_, Some(mtu)) => mtu,
            (Some(link), None) => Mtu::new(link.mtu).unwrap_or_default(),
            (None, None) => uplink_mtu(node),
        };
        if found.is_none() {
            free_subnets(conf)?;
            let bridge = Bridge {
                name: &conf.bridge,
                mtu: Some(mtu),
                mac: Some(mac),
                up: false,
            };
            let sign = LinkChange {
                alias: Some(SIGN),
                mtu: Some(mtu),
                ..LinkChange::default()
            };
            // One system call, so that no kill leaves a bridge without its sign.
            let mut batch = Batch::new();
            batch.add_bridge(&bridge).set_link(&conf.bridge, sign);
            node.run_all(batch).map_err(kernel)?;
        }
        let index = match found {
            Some(link) => link.index,
            None => find(conf, node)?.map_or(0, |link| link.index),
        };
        let up = LinkChange {
            up: Some(true),
            mtu: Some(mtu),
            ..LinkChange::default()
        };
        let mut batch = Batch::new();
        for gateway in &gateways {
            batch.add_address(index, *gateway);
        }
        batch.set_link(index, up);
        node.run_all(batch).map_err(kernel)?;
        forward(conf)?;
        way_out(conf)?;
        Ok(Self {
            bridge: conf.bridge.clone(),
            index,
            mac,
            mtu,
            gateways,
        })
    }

    /// The bridge's address in the subnet of a container's.
    pub fn gateway_of(&self, address: IpNet) -> Option<IpNet> {
        let mut gateways = self.gateways.iter();
        gateways
            .find(|gateway| address.contains(&gateway.addr()))
            .copied()
    }
}

/// The bridge, if it is there and ours.
///
/// # Errors
/// Code 7 when a link of that name is somebody else's.
pub fn find(conf: &BridgeConf, node: &mut Direct) -> Result<Option<Link>, CniError> {
    let mut batch = Batch::new();
    batch.link(&conf.bridge);
    let link = match node.run_all(batch) {
        Ok(links) => links.into_iter().next(),
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(kernel(error)),
    };
    match link {
        Some(link) if link.kind != "bridge" || link.alias.as_deref() != Some(SIGN) => {
            Err(CniError::new(
                code::INVALID_CONFIG,
                format!(
                    "use bridge {}: a link of that name is there and not ours (it has no alias {SIGN:?})",
                    conf.bridge
                ),
            )
            .with_details("does Docker run here? Choose another name with \"bridge\", and another \"subnet\""))
        }
        link => Ok(link),
    }
}

fn gateways(conf: &BridgeConf) -> Result<Vec<IpNet>, CniError> {
    let gateway = |subnet: &IpNet| {
        let pool = Pool::new(*subnet, [])
            .map_err(|error| CniError::new(code::INVALID_CONFIG, error.to_string()))?;
        Ok(IpNet::new_assert(pool.gateway(), subnet.prefix_len()))
    };
    conf.subnets.iter().map(gateway).collect()
}

/// `02:42` and the address, as Docker's bridges have it.
fn mac_of(address: IpNet) -> Mac {
    super::link::mac_of(address.addr())
}

/// A subnet that this host reaches by another link would be cut off.
fn free_subnets(conf: &BridgeConf) -> Result<(), CniError> {
    let routes = fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    for (link, network) in routes.lines().skip(1).filter_map(route) {
        let overlaps = |subnet: &&IpNet| {
            subnet.contains(&IpNet::from(network.addr())) || network.contains(&subnet.addr())
        };
        let ours = link == conf.bridge || network.prefix_len() == 0;
        if let Some(subnet) = conf.subnets.iter().find(overlaps).filter(|_| !ours) {
            return Err(CniError::new(
                code::INVALID_CONFIG,
                format!("use subnet {subnet}: this host reaches {network} of it by {link}"),
            )
            .with_details("choose another one with \"subnet\""));
        }
    }
    Ok(())
}

/// A line of `/proc/net/route`: link, destination, …, mask as the eighth word, in the machine's order of bytes.
fn route(line: &str) -> Option<(&str, IpNet)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |n: usize| u32::from_str_radix(words.get(n)?, 16).ok();
    let address = Ipv4Addr::from(number(1)?.to_ne_bytes());
    let length = number(7)?.count_ones() as u8;
    Some((words.first()?, IpNet::new(address.into(), length).ok()?))
}

fn uplink_mtu(node: &mut Direct) -> Mtu {
    let routes = fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    let default =
        (routes.lines().skip(1).filter_map(route)).find(|(_, network)| network.prefix_len() == 0);
    let Some((link, _)) = default else {
        return Mtu::default();
    };
    let mut batch = Batch::new();
    batch.link(link);
    let links = node.run_all(batch).unwrap_or_default();
    let mtu = links.first().and_then(|link| Mtu::new(link.mtu).ok());
    mtu.unwrap_or_default()
}

fn forward(conf: &BridgeConf) -> Result<(), CniError> {
    for subnet in &conf.subnets {
        let key = match Family::from(*subnet) {
            Family::V4 => "net.ipv4.ip_forward",
            Family::V6 => "net.ipv6.conf.all.forwarding",
        };
        sysctl::set(key, "1").map_err(kernel)?;
    }
    Ok(())
}

fn way_out(conf: &BridgeConf) -> Result<(), CniError> {
    let tables: Vec<_> = (conf.subnets.iter())
        .filter(|_| conf.masquerade)
        .map(|subnet| bridge_egress(&conf.bridge, *subnet))
        .collect();
    sync_tables(&names::bridge_table(&conf.bridge), &tables)
        .map(drop)
        .map_err(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_routes_is_read() {
        let line = "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0";
        let (link, network) = route(line).unwrap();
        assert_eq!(
            (link, network.to_string()),
            ("eth0", "172.17.0.0/16".into())
        );
        assert_eq!(route("nonsense"), None);
    }
}
