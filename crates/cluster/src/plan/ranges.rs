//! Arithmetic on address ranges that [`ipnet`] leaves out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The `n`th address of a range, the network's own being the 0th.
pub fn nth(range: IpNet, n: u32) -> IpAddr {
    match range.network() {
        IpAddr::V4(network) => Ipv4Addr::from(u32::from(network).wrapping_add(n)).into(),
        IpAddr::V6(network) => {
            Ipv6Addr::from(u128::from(network).wrapping_add(u128::from(n))).into()
        }
    }
}

/// An address with the prefix length of its network.
pub fn with_prefix(address: IpAddr, prefix_len: u8) -> IpNet {
    IpNet::new(address, prefix_len).unwrap_or_else(|_| IpNet::from(address))
}

/// How many subnets of `subnet_len` fit a range of `range_len`; 0 when none does.
pub fn subnets(range_len: u8, subnet_len: u8) -> u64 {
    match subnet_len.checked_sub(range_len) {
        Some(bits) => 1u64.checked_shl(u32::from(bits)).unwrap_or(u64::MAX),
        None => 0,
    }
}

/// Addresses for hosts in an IPv4 range: neither the network's nor broadcast.
pub fn hosts_v4(prefix_len: u8) -> u64 {
    subnets(prefix_len, 32).saturating_sub(2)
}
