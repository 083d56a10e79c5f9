use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::numbers::{address, bounds, number};

/// Cuts one cluster range into subnets of one size, one for each node.
///
/// A cluster with two families has two allocators. Subnets are given out in
/// order, going on after the last one, so that the subnet of a node that has
/// left is reused late: other nodes may still have its routes.
///
/// ```
/// use sealane_ipam::SubnetAllocator;
///
/// let taken = ["10.244.0.0/24".parse()?];
/// let mut subnets = SubnetAllocator::new("10.244.0.0/16".parse()?, 24, taken)?;
/// assert_eq!(subnets.allocate()?.to_string(), "10.244.1.0/24");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SubnetAllocator {
    range: IpNet,
    mask: u8,
    /// Index of the subnet at which the search begins.
    next: u128,
    /// Indexes of the subnets that nodes have.
    taken: BTreeSet<u128>,
}

/// Why there is no subnet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// The mask is shorter than the range's own, or leaves no pod address.
    #[error(
        "cut {range} into node subnets of /{mask}: expected a mask from /{shortest} to /{longest}"
    )]
    Mask {
        /// The cluster's range.
        range: IpNet,
        /// The length of prefix that was asked for.
        mask: u8,
        /// The shortest that fits in the range.
        shortest: u8,
        /// The longest with room for a pod.
        longest: u8,
    },
    /// Every subnet has a node.
    #[error(
        "cluster range {range} is used up: {taken} of its {size} node subnets of /{mask} are in use"
    )]
    Exhausted {
        /// The cluster's range.
        range: IpNet,
        /// The length of prefix of each subnet.
        mask: u8,
        /// How many subnets the range has.
        size: u128,
        /// How many of them nodes have.
        taken: usize,
    },
    /// A subnet that a node asks for or has is not one of this range and size.
    #[error("claim subnet {subnet}: not a /{mask} of {range}")]
    Foreign {
        /// The subnet asked for.
        subnet: IpNet,
        /// The cluster's range.
        range: IpNet,
        /// The length of prefix of each subnet.
        mask: u8,
    },
    /// Another node has it.
    #[error("claim subnet {subnet}: another node has it")]
    Taken {
        /// The subnet asked for.
        subnet: IpNet,
    },
}

impl SubnetAllocator {
    /// An allocator over `range` with subnets of prefix length `mask`, of which nodes have `taken`.
    ///
    /// Subnets of other sizes that nodes have are respected: every subnet that
    /// overlaps with one of them counts as taken. Those outside are ignored.
    ///
    /// # Errors
    /// [`SubnetError::Mask`].
    pub fn new(
        range: IpNet,
        mask: u8,
        taken: impl IntoIterator<Item = IpNet>,
    ) -> Result<Self, SubnetError> {
        let range = range.trunc();
        let (shortest, longest) = (range.prefix_len(), range.max_prefix_len() - 2);
        if !(shortest..=longest).contains(&mask) {
            return Err(SubnetError::Mask {
                range,
                mask,
                shortest,
                longest,
            });
        }
        let mut allocator = Self {
            range,
            mask,
            next: 0,
            taken: BTreeSet::new(),
        };
        for subnet in taken {
            allocator.mark(&subnet);
        }
        Ok(allocator)
    }

    /// Leases the next subnet.
    ///
    /// # Errors
    /// [`SubnetError::Exhausted`].
    pub fn allocate(&mut self) -> Result<IpNet, SubnetError> {
        if self.taken.len() as u128 >= self.size() {
            return Err(SubnetError::Exhausted {
                range: self.range,
                mask: self.mask,
                size: self.size(),
                taken: self.taken.len(),
            });
        }
        while self.taken.contains(&self.next) {
            self.next = self.following(self.next);
        }
        let index = self.next;
        self.taken.insert(index);
        self.next = self.following(index);
        Ok(self.subnet(index))
    }

    /// Leases a certain subnet.
    ///
    /// # Errors
    /// [`SubnetError::Foreign`], [`SubnetError::Taken`].
    pub fn claim(&mut self, subnet: IpNet) -> Result<(), SubnetError> {
        let index = self.index(&subnet).ok_or(SubnetError::Foreign {
            subnet,
            range: self.range,
            mask: self.mask,
        })?;
        if self.taken.insert(index) {
            Ok(())
        } else {
            Err(SubnetError::Taken { subnet })
        }
    }

    /// Gives a subnet back; false when it was not leased.
    pub fn release(&mut self, subnet: IpNet) -> bool {
        self.index(&subnet)
            .is_some_and(|index| self.taken.remove(&index))
    }

    /// How many subnets the range has; saturates at the largest number.
    pub fn size(&self) -> u128 {
        1u128
            .checked_shl(u32::from(self.mask - self.range.prefix_len()))
            .unwrap_or(u128::MAX)
    }

