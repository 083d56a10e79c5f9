use std::net::IpAddr;

use ipnet::IpNet;

use crate::numbers::{address, bounds, number};

/// The first block of the ranges that overlaps none of `taken`; with `holding`, the one with that address.
///
/// Ranges are cut into blocks of `size`, a prefix length; a range that is
/// smaller than a block is one. `None` when all are taken.
///
/// The taken ones may have been cut by another size, since a pool may change;
/// what overlaps one of them is not free. Time grows with their number alone,
/// not with the size of the ranges.
pub fn free_block(
    ranges: &[IpNet],
    size: u8,
    taken: &[IpNet],
    holding: Option<IpAddr>,
) -> Option<IpNet> {
    ranges
        .iter()
        .filter(|range| holding.is_none_or(|wanted| range.contains(&wanted)))
        .find_map(|range| {
            let range = range.trunc();
            let length = size.clamp(range.prefix_len(), range.max_prefix_len());
            match holding {
                Some(wanted) => {
                    let block = IpNet::new(wanted, length).ok()?.trunc();
                    let is_free = !taken.iter().any(|other| overlap(&block, other));
                    is_free.then_some(block)
                }
                None => first_free(&range, length, taken),
            }
        })
}

fn first_free(range: &IpNet, length: u8, taken: &[IpNet]) -> Option<IpNet> {
    let (first, last) = bounds(range);
    let bits = range.max_prefix_len() - length;
    let mut held: Vec<(u128, u128)> = taken
        .iter()
        .filter(|other| overlap(range, other))
        .map(bounds)
        .collect();
    held.sort_unstable();
    let mut start = first;
    for (from, to) in held {
        if last_of(start, bits) < from {
            break;
        }
        // The block after the one in which the taken one ends.
        start = start.max(last_of(align(to, bits), bits).checked_add(1)?);
    }
    let fits = (first..=last).contains(&start);
    fits.then(|| IpNet::new(address(start, range), length).ok())?
}

fn align(number: u128, bits: u8) -> u128 {
    number
        .checked_shr(bits.into())
        .and_then(|upper| upper.checked_shl(bits.into()))
        .unwrap_or(0)
}

fn last_of(start: u128, bits: u8) -> u128 {
    let rest = 1u128
        .checked_shl(bits.into())
        .map_or(u128::MAX, |size| size - 1);
    start | rest
}

/// How many blocks a range is cut into; saturates.
pub fn block_count(ranges: &[IpNet], size: u8) -> u128 {
    let count = |range: &IpNet| {
        let length = size.clamp(range.prefix_len(), range.max_prefix_len());
        1u128
            .checked_shl(u32::from(length - range.prefix_len()))
            .unwrap_or(u128::MAX)
    };
    ranges.iter().map(count).fold(0, u128::saturating_add)
}

/// Whether two networks have an address in common.
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    let same_family = one.addr().is_ipv4() == other.addr().is_ipv4();
    same_family
        && number(one.network()) <= bounds(other).1
        && number(other.network()) <= bounds(one).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn free(ranges: &[&str], size: u8, taken: &[&str], holding: Option<&str>) -> Option<String> {
        let holding = holding.map(|ip| ip.parse().unwrap());
        free_block(&nets(ranges), size, &nets(taken), holding).map(|block| block.to_string())
    }

    #[test]
    fn the_first_free_block_of_the_first_range_that_has_one() {
        let ranges = ["10.99.0.0/27", "10.98.0.0/30", "10.97.0.0/28"];
        let steps = [
            "10.99.0.0/28",
            "10.99.0.16/28",
            "10.98.0.0/30",
            "10.97.0.0/28",
        ];
        let mut taken: Vec<&str> = vec![];
        for step in steps {
            assert_eq!(free(&ranges, 28, &taken, None).as_deref(), Some(step));
            taken.push(step);
        }
        assert_eq!(free(&ranges, 28, &taken, None), None);
        assert_eq!(block_count(&nets(&ranges), 28), 4);
        taken.remove(1);
        assert_eq!(
            free(&ranges, 28, &taken, None).as_deref(),
            Some("10.99.0.16/28")
        );
    }

    #[test]
    fn blocks_of_another_size_are_kept_out_of_the_way() {
        for (taken, expected) in [
            (["10.99.0.3/32"], "10.99.0.16/28"),
            (["10.99.0.0/25"], "10.99.0.128/28"),
            (["10.0.0.0/8"], ""),
            (["10.99.0.24/29"], "10.99.0.0/28"),
        ] {
            let found = free(&["10.99.0.0/24"], 28, &taken, None);
            assert_eq!(found.unwrap_or_default(), expected, "{taken:?}");
        }
    }

    #[test]
    fn the_block_with_an_address_or_none() {
        let ranges = ["10.99.0.0/24", "fd00:99::/64"];
        let of = |ip| free(&ranges, 28, &["10.99.0.16/28"], Some(ip));
        assert_eq!(of("10.99.0.77").as_deref(), Some("10.99.0.64/28"));
        assert_eq!(of("10.99.0.17"), None);
        assert_eq!(of("10.98.0.1"), None);
        let six = free(&ranges, 122, &[], Some("fd00:99::1:77"));
        assert_eq!(six.as_deref(), Some("fd00:99::1:40/122"));
    }

    #[test]
    fn a_whole_family_is_no_burden_and_its_end_is_an_end() {
        assert_eq!(
            free(&["::/0"], 122, &["::/1"], None).as_deref(),
            Some("8000::/122")
        );
        assert_eq!(free(&["::/0"], 122, &["::/1", "8000::/1"], None), None);
        assert_eq!(free(&["::/0"], 0, &[], None).as_deref(), Some("::/0"));
        assert_eq!(
            free(&["0.0.0.0/0"], 32, &["255.255.255.255/32"], None).as_deref(),
            Some("0.0.0.0/32")
        );
        assert_eq!(block_count(&nets(&["::/0"]), 128), u128::MAX);
    }
}
