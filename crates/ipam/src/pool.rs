use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::numbers::{address, bounds, number};

/// The addresses of one subnet that pods may have.
///
/// Never given out are the network address, the gateway (the first address,
/// which the node itself has) and, in IPv4, the broadcast address. Addresses
/// are given out in order, beginning after the last one that was ever given
/// out; one that was released waits until all others were used, the longest
/// released first.
///
/// ```
/// use sealane_ipam::Pool;
///
/// let mut pool = Pool::new("10.244.1.0/24".parse()?, [])?;
/// let first = pool.allocate()?;
/// assert_eq!(first.to_string(), "10.244.1.2");
/// pool.release(first);
/// assert_eq!(pool.allocate()?.to_string(), "10.244.1.3");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pool {
    subnet: IpNet,
    first: u128,
    last: u128,
    /// Where the search for an address that is neither leased nor released goes on.
    cursor: u128,
    /// How many numbers the cursor has yet to pass before everything was looked at once.
    ahead: u128,
    leased: BTreeSet<u128>,
    /// Released addresses, the longest released first.
    released: VecDeque<u128>,
}

/// A subnet without room for one pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "use subnet {subnet} for pods: no address left for a pod besides the network's own, expected a prefix of at most /{longest}"
)]
pub struct TooSmall {
    /// The subnet that was asked for.
    pub subnet: IpNet,
    /// The longest prefix of its family that has room.
    pub longest: u8,
}

/// All addresses are leased.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("subnet {subnet} is used up: {leased} of its {size} pod addresses are leased")]
pub struct Exhausted {
    /// The pool's subnet.
    pub subnet: IpNet,
    /// How many addresses pods may have.
    pub size: u128,
    /// How many of them are leased.
    pub leased: usize,
}

/// Why a certain address cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// It is not in the subnet.
    #[error("claim address {address}: not in subnet {subnet}")]
    Outside {
        /// The address asked for.
        address: IpAddr,
        /// The pool's subnet.
        subnet: IpNet,
    },
    /// It is the network's, the gateway's or the broadcast address.
    #[error("claim address {address}: reserved in subnet {subnet}")]
    Reserved {
        /// The address asked for.
        address: IpAddr,
        /// The pool's subnet.
        subnet: IpNet,
    },
    /// Another pod has it.
    #[error("claim address {address}: already leased")]
    Leased {
        /// The address asked for.
        address: IpAddr,
    },
}

impl Pool {
    /// A pool over `subnet` in which `taken` are leased already.
    ///
    /// Taken addresses outside of what pods may have are ignored: they are
    /// leases of a subnet that the node had before.
    ///
    /// # Errors
    /// [`TooSmall`] for IPv4 prefixes longer than /30 and IPv6 ones longer than /126.
    pub fn new(subnet: IpNet, taken: impl IntoIterator<Item = IpAddr>) -> Result<Self, TooSmall> {
        let subnet = subnet.trunc();
        let longest = subnet.max_prefix_len() - 2;
        if subnet.prefix_len() > longest {
            return Err(TooSmall { subnet, longest });
        }
        let (network, end) = bounds(&subnet);
        let (first, last) = match subnet {
            IpNet::V4(_) => (network + 2, end - 1),
            IpNet::V6(_) => (network + 2, end),
        };
        Ok(Self::over(subnet, first, last, taken))
    }

    /// A pool over a range of which every address is a pod's: a block of a
    /// named pool, in which neither a node nor a broadcast has one.
    pub fn whole(range: IpNet, taken: impl IntoIterator<Item = IpAddr>) -> Self {
        let range = range.trunc();
        let (first, last) = bounds(&range);
        Self::over(range, first, last, taken)
    }

