//! Zones as Corefiles name them: domains, or ranges of addresses.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sealane_message::Name;

/// The zones that a word stands for: a domain is one, a range of addresses those of its reverse
/// names, at most 128.
pub(crate) fn zones(text: &str) -> Result<Vec<Name>, String> {
    if text.contains('/') {
        let range: IpNet = text
            .parse()
            .map_err(|_| format!("{text:?} is neither a zone nor a range of addresses"))?;
        return Ok(reverse(range));
    }
    let name: Name = text.parse().map_err(|error| format!("{error}"))?;
    Ok(vec![name])
}

/// Reverse names end at octets, those of IPv6 at half ones: a range between is several zones.
fn reverse(range: IpNet) -> Vec<Name> {
    let (bits, address) = match range {
        IpNet::V4(_) => (8, range.network()),
        IpNet::V6(_) => (4, range.network()),
    };
    let length = range.prefix_len().next_multiple_of(bits);
    let subnets: Vec<IpNet> = match range {
        IpNet::V4(v4) => {
            let whole = Ipv4Net::new_assert(v4.network(), v4.prefix_len());
            whole
                .subnets(length)
                .into_iter()
                .flatten()
                .map(IpNet::V4)
                .collect()
        }
        IpNet::V6(v6) => {
            let whole = Ipv6Net::new_assert(v6.network(), v6.prefix_len());
            whole
                .subnets(length)
                .into_iter()
                .flatten()
                .map(IpNet::V6)
                .collect()
        }
    };
    debug_assert!(!subnets.is_empty(), "{address} has subnets");
    let name = |subnet: IpNet| {
        let mut name = Name::reverse(subnet.network());
        let spare = (subnet.max_prefix_len() - length) / bits;
        for _ in 0..spare {
            name = name.parent().unwrap_or(Name::ROOT);
        }
        name
    };
    subnets.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_reverse_zones() {
        for (text, expected) in [
            ("cluster.local", "cluster.local."),
            (".", "."),
            ("10.0.0.0/8", "10.in-addr.arpa."),
            ("10.96.0.0/15", "96.10.in-addr.arpa. 97.10.in-addr.arpa."),
            ("192.0.2.7/24", "2.0.192.in-addr.arpa."),
            ("0.0.0.0/0", "in-addr.arpa."),
            ("fd00:10:96::/48", "6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa."),
            (
                "2001:db8::/31",
                "8.b.d.0.1.0.0.2.ip6.arpa. 9.b.d.0.1.0.0.2.ip6.arpa.",
            ),
        ] {
            let zones = zones(text).unwrap();
            let shown: Vec<String> = zones.iter().map(ToString::to_string).collect();
            assert_eq!(shown.join(" "), expected, "{text}");
        }
        assert!(zones("10.0.0.0/33").unwrap_err().contains("neither a zone"));
        assert!(zones("a..b").is_err());
    }
}
