//! A range of addresses: which of them can be used, and in what order they are handed out.

use std::net::IpAddr;

use ipnet::IpNet;

/// The bounds of the static band, and the part of the range that it is between them (KEP-3070).
const BAND_MIN: u128 = 16;
const BAND_MAX: u128 = 256;
const BAND_PART: u128 = 16;

/// The number of addresses that can be used: not the first, nor the last of IPv4.
pub fn usable(range: &IpNet) -> u128 {
    size(range).saturating_sub(if range.network().is_ipv4() { 2 } else { 1 })
}

/// The offset of the first address of the upper band. Those below it are handed out last, so that
/// a person can choose one and find it free.
pub fn dynamic(range: &IpNet) -> u128 {
    let size = size(range);
    if size <= BAND_MIN {
        return 0;
    }
    (size / BAND_PART).clamp(BAND_MIN, BAND_MAX)
}

fn size(range: &IpNet) -> u128 {
    let bits = u32::from(range.max_prefix_len() - range.prefix_len());
    1u128.checked_shl(bits).unwrap_or(u128::MAX)
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

/// The offset of an address that can be used.
pub fn offset(range: &IpNet, address: IpAddr) -> Option<u128> {
    let within = range.contains(&address);
    let offset = number(address).checked_sub(number(range.network()).checked_add(1)?)?;
    (within && offset < usable(range)).then_some(offset)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_those_of_kubernetes() {
        for (range, usable_count, band) in [
            ("10.0.0.0/28", 14, 0),
            ("10.0.0.0/27", 30, 16),
            ("10.0.0.0/24", 254, 16),
            ("10.0.0.0/23", 510, 32),
            ("10.96.0.0/12", (1 << 20) - 2, 256),
            ("fd00::/112", 65_535, 256),
            ("fd00::/64", u128::from(u64::MAX), 256),
        ] {
            let range: IpNet = range.parse().unwrap();
            assert_eq!(
                (usable(&range), dynamic(&range)),
                (usable_count, band),
                "{range}"
            );
        }
    }

    #[test]
    fn an_address_has_one_offset() {
        let range: IpNet = "10.0.0.0/30".parse().unwrap();
        let offsets = |last: u8| offset(&range, [10, 0, 0, last].into());
        assert_eq!(
            [0, 1, 2, 3, 4].map(offsets),
            [None, Some(0), Some(1), None, None]
        );
        assert_eq!(address(&range, 1), Some([10, 0, 0, 2].into()));
    }
}
