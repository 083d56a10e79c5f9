//! Addresses at which names were answered, and nobody who answers.

use sealane_net::names;

use crate::finding::Finding;
use crate::snapshot::Snapshot;

pub fn judge(s: &Snapshot) -> Vec<Finding> {
    let ours = s.addresses.iter();
    let ours = ours.filter(|address| address.protocol == names::DNS_PROTOCOL);
    let addresses: Vec<String> = ours.map(|a| a.address.addr().to_string()).collect();
    if addresses.is_empty() || s.dns_answers {
        return Vec::new();
    }
    let seen = format!(
        "this node has the DNS server's addresses, {}, and no DNS server",
        addresses.join(" and ")
    );
    vec![
        Finding::error("dns-away", seen)
            .because("what the node's pods ask for is neither answered nor led to another DNS server")
            .next(
                "start `sealane dns` in this network namespace, or give the addresses up: sealane agent cleanup \
                 takes them away; if it runs with another --run-dir, give that here too",
            ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::stage::{address, after};
    use super::*;
    use sealane_netlink::Address;

    #[test]
    fn a_dns_server_that_is_away_is_missed_where_it_was() {
        let was_here = |s: &mut Snapshot| {
            s.addresses.push(Address {
                protocol: names::DNS_PROTOCOL,
                ..address(1, "10.96.0.10/32")
            });
        };
        assert_eq!(after(was_here), ["dns-away"]);
        let is_here = |s: &mut Snapshot| {
            was_here(s);
            s.dns_answers = true;
        };
        assert_eq!(after(is_here), [""; 0]);
    }
}
