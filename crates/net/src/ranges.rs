use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Family;

/// One network, or one of each family: what `--cluster-cidr` and its like take.
///
/// Written `10.244.0.0/16,fd00:10:244::/56`; the order is kept, since the
/// first family is the one that Kubernetes prefers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<IpNet>", into = "Vec<IpNet>")]
pub struct Ranges(Vec<IpNet>);

/// Why a text or a list is not a [`Ranges`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not an address and a prefix length.
    #[error(
        "read range {text:?}: expected an address and a prefix length, such as 10.244.0.0/16 or fd00:10:244::/56"
    )]
    Unreadable {
        /// What was given.
        text: String,
    },
    /// The address has bits beyond the prefix, which is a slip of the pen more often than not.
    #[error("read range {given}: it has bits set beyond its prefix, did you mean {network}?")]
    NotANetwork {
        /// What was given.
        given: IpNet,
        /// The network that contains it.
        network: IpNet,
    },
    /// Two of one family.
    #[error(
        "read ranges {first} and {second}: both are {family}, expected at most one of each family"
    )]
    SameFamily {
        /// The first of the list.
        first: IpNet,
        /// The one that follows it.
        second: IpNet,
        /// The family of both.
        family: Family,
    },
    /// An empty list.
    #[error("read ranges: the list is empty, expected one range, or one of each family")]
    Empty,
}

/// Reads one network and refuses host bits.
///
/// # Errors
/// [`RangeError::Unreadable`] and [`RangeError::NotANetwork`].
pub fn parse_network(text: &str) -> Result<IpNet, RangeError> {
    let network = text.trim().parse().map_err(|_| RangeError::Unreadable {
        text: text.trim().into(),
    })?;
    check_network(network)
}

fn check_network(given: IpNet) -> Result<IpNet, RangeError> {
    let network = given.trunc();
    if network == given {
        Ok(given)
    } else {
        Err(RangeError::NotANetwork { given, network })
    }
}

impl Ranges {
    /// Checks a list.
    ///
    /// # Errors
    /// See [`RangeError`].
    pub fn new(list: impl IntoIterator<Item = IpNet>) -> Result<Self, RangeError> {
        let mut ranges: Vec<IpNet> = Vec::with_capacity(2);
        for range in list {
            let second = check_network(range)?;
            let family = Family::from(second);
            if let Some(&first) = ranges.iter().find(|held| Family::from(**held) == family) {
                return Err(RangeError::SameFamily {
                    first,
                    second,
                    family,
                });
            }
            ranges.push(second);
        }
        if ranges.is_empty() {
            return Err(RangeError::Empty);
        }
        Ok(Self(ranges))
    }

    /// The networks, in the order they were given.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = IpNet> + '_ {
        self.0.iter().copied()
    }

    /// The networks as a slice.
    pub fn as_slice(&self) -> &[IpNet] {
        &self.0
    }

    /// The network of one family.
    pub fn of(&self, family: Family) -> Option<IpNet> {
        self.iter().find(|range| Family::from(*range) == family)
    }

    /// The families in order of preference.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        self.iter().map(Family::from)
    }

    /// Whether the address lies in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.iter().any(|range| range.contains(&address))
    }
}

impl From<Ranges> for Vec<IpNet> {
    fn from(ranges: Ranges) -> Self {
        ranges.0
    }
}

impl TryFrom<Vec<IpNet>> for Ranges {
    type Error = RangeError;

    fn try_from(list: Vec<IpNet>) -> Result<Self, RangeError> {
        Self::new(list)
    }
}

impl FromStr for Ranges {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let list: Vec<IpNet> = text
            .split(',')
            .filter(|part| !part.trim().is_empty())
            .map(parse_network)
            .collect::<Result<_, _>>()?;
        Self::new(list)
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, range) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{range}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_range_or_one_of_each_family_and_keeps_their_order() {
        for (text, families) in [
            ("10.244.0.0/16", vec![Family::V4]),
            ("fd00:10:244::/56", vec![Family::V6]),
            (
                "10.244.0.0/16,fd00:10:244::/56",
                vec![Family::V4, Family::V6],
            ),
            (
                "fd00:10:244::/56,10.244.0.0/16",
                vec![Family::V6, Family::V4],
            ),
        ] {
            let ranges: Ranges = text.parse().unwrap();
            assert_eq!(ranges.to_string(), text);
            assert_eq!(ranges.families().collect::<Vec<_>>(), families);
            for family in Family::ALL {
                assert_eq!(ranges.of(family).is_some(), families.contains(&family));
            }
        }
        let spaced: Ranges = " 10.244.0.0/16 , fd00::/56 ".parse().unwrap();
        assert_eq!(spaced.to_string(), "10.244.0.0/16,fd00::/56");
    }

    #[test]
    fn refuses_the_rest_and_says_what_was_expected() {
        for (text, message) in [
            (
                "",
                "read ranges: the list is empty, expected one range, or one of each family",
            ),
            (
                "10.244.0.0",
                "read range \"10.244.0.0\": expected an address and a prefix length, such as 10.244.0.0/16 or fd00:10:244::/56",
            ),
            (
                "10.244.0.0/33",
                "read range \"10.244.0.0/33\": expected an address and a prefix length, such as 10.244.0.0/16 or fd00:10:244::/56",
            ),
            (
                "10.244.1.0/16",
                "read range 10.244.1.0/16: it has bits set beyond its prefix, did you mean 10.244.0.0/16?",
            ),
            (
                "10.244.0.0/16,10.245.0.0/16",
                "read ranges 10.244.0.0/16 and 10.245.0.0/16: both are IPv4, expected at most one of each family",
            ),
        ] {
            assert_eq!(text.parse::<Ranges>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn is_a_list_in_json_and_checked_when_read() {
        let ranges: Ranges = "10.244.0.0/16,fd00::/56".parse().unwrap();
        let json = r#"["10.244.0.0/16","fd00::/56"]"#;
        assert_eq!(serde_json::to_string(&ranges).unwrap(), json);
        assert_eq!(serde_json::from_str::<Ranges>(json).unwrap(), ranges);
        assert!(serde_json::from_str::<Ranges>(r#"["10.244.1.0/16"]"#).is_err());
    }

    #[test]
    fn contains_addresses_of_both_families() {
        let ranges: Ranges = "10.244.0.0/16,fd00::/56".parse().unwrap();
        for (address, inside) in [
            ("10.244.255.255", true),
            ("10.245.0.0", false),
            ("fd00::1", true),
            ("fd00:0:0:100::", false),
        ] {
            assert_eq!(
                ranges.contains(address.parse().unwrap()),
                inside,
                "{address}"
            );
        }
    }
}
