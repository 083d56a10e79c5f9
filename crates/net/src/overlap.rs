use std::fmt;

use ipnet::IpNet;

use crate::Ranges;

/// A network and what it is for, so that a refusal can name both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// What for, in words that follow "range … for": `pods (--cluster-cidr)`, `a route of this machine through eth0`.
    pub purpose: String,
    /// The network.
    pub range: IpNet,
}

/// Two networks that share addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{first} overlaps {second}")]
pub struct Overlap {
    /// The use that comes first in the list.
    pub first: Use,
    /// The use that comes later.
    pub second: Use,
}

impl Use {
    /// Names one network.
    pub fn of_network(purpose: impl Into<String>, range: IpNet) -> Self {
        Self {
            purpose: purpose.into(),
            range,
        }
    }

    /// Names each network of a list.
    pub fn of_ranges(purpose: &str, ranges: &Ranges) -> Vec<Self> {
        ranges
            .iter()
            .map(|range| Self::of_network(purpose, range))
            .collect()
    }

    /// Whether both share an address. Networks of different families never do.
    pub fn overlaps(&self, other: &Use) -> bool {
        self.range.contains(&other.range) || other.range.contains(&self.range)
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "range {} for {}", self.range, self.purpose)
    }
}

/// Refuses the first two uses, in the order of the list, that share an address.
///
/// # Errors
/// [`Overlap`] names both.
pub fn check_overlaps(uses: &[Use]) -> Result<(), Overlap> {
    for (n, second) in uses.iter().enumerate() {
        if let Some(first) = uses[..n].iter().find(|first| first.overlaps(second)) {
            return Err(Overlap {
                first: first.clone(),
                second: second.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(list: &[(&str, &str)]) -> Vec<Use> {
        list.iter()
            .map(|(purpose, range)| Use::of_network(*purpose, range.parse().unwrap()))
            .collect()
    }

    #[test]
    fn names_both_ranges_and_what_each_is_for() {
        for (list, expected) in [
            (vec![], None),
            (
                vec![("pods", "10.244.0.0/16"), ("Services", "10.96.0.0/12")],
                None,
            ),
            (vec![("pods", "10.244.0.0/16"), ("pods", "fd00::/56")], None),
            (
                vec![("pods", "10.96.0.0/16"), ("Services", "10.96.0.0/12")],
                Some("range 10.96.0.0/16 for pods overlaps range 10.96.0.0/12 for Services"),
            ),
            (
                vec![
                    ("nodes", "172.29.0.0/24"),
                    ("pods", "fd00::/56"),
                    ("a route of this machine through eth0", "fd00::10:0/112"),
                ],
                Some(
                    "range fd00::/56 for pods overlaps range fd00::10:0/112 for a route of this machine through eth0",
                ),
            ),
        ] {
            let found = check_overlaps(&uses(&list)).err().map(|e| e.to_string());
            assert_eq!(found.as_deref(), expected);
        }
    }

    #[test]
    fn takes_a_dual_stack_list_apart() {
        let ranges: Ranges = "10.244.0.0/16,fd00::/56".parse().unwrap();
        assert_eq!(
            Use::of_ranges("pods", &ranges),
            uses(&[("pods", "10.244.0.0/16"), ("pods", "fd00::/56")])
        );
    }
}
