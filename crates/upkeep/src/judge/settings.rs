//! Settings of the kernel: forwarding, reverse-path filters, bridged packets, ports.

use sealane_net::{Family, names};

use crate::finding::Finding;
use crate::snapshot::{Snapshot, is_default};

pub fn judge(s: &Snapshot) -> Vec<Finding> {
    let mut found = Vec::new();
    for family in s.families() {
        found.extend(forwarding(s, family));
        found.extend(bridged(s, family));
    }
    found.extend(router_advertisements(s));
    found.extend(reverse_path(s));
    found.extend(node_ports(s));
    found
}

fn off(key: &str, value: &str, why: &str) -> Finding {
    let file = "/etc/sysctl.d/90-sealane.conf";
    Finding::error("forwarding", format!("{key} is {value}"))
        .because(why)
        .next(format!(
            "sysctl -w {key}=1, and `{key} = 1` in {file} if something turns it off again"
        ))
}

fn forwarding(s: &Snapshot, family: Family) -> Vec<Finding> {
    let key = match family {
        Family::V4 => "net.ipv4.ip_forward",
        Family::V6 => "net.ipv6.conf.all.forwarding",
    };
    if s.sysctl(key) == Some("0") {
        let why = "the node drops every packet between its pods and anybody else, without a word";
        return vec![off(key, "0", why)];
    }
    if family == Family::V6 {
        return vec![];
    }
    // IPv4 asks the link by which a packet comes.
    let closed = s.links.iter().filter(|link| {
        let key = format!("net/ipv4/conf/{}/forwarding", link.name);
        let carries = Snapshot::is_ours(&link.name)
            || s.uplink().is_some_and(|uplink| uplink.name == link.name);
        carries && s.sysctl(&key) == Some("0")
    });
    closed
        .map(|link| {
            let key = format!("net/ipv4/conf/{}/forwarding", link.name);
            off(
                &key,
                "0",
                "packets that come by this link are not forwarded",
            )
        })
        .collect()
}

/// What pods of one node send each other crosses the bridge only, unless it is handed to nftables.
fn bridged(s: &Snapshot, family: Family) -> Option<Finding> {
    if s.settings.attachment == "routed" {
        return None;
    }
    let key = match family {
        Family::V4 => "net.bridge.bridge-nf-call-iptables",
        Family::V6 => "net.bridge.bridge-nf-call-ip6tables",
    };
    let why = "a pod does not reach a Service whose endpoint is a pod on the same bridge: the answer goes back without its translation";
    match s.sysctl(key) {
        None => Some(
            Finding::warning("bridge-netfilter", format!("{key} is not there"))
                .because(why)
                .next("modprobe br_netfilter, and `br_netfilter` in /etc/modules-load.d/sealane.conf; or --attachment routed, which does not need it"),
        ),
        Some("0") => Some(
            Finding::warning("bridge-netfilter", format!("{key} is 0"))
                .because(why)
                .next(format!("sysctl -w {key}=1")),
        ),
        Some(_) => None,
    }
}

/// A router does not listen to other routers unless it is told to.
fn router_advertisements(s: &Snapshot) -> Option<Finding> {
    const BY_ADVERTISEMENT: u8 = 9;
    let uplink = s.uplink()?;
    let key = format!("net/ipv6/conf/{}/accept_ra", uplink.name);
    let by_router = s.routes.iter().any(|route| {
        is_default(route)
            && route.protocol == BY_ADVERTISEMENT
            && route.device.as_ref() == Some(&uplink.name)
    });
    let forwards = s.sysctl("net.ipv6.conf.all.forwarding") == Some("1");
    (by_router && forwards && s.sysctl(&key) == Some("1")).then(|| {
        Finding::warning(
            "router-advertisements",
            format!("{key} is 1 while IPv6 is forwarded"),
        )
        .because("the node's IPv6 default route comes from a router, and will expire")
        .next(format!("sysctl -w {key}=2"))
    })
}

/// Strict filters drop what comes by another link than the way back would take.
fn reverse_path(s: &Snapshot) -> Vec<Finding> {
    let all = s.sysctl("net.ipv4.conf.all.rp_filter").unwrap_or("0");
    let strict = |name: &str| {
        let key = format!("net/ipv4/conf/{name}/rp_filter");
        let own = s.sysctl(&key).unwrap_or("0");
        // The larger of the two counts, and 2 is loose.
        (all == "1" || own == "1") && all != "2" && own != "2"
    };
    let mut found = Vec::new();
    for peer in s.peers() {
        let v4 = |ip: &&std::net::IpAddr| ip.is_ipv4();
        let Some(address) = peer.internal_ips.iter().find(v4) else {
            continue;
        };
        let Some(comes_by) = s.route_to(*address).and_then(|route| route.device.clone()) else {
            continue;
        };
        for subnet in peer.pod_cidrs.iter().filter(|net| net.addr().is_ipv4()) {
            let way_back = s.route_to(subnet.addr()).and_then(|r| r.device.clone());
            let Some(way_back) = way_back.filter(|dev| *dev != comes_by && dev != names::VXLAN)
            else {
                continue;
            };
            if strict(&comes_by) {
                found.push(
                    Finding::error(
                        "reverse-path-filter",
                        format!(
                            "rp_filter is strict on {comes_by}, by which packets of {subnet} ({}) come, and the way back is {way_back}",
                            peer.name
                        ),
                    )
                    .because("the node drops them, without a word")
                    .next(format!("sysctl -w net/ipv4/conf/{comes_by}/rp_filter=2")),
                );
            }
        }
    }
    let drops = s.counters.reverse_path_drops;
    let links: Vec<&str> = s
        .links
        .iter()
        .map(|l| &*l.name)
        .filter(|n| strict(n))
        .collect();
    if found.is_empty() && drops > 0 && !links.is_empty() {
        found.push(
            Finding::warning(
                "reverse-path-filter",
                format!("rp_filter is strict on {} and has dropped {drops} packets", links.join(", ")),
            )
            .because("packets that come by another link than the way back are dropped; those may be strangers', or pods' on a node with several links")
            .next(format!(
                "if they are pods': sysctl -w net/ipv4/conf/{}/rp_filter=2; `nstat -az TcpExtIPReversePathFilter` counts on",
                links[0]
            )),
        );
    }
    found
}