    /// How many subnets nodes have.
    pub fn taken(&self) -> usize {
        self.taken.len()
    }

    fn following(&self, index: u128) -> u128 {
        (index + 1) % self.size()
    }

    fn host_bits(&self) -> u32 {
        u32::from(self.range.max_prefix_len() - self.mask)
    }

    fn subnet(&self, index: u128) -> IpNet {
        let (first, _) = bounds(&self.range);
        let network = address(first + (index << self.host_bits()), &self.range);
        IpNet::new(network, self.mask).expect("the mask was checked against the family")
    }

    fn index(&self, subnet: &IpNet) -> Option<u128> {
        let subnet = subnet.trunc();
        let ours = subnet.prefix_len() == self.mask && self.range.contains(&subnet);
        ours.then(|| self.position(number(subnet.network())))
    }

    fn position(&self, address: u128) -> u128 {
        (address - bounds(&self.range).0) >> self.host_bits()
    }

    /// Marks every subnet of ours that overlaps with `other`.
    fn mark(&mut self, other: &IpNet) {
        if self.range.contains(other) {
            let (first, last) = bounds(&other.trunc());
            // A larger subnet than ours covers many; nodes are few enough.
            self.taken
                .extend(self.position(first)..=self.position(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn allocator(range: &str, mask: u8, taken: &[&str]) -> SubnetAllocator {
        SubnetAllocator::new(net(range), mask, taken.iter().map(|t| net(t))).unwrap()
    }

    #[test]
    fn gives_out_in_order_and_says_when_none_is_left() {
        let mut subnets = allocator("10.244.0.0/22", 24, &["10.244.1.0/24"]);
        let given: Vec<_> = std::iter::from_fn(|| subnets.allocate().ok())
            .map(|s| s.to_string())
            .collect();
        assert_eq!(given, ["10.244.0.0/24", "10.244.2.0/24", "10.244.3.0/24"]);
        assert_eq!(
            subnets.allocate().unwrap_err().to_string(),
            "cluster range 10.244.0.0/22 is used up: 4 of its 4 node subnets of /24 are in use"
        );
    }

    #[test]
    fn counts_the_same_way_in_ipv6() {
        let mut subnets = allocator("fd00:10:244::/56", 64, &["fd00:10:244::/64"]);
        assert_eq!(subnets.allocate().unwrap(), net("fd00:10:244:1::/64"));
        assert_eq!(subnets.size(), 256);
    }

    #[test]
    fn a_released_subnet_is_reused_late() {
        let mut subnets = allocator("10.244.0.0/22", 24, &[]);
        let first = subnets.allocate().unwrap();
        assert!(subnets.release(first));
        assert!(!subnets.release(first));
        let rest: Vec<_> = std::iter::from_fn(|| subnets.allocate().ok()).collect();
        assert_eq!(rest.last(), Some(&first));
        assert_eq!(rest.len(), 4);
    }

    #[test]
    fn subnets_of_another_size_are_respected() {
        let mut subnets = allocator(
            "10.244.0.0/22",
            24,
            &["10.244.0.0/23", "10.244.2.64/26", "10.9.0.0/24"],
        );
        assert_eq!(subnets.allocate().unwrap(), net("10.244.3.0/24"));
        assert!(subnets.allocate().is_err());
    }

    #[test]
    fn claims_only_what_is_its_own_and_free() {
        let mut subnets = allocator("10.244.0.0/16", 24, &[]);
        subnets.claim(net("10.244.7.0/24")).unwrap();
        for (subnet, why) in [
            ("10.244.7.0/24", "another node"),
            ("10.245.0.0/24", "not a /24 of 10.244.0.0/16"),
            ("10.244.8.0/25", "not a /24"),
            ("fd00::/24", "not a /24"),
        ] {
            let error = subnets.claim(net(subnet)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn refuses_a_mask_that_does_not_fit() {
        for (range, mask) in [
            ("10.244.0.0/16", 15),
            ("10.244.0.0/16", 31),
            ("fd00::/56", 127),
        ] {
            let error = SubnetAllocator::new(net(range), mask, []).unwrap_err();
            assert!(matches!(error, SubnetError::Mask { .. }), "{error}");
        }
    }

    #[test]
    fn the_widest_range_does_not_overflow() {
        let mut subnets = allocator("::/0", 126, &[]);
        assert_eq!(subnets.allocate().unwrap(), net("::/126"));
        let mut single = allocator("10.0.0.0/24", 24, &[]);
        assert_eq!(single.allocate().unwrap(), net("10.0.0.0/24"));
        assert!(single.allocate().is_err());
    }
}
