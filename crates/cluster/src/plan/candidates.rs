//! The ranges that a default falls back on, best first.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sealane_net::Family;

/// Node networks of a family.
pub fn node(family: Family) -> Candidates {
    match family {
        Family::V4 => Box::new(node_v4()),
        Family::V6 => Box::new((0x29..=0x99).map(|third| v6(0x172, third, 64))),
    }
}

/// Pod ranges of a family.
pub fn cluster(family: Family) -> Candidates {
    match family {
        Family::V4 => Box::new(cluster_v4()),
        Family::V6 => Box::new((0x244..=0x299).map(|third| v6(0x10, third, 56))),
    }
}

/// Service ranges of a family.
pub fn service(family: Family) -> Candidates {
    match family {
        Family::V4 => Box::new(service_v4()),
        Family::V6 => Box::new((0x96..=0x99).map(|third| v6(0x10, third, 112))),
    }
}

/// Ranges, best first.
pub type Candidates = Box<dyn Iterator<Item = IpNet>>;

/// Unique local addresses (RFC 4193) that read like those of IPv4: `fd00:172:29::/64`.
fn v6(second: u16, third: u16, prefix_len: u8) -> IpNet {
    let network = Ipv6Addr::new(0xfd00, second, third, 0, 0, 0, 0, 0);
    Ipv6Net::new_assert(network, prefix_len).into()
}

/// Node networks: 172.29.0.0/24 and the ones after it.
fn node_v4() -> impl Iterator<Item = IpNet> {
    (29..=31).flat_map(|second| (0..=255).map(move |third| v4(172, second, third, 24)))
}

/// Pod ranges: 10.244.0.0/16 as Kubernetes' own tools have it, the ones after
/// it, the ones below; where all of 10/8 is routed elsewhere, as many a VPN has
/// it, shared address space (RFC 6598).
fn cluster_v4() -> impl Iterator<Item = IpNet> {
    let private = (244..=254)
        .chain((16..=243).rev())
        .map(|second| v4(10, second, 0, 16));
    private.chain((64..=95).map(|second| v4(100, second, 0, 16)))
}

/// Service ranges: 10.96.0.0/12 as kubeadm has it, then any other twelfth of
/// 10/8, then of shared address space.
fn service_v4() -> impl Iterator<Item = IpNet> {
    let private = (6..=14).chain(1..=5).map(|step| v4(10, step * 16, 0, 12));
    private.chain((6..=7).map(|step| v4(100, step * 16, 0, 12)))
}

fn v4(first: u8, second: u8, third: u8, prefix_len: u8) -> IpNet {
    Ipv4Net::new_assert(Ipv4Addr::new(first, second, third, 0), prefix_len).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(family: Family) -> Vec<String> {
        let first = [
            node(family).next(),
            cluster(family).next(),
            service(family).next(),
        ];
        let found = first.into_iter().flatten();
        found.map(|range| range.to_string()).collect()
    }

    #[test]
    fn the_first_candidates_are_the_documented_defaults() {
        assert_eq!(
            first(Family::V4),
            ["172.29.0.0/24", "10.244.0.0/16", "10.96.0.0/12"]
        );
        assert_eq!(
            first(Family::V6),
            ["fd00:172:29::/64", "fd00:10:244::/56", "fd00:10:96::/112"]
        );
    }

    #[test]
    fn every_candidate_is_a_network_address() {
        for family in Family::ALL {
            for range in node(family).chain(cluster(family)).chain(service(family)) {
                assert_eq!(range, range.trunc());
            }
        }
    }
}