fn node_ports(s: &Snapshot) -> Option<Finding> {
    const NODE_PORTS: (u16, u16) = (30000, 32767);
    let key = "net.ipv4.ip_local_port_range";
    let mut ends = s.sysctl(key)?.split_whitespace().map(str::parse::<u16>);
    let (low, high) = (ends.next()?.ok()?, ends.next()?.ok()?);
    let reserved = s.sysctl("net.ipv4.ip_local_reserved_ports").unwrap_or("");
    let overlap = low <= NODE_PORTS.1 && high >= NODE_PORTS.0;
    (overlap && !reserved.contains("30000-32767")).then(|| {
        Finding::warning("node-ports", format!("{key} is {low} {high}"))
            .because("programs of the node take ports of NodePort Services (30000-32767) for their own connections, and those then fail now and then")
            .next("sysctl -w net.ipv4.ip_local_reserved_ports=30000-32767")
    })
}

#[cfg(test)]
mod tests {
    use super::super::stage::{after, foreign, link, well};
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Vec<&'static str> {
        after(|s| {
            for (key, value) in pairs {
                s.sysctls.insert((*key).into(), (*value).into());
            }
        })
    }

    #[test]
    fn each_setting_is_judged() {
        for (pairs, expected) in [
            (&[("net.ipv4.ip_forward", "0")][..], &["forwarding"][..]),
            (&[("net/ipv4/conf/eth0/forwarding", "0")], &["forwarding"]),
            // Pods have no IPv6 here.
            (&[("net.ipv6.conf.all.forwarding", "0")], &[]),
            (
                &[("net.bridge.bridge-nf-call-iptables", "0")],
                &["bridge-netfilter"],
            ),
            (
                &[("net.ipv4.ip_local_port_range", "1024\t65535")],
                &["node-ports"],
            ),
            (&[("net.ipv4.ip_local_port_range", "32768\t60999")], &[]),
            (
                &[
                    ("net.ipv4.ip_local_port_range", "1024 65535"),
                    ("net.ipv4.ip_local_reserved_ports", "30000-32767"),
                ],
                &[],
            ),
        ] {
            assert_eq!(with(pairs), expected, "{pairs:?}");
        }
        let absent =
            |s: &mut Snapshot| drop(s.sysctls.remove("net.bridge.bridge-nf-call-iptables"));
        assert_eq!(after(absent), ["bridge-netfilter"]);
        let routed = |s: &mut Snapshot| {
            absent(s);
            s.settings.attachment = "routed".into();
        };
        assert_eq!(after(routed), [""; 0]);
    }

    #[test]
    fn six_is_judged_where_pods_have_it() {
        let mut s = well();
        let nodes = s.nodes.as_mut().unwrap();
        nodes[0].pod_cidrs.push("fd00::/64".parse().unwrap());
        s.sysctls
            .insert("net.ipv6.conf.all.forwarding".into(), "0".into());
        let found: Vec<String> = judge(&s).into_iter().map(|f| f.seen).collect();
        assert_eq!(found[0], "net.ipv6.conf.all.forwarding is 0");
        assert_eq!(found[1], "net.bridge.bridge-nf-call-ip6tables is not there");
    }

    #[test]
    fn a_default_route_of_a_router_is_kept() {
        let seen = after(|s| {
            s.routes.push(sealane_net::Route {
                protocol: 9,
                ..foreign("::/0", "eth0", Some("fe80::1"))
            });
            s.sysctls
                .insert("net.ipv6.conf.all.forwarding".into(), "1".into());
            s.sysctls
                .insert("net/ipv6/conf/eth0/accept_ra".into(), "1".into());
        });
        assert_eq!(seen, ["router-advertisements"]);
    }

    #[test]
    fn a_strict_filter_is_wrong_where_ways_differ_or_it_has_dropped() {
        let two_ways = |s: &mut Snapshot| {
            s.links.push(link(9, "eth1", "", 1500));
            s.routes[3].device = Some("eth1".into());
        };
        assert_eq!(after(two_ways), ["reverse-path-filter"]);
        let loose = |s: &mut Snapshot| {
            two_ways(s);
            s.sysctls
                .insert("net.ipv4.conf.all.rp_filter".into(), "2".into());
        };
        assert_eq!(after(loose), [""; 0]);
        let counted = |s: &mut Snapshot| s.counters.reverse_path_drops = 7;
        assert_eq!(after(counted), ["reverse-path-filter"]);
    }
}
