//! What must hold for every sequence of calls.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use sealane_ipam::{Pool, SubnetAllocator};

#[derive(Clone, Debug)]
enum Step {
    Allocate,
    /// Releases the lease with this index, modulo their number.
    Release(usize),
    /// Claims the subnet's address with this offset.
    Claim(u8),
    /// Rebuilds the pool as a restarted agent does.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Allocate),
        4 => any::<usize>().prop_map(Step::Release),
        1 => any::<u8>().prop_map(Step::Claim),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..300)
}

fn subnets() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (24u8..=30).prop_map(|len| format!("10.244.3.0/{len}").parse().unwrap()),
        (120u8..=126).prop_map(|len| format!("fd00:10:244::/{len}").parse().unwrap()),
        Just("fd00:10:244:5::/64".parse().unwrap()),
    ]
}

fn offset(subnet: &IpNet, offset: u8) -> IpAddr {
    match subnet.network() {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() + u32::from(offset)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() + u128::from(offset)).into()),
    }
}

proptest! {
    #[test]
    fn a_pool_never_gives_an_address_twice_nor_one_that_pods_may_not_have(subnet in subnets(), steps in steps()) {
        let mut pool = Pool::new(subnet, []).unwrap();
        let mut leases: BTreeSet<IpAddr> = BTreeSet::new();
        let mut last = pool.gateway();
        for step in steps {
            match step {
                Step::Allocate => match pool.allocate() {
                    Ok(address) => {
                        prop_assert!(leases.insert(address), "{address} was leased twice");
                        prop_assert!(subnet.contains(&address));
                        prop_assert!(address != pool.gateway() && address != subnet.network());
                        prop_assert!(subnet.addr().is_ipv6() || address != subnet.broadcast());
                        last = address;
                    }
                    Err(error) => {
                        prop_assert_eq!(leases.len() as u128, pool.size());
                        prop_assert_eq!(error.leased, leases.len());
                    }
                },
                Step::Release(index) if !leases.is_empty() => {
                    let address = *leases.iter().nth(index % leases.len()).unwrap();
                    leases.remove(&address);
                    prop_assert!(pool.release(address));
                    prop_assert!(!pool.release(address));
                }
                Step::Release(_) => {}
                Step::Claim(n) => {
                    let address = offset(&subnet, n);
                    if pool.claim(address).is_ok() {
                        prop_assert!(leases.insert(address), "{address} was claimed twice");
                    }
                }
                Step::Restart => {
                    pool = Pool::new(subnet, leases.iter().copied()).unwrap().resumed_after(last);
                }
            }
            prop_assert_eq!(pool.leased(), leases.len());
        }
    }

    #[test]
    fn a_released_address_is_not_given_out_while_another_is_free(subnet in subnets(), steps in steps()) {
        let mut pool = Pool::new(subnet, []).unwrap();
        let mut leases: Vec<IpAddr> = Vec::new();
        // When each address was released, counted in steps; absent is never.
        let mut released: HashMap<IpAddr, usize> = HashMap::new();
        for (now, step) in steps.into_iter().enumerate() {
            match step {
                Step::Allocate => {
                    let Ok(address) = pool.allocate() else { continue };
                    let when = released.remove(&address);
                    if let Some(when) = when {
                        let fresh = pool.size() - leases.len() as u128 - released.len() as u128;
                        prop_assert_eq!(fresh, 1, "an address was free that had never been used");
                        prop_assert!(released.values().all(|other| *other > when));
                    }
                    leases.push(address);
                }
                Step::Release(index) if !leases.is_empty() => {
                    let address = leases.swap_remove(index % leases.len());
                    pool.release(address);
                    released.insert(address, now);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn node_subnets_never_overlap(mask in 20u8..=26, releases in proptest::collection::vec(any::<usize>(), 0..60)) {
        let range: IpNet = "10.244.0.0/20".parse().unwrap();
        let mut allocator = SubnetAllocator::new(range, mask, []).unwrap();
        let mut nodes: Vec<IpNet> = Vec::new();
        for release in releases {
            if release % 3 == 0 && !nodes.is_empty() {
                let subnet = nodes.swap_remove(release % nodes.len());
                prop_assert!(allocator.release(subnet));
            } else if let Ok(subnet) = allocator.allocate() {
                prop_assert!(range.contains(&subnet));
                for other in &nodes {
                    prop_assert!(!other.contains(&subnet) && !subnet.contains(other), "{other} and {subnet}");
                }
                nodes.push(subnet);
            } else {
                prop_assert_eq!(nodes.len() as u128, allocator.size());
            }
        }
    }
}
