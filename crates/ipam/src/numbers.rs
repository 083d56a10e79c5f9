//! Addresses as numbers: both families count the same way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The address as a number of 32 or 128 bits.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address with a number, of the family of `like`.
///
/// Only called with numbers inside a range of that family; of an IPv4 number
/// the upper bits are zero.
pub fn address(number: u128, like: &IpNet) -> IpAddr {
    match like {
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

/// First and last number of a range, with the network and broadcast address.
pub fn bounds(range: &IpNet) -> (u128, u128) {
    (number(range.network()), number(range.broadcast()))
}
