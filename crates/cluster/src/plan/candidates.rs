//! The ranges that a default falls back on, best first.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

/// Node networks: 172.29.0.0/24 and the ones after it.
pub fn node() -> impl Iterator<Item = IpNet> {
    (29..=31).flat_map(|second| (0..=255).map(move |third| v4(172, second, third, 24)))
}

/// Pod ranges: 10.244.0.0/16 as Kubernetes' own tools have it, the ones after
/// it, the ones below; where all of 10/8 is routed elsewhere, as many a VPN has
/// it, shared address space (RFC 6598).
pub fn cluster() -> impl Iterator<Item = IpNet> {
    let private = (244..=254)
        .chain((16..=243).rev())
        .map(|second| v4(10, second, 0, 16));
    private.chain((64..=95).map(|second| v4(100, second, 0, 16)))
}

/// Service ranges: 10.96.0.0/12 as kubeadm has it, then any other twelfth of
/// 10/8, then of shared address space.
pub fn service() -> impl Iterator<Item = IpNet> {
    let private = (6..=14).chain(1..=5).map(|step| v4(10, step * 16, 0, 12));
    private.chain((6..=7).map(|step| v4(100, step * 16, 0, 12)))
}

fn v4(first: u8, second: u8, third: u8, prefix_len: u8) -> IpNet {
    Ipv4Net::new_assert(Ipv4Addr::new(first, second, third, 0), prefix_len).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_candidates_are_the_documented_defaults() {
        let first = [node().next(), cluster().next(), service().next()];
        let text: Vec<String> = first
            .into_iter()
            .flatten()
            .map(|range| range.to_string())
            .collect();
        assert_eq!(text, ["172.29.0.0/24", "10.244.0.0/16", "10.96.0.0/12"]);
    }

    #[test]
    fn every_candidate_is_a_network_address() {
        for range in node().chain(cluster()).chain(service()) {
            assert_eq!(range, range.trunc());
        }
    }
}
