//! Settings and counters below /proc.

use std::fs;

use sealane_netlink::sysctl;

use crate::snapshot::{Counters, Snapshot};

/// Those of no link.
const KEYS: &[&str] = &[
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.neigh.default.gc_thresh3",
];

pub(super) fn read(snapshot: &mut Snapshot) {
    let mut keys: Vec<String> = KEYS.iter().map(ToString::to_string).collect();
    for link in &snapshot.links {
        for (family, setting) in [
            ("ipv4", "rp_filter"),
            ("ipv4", "forwarding"),
            ("ipv6", "accept_ra"),
        ] {
            keys.push(format!("net/{family}/conf/{}/{setting}", link.name));
        }
    }
    for key in keys {
        if let Ok(value) = sysctl::get(&key) {
            snapshot.sysctls.insert(key, value);
        }
    }
    let number = |key: &str| sysctl::get(key).ok()?.parse().ok();
    snapshot.counters = Counters {
        reverse_path_drops: extended("IPReversePathFilter").unwrap_or(0),
        connections: number("net.netfilter.nf_conntrack_count"),
        connections_max: number("net.netfilter.nf_conntrack_max"),
        connections_dropped: per_processor("nf_conntrack", "drop"),
        neighbours_full: per_processor("arp_cache", "table_fulls"),
    };
}

/// A counter of `/proc/net/netstat`: a line of names, then one of values.
fn extended(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat").ok()?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split(' ').position(|word| word == name)?;
    values.split(' ').nth(place)?.parse().ok()
}

/// A column of a file of `/proc/net/stat`, hexadecimal, a line for each processor.
fn per_processor(file: &str, column: &str) -> u64 {
    let path = format!("/proc/thread-self/net/stat/{file}");
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines();
    let names = lines.next().unwrap_or_default().split_whitespace();
    let Some(place) = names.into_iter().position(|word| word == column) else {
        return 0;
    };
    let value = |line: &str| u64::from_str_radix(line.split_whitespace().nth(place)?, 16).ok();
    lines.filter_map(value).sum()
}
