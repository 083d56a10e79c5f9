use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sealane_net::{Family, IpNet};

/// A named set of addresses of the table's family, held as intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The name, unique among the sets and maps of its table.
    pub name: String,
    /// What it is for, shown to whoever lists the table.
    pub comment: String,
    /// Ascending and apart from each other; see [`Set::of_networks`].
    pub elements: Vec<Interval>,
}

/// Addresses from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    first: IpAddr,
    last: IpAddr,
}

impl Set {
    /// Makes a set of networks; those of another family and those within another one are left out.
    ///
    /// The kernel refuses a set whose elements overlap, and nft lists them in ascending order.
    pub fn of_networks(
        name: impl Into<String>,
        comment: impl Into<String>,
        family: Family,
        networks: impl IntoIterator<Item = IpNet>,
    ) -> Self {
        Self {
            name: name.into(),
            comment: comment.into(),
            elements: Interval::of_networks(family, networks),
        }
    }
}

impl Interval {
    /// The intervals of a family's networks, ascending, without those that lie within another.
    pub fn of_networks(family: Family, networks: impl IntoIterator<Item = IpNet>) -> Vec<Interval> {
        let mut intervals: Vec<Interval> = networks
            .into_iter()
            .filter(|network| Family::from(*network) == family)
            .map(Interval::from)
            .collect();
        // Of those that begin together the widest comes first, so each is inside
        // the one kept before it, or apart from all.
        intervals.sort_unstable_by_key(|i| (i.first, std::cmp::Reverse(i.last)));
        let mut kept: Vec<Interval> = Vec::with_capacity(intervals.len());
        for interval in intervals {
            if kept.last().is_none_or(|last| last.last < interval.first) {
                kept.push(interval);
            }
        }
        kept
    }

    /// The first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// The address after the last one; `None` when the last is the family's last.
    pub fn end(&self) -> Option<IpAddr> {
        match self.last {
            IpAddr::V4(last) => u32::from(last)
                .checked_add(1)
                .map(|end| Ipv4Addr::from(end).into()),
            IpAddr::V6(last) => u128::from(last)
                .checked_add(1)
                .map(|end| Ipv6Addr::from(end).into()),
        }
    }

    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first <= address && address <= self.last
    }
}

impl From<IpNet> for Interval {
    fn from(network: IpNet) -> Self {
        let (first, last) = match network {
            // `IpNet::broadcast` of a /32 is the address itself.
            IpNet::V4(v4) => (v4.network().into(), v4.broadcast().into()),
            IpNet::V6(v6) => (v6.network().into(), v6.broadcast().into()),
        };
        Self { first, last }
    }
}

impl fmt::Display for Interval {
    /// As nft writes it: a lone address without `/32`, a network with its prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        let bits = Family::from(self.first).address_bits();
        let network = (0..bits)
            .filter_map(|length| IpNet::new(self.first, length).ok())
            .find(|network| Interval::from(*network) == *self);
        match network {
            Some(network) => write!(f, "{network}"),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(family: Family, networks: &[&str]) -> Vec<String> {
        let networks = networks.iter().map(|n| n.parse::<IpNet>().unwrap());
        Interval::of_networks(family, networks)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn elements_are_ascending_apart_and_of_one_family() {
        for (family, given, expected) in [
            (Family::V4, vec![], vec![]),
            (
                Family::V4,
                vec![
                    "172.29.0.3/32",
                    "172.29.0.2/32",
                    "10.244.0.0/16",
                    "fd00::/64",
                ],
                vec!["10.244.0.0/16", "172.29.0.2", "172.29.0.3"],
            ),
            (
                Family::V4,
                vec![
                    "10.244.1.0/24",
                    "10.244.0.0/16",
                    "10.244.0.0/24",
                    "10.245.0.0/16",
                ],
                vec!["10.244.0.0/16", "10.245.0.0/16"],
            ),
            (
                Family::V4,
                vec!["0.0.0.0/0", "10.0.0.0/8"],
                vec!["0.0.0.0/0"],
            ),
            (
                Family::V6,
                vec!["10.244.0.0/16", "fd00::2/128", "fd00::/64", "ff00::/8"],
                vec!["fd00::/64", "ff00::/8"],
            ),
        ] {
            assert_eq!(texts(family, &given), expected);
        }
    }

    #[test]
    fn the_end_lies_one_after_the_last_and_is_missing_at_the_end_of_the_family() {
        for (network, end) in [
            ("10.244.0.0/16", Some("10.245.0.0")),
            ("10.0.0.255/32", Some("10.0.1.0")),
            ("255.0.0.0/8", None),
            ("0.0.0.0/0", None),
            ("fd00::/64", Some("fd00:0:0:1::")),
            ("ff00::/8", None),
        ] {
            let interval = Interval::from(network.parse::<IpNet>().unwrap());
            assert_eq!(interval.end(), end.map(|end| end.parse().unwrap()));
        }
    }

    prop_compose! {
        /// Networks that often touch, contain or equal each other, also at the family's ends.
        fn any_network()(high in prop::bool::ANY, low in 0_u8..16, length in 27_u8..=32) -> IpNet {
            let top = if high { 255 } else { 0 };
            IpNet::new([top, top, top, low | (top & 0xf0)].into(), length)
                .expect("a length of at most 32")
                .trunc()
        }
    }

    proptest! {
        #[test]
        fn hold_exactly_the_addresses_of_the_networks_and_never_overlap(
            networks in prop::collection::vec(any_network(), 0..10),
        ) {
            let intervals = Interval::of_networks(Family::V4, networks.iter().copied());
            for pair in intervals.windows(2) {
                prop_assert!(pair[0].last() < pair[1].first(), "{:?}", pair);
            }
            let addresses = (0..=255).flat_map(|n| [[0, 0, 0, n], [255, 255, 255, n]]);
            for address in addresses.map(IpAddr::from) {
                let wanted = networks.iter().any(|network| network.contains(&address));
                let held = intervals.iter().any(|interval| interval.contains(address));
                prop_assert_eq!(held, wanted, "{}", address);
            }
            for interval in intervals {
                let after = interval.end().map(|end| interval.contains(end));
                prop_assert!(after != Some(true));
                prop_assert!(interval.to_string().parse::<IpNet>().is_ok()
                    || interval.to_string().parse::<IpAddr>().is_ok());
            }
        }
    }
}
