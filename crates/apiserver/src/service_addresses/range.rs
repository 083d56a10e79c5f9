//! Addresses of a range by number.

use std::net::IpAddr;

use ipnet::IpNet;

/// The number of addresses that can be used: not the first, nor the last of IPv4.
pub fn usable(range: &IpNet) -> u128 {
    let bits = u32::from(range.max_prefix_len() - range.prefix_len());
    let all = 1u128.checked_shl(bits).unwrap_or(u128::MAX);
    all.saturating_sub(if range.network().is_ipv4() { 2 } else { 1 })
}

/// The address at an offset from the first that can be used.
pub fn address(range: &IpNet, offset: u128) -> Option<IpAddr> {
    let number = number(range.network())
        .checked_add(offset)?
        .checked_add(1)?;
    Some(match range {
        IpNet::V4(_) => IpAddr::V4(u32::try_from(number).ok()?.into()),
        IpNet::V6(_) => IpAddr::V6(number.into()),
    })
}

/// An address as a number.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