    fn over(
        subnet: IpNet,
        first: u128,
        last: u128,
        taken: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        let mut pool = Self {
            subnet,
            first,
            last,
            cursor: first,
            // Saturates for a whole IPv6 /0, of which nobody sees the end.
            ahead: (last - first).saturating_add(1),
            leased: BTreeSet::new(),
            released: VecDeque::new(),
        };
        let usable: Vec<u128> = taken
            .into_iter()
            .filter(|a| pool.is_usable(*a))
            .map(number)
            .collect();
        pool.leased.extend(usable);
        pool
    }

    /// Goes on after `previous`, the address that was given out last before a restart.
    ///
    /// Without this a restarted caller would give out at once what was
    /// released a moment ago. Ignored when not in the subnet.
    #[must_use]
    pub fn resumed_after(mut self, previous: IpAddr) -> Self {
        if self.is_usable(previous) {
            self.cursor = self.following(number(previous));
        }
        self
    }

    /// The subnet, without host bits.
    pub fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// The node's own address in the subnet: the first. Of a [`whole`](Self::whole) range a pod's.
    pub fn gateway(&self) -> IpAddr {
        address(bounds(&self.subnet).0 + 1, &self.subnet)
    }

    /// How many addresses pods may have; saturates below the size of a whole IPv6 /0.
    pub fn size(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// How many are leased.
    pub fn leased(&self) -> usize {
        self.leased.len()
    }

    /// Whether an address is leased.
    pub fn is_leased(&self, address: IpAddr) -> bool {
        self.is_usable(address) && self.leased.contains(&number(address))
    }

    /// Leases the next address.
    ///
    /// # Errors
    /// [`Exhausted`] when all are leased.
    pub fn allocate(&mut self) -> Result<IpAddr, Exhausted> {
        while self.ahead > 0 {
            let candidate = self.cursor;
            self.cursor = self.following(candidate);
            self.ahead -= 1;
            // What was released before the cursor came by waits in `released`.
            if !self.released.contains(&candidate) && self.leased.insert(candidate) {
                return Ok(address(candidate, &self.subnet));
            }
        }
        let Some(oldest) = self.released.pop_front() else {
            return Err(Exhausted {
                subnet: self.subnet,
                size: self.size(),
                leased: self.leased.len(),
            });
        };
        self.leased.insert(oldest);
        Ok(address(oldest, &self.subnet))
    }

    /// Leases a certain address.
    ///
    /// # Errors
    /// [`ClaimError`] when pods may not have it or another pod does.
    pub fn claim(&mut self, address: IpAddr) -> Result<(), ClaimError> {
        let subnet = self.subnet;
        if !subnet.contains(&address) {
            return Err(ClaimError::Outside { address, subnet });
        }
        if !self.is_usable(address) {
            return Err(ClaimError::Reserved { address, subnet });
        }
        if !self.leased.insert(number(address)) {
            return Err(ClaimError::Leased { address });
        }
        self.released.retain(|waiting| *waiting != number(address));
        Ok(())
    }

    /// Gives an address back; false when it was not leased.
    pub fn release(&mut self, address: IpAddr) -> bool {
        let released = self.is_usable(address) && self.leased.remove(&number(address));
        if released {
            self.released.push_back(number(address));
        }
        released
    }

    fn is_usable(&self, address: IpAddr) -> bool {
        self.subnet.contains(&address) && (self.first..=self.last).contains(&number(address))
    }

    fn following(&self, number: u128) -> u128 {
        if number == self.last {
            self.first
        } else {
            number + 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str) -> Pool {
        Pool::new(subnet.parse().unwrap(), []).unwrap()
    }

    fn all(pool: &mut Pool) -> Vec<String> {
        std::iter::from_fn(|| pool.allocate().ok())
            .map(|a| a.to_string())
            .collect()
    }

    #[test]
    fn gives_out_neither_network_nor_gateway_nor_broadcast() {
        assert_eq!(
            all(&mut pool("10.0.0.0/29")),
            ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
        );
        assert_eq!(all(&mut pool("fd00::/126")), ["fd00::2", "fd00::3"]);
        assert_eq!(pool("10.0.0.0/29").gateway().to_string(), "10.0.0.1");
    }

    #[test]
    fn of_a_whole_range_pods_have_every_address() {
        for (range, first, size) in [
            ("10.99.0.16/30", "10.99.0.16", 4),
            ("10.99.0.7/32", "10.99.0.7", 1),
            ("fd00:99::/126", "fd00:99::", 4),
        ] {
            let mut pool = Pool::whole(range.parse().unwrap(), []);
            let all = all(&mut pool);
            assert_eq!((all[0].as_str(), all.len()), (first, size), "{range}");
            assert_eq!(pool.size(), size as u128);
        }
    }

    #[test]
    fn says_which_subnet_is_used_up_and_how_large_it_is() {
        let mut pool = pool("10.0.0.0/29");
        all(&mut pool);
        assert_eq!(
            pool.allocate().unwrap_err().to_string(),
            "subnet 10.0.0.0/29 is used up: 5 of its 5 pod addresses are leased"
        );
    }

    #[test]
    fn refuses_a_subnet_without_room() {
        for (subnet, longest) in [
            ("10.0.0.0/31", "/30"),
            ("10.0.0.1/32", "/30"),
            ("fd00::/127", "/126"),
        ] {
            let error = Pool::new(subnet.parse().unwrap(), [])
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(subnet) && error.ends_with(longest),
                "{error}"
            );
        }
    }

    #[test]
    fn what_was_released_comes_back_last_and_in_order() {
        let mut pool = pool("10.0.0.0/29");
        let first = pool.allocate().unwrap();
        let second = pool.allocate().unwrap();
        pool.release(second);
        pool.release(first);
        assert_eq!(
            all(&mut pool),
            ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.3", "10.0.0.2"]
        );
    }

    #[test]
    fn what_is_released_before_the_search_has_come_by_still_comes_back_last() {
        let taken = ["10.0.0.4".parse().unwrap()];
        let mut pool = Pool::new("10.0.0.0/29".parse().unwrap(), taken).unwrap();
        pool.release(taken[0]);
        assert_eq!(
            all(&mut pool),
            ["10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6", "10.0.0.4"]
        );
    }

    #[test]
    fn goes_on_where_it_was_before_a_restart() {
        let pool = Pool::new(
            "10.0.0.0/29".parse().unwrap(),
            ["10.0.0.6".parse().unwrap()],
        )
        .unwrap();
        let mut pool = pool.resumed_after("10.0.0.4".parse().unwrap());
        assert_eq!(
            all(&mut pool),
            ["10.0.0.5", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
        );
    }

    #[test]
    fn a_certain_address_can_be_claimed_once() {
        let mut pool = pool("10.0.0.0/29");
        let wanted = "10.0.0.3".parse().unwrap();
        pool.claim(wanted).unwrap();
        assert_eq!(
            pool.claim(wanted),
            Err(ClaimError::Leased { address: wanted })
        );
        for (address, why) in [
            ("10.0.0.1", "reserved"),
            ("10.0.0.7", "reserved"),
            ("10.0.1.2", "not in subnet"),
            ("fd00::1", "not in subnet"),
        ] {
            let error = pool
                .claim(address.parse().unwrap())
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(!all(&mut pool).contains(&"10.0.0.3".to_owned()));
    }

    #[test]
    fn releasing_what_is_not_leased_changes_nothing() {
        let mut pool = pool("10.0.0.0/29");
        assert!(!pool.release("10.0.0.2".parse().unwrap()));
        assert!(!pool.release("192.168.0.1".parse().unwrap()));
        assert_eq!(all(&mut pool).len(), 5);
    }

    #[test]
    fn a_whole_ipv6_range_is_no_burden() {
        let mut pool = pool("::/0");
        assert_eq!(pool.allocate().unwrap().to_string(), "::2");
        assert_eq!(pool.size(), u128::MAX - 1);
    }
}
