//! What a kernel may be built without, and tables of it that may be full.

use sealane_net::Family;

use crate::finding::{Finding, Severity};
use crate::snapshot::{Feature, Snapshot};

pub fn judge(s: &Snapshot) -> Vec<Finding> {
    let missing = s.missing_features.iter();
    let mut found: Vec<Finding> = missing.map(|(f, why)| f.missing(why, s)).collect();
    found.extend(connections(s));
    if s.counters.connections_dropped > 0 && found.is_empty() {
        let drops = s.counters.connections_dropped;
        found.push(
            Finding::warning(
                "connection-tracking",
                format!("{drops} packets found no room for their connection since the boot"),
            )
            .because("connections fail at random while the table is full")
            .next("sysctl -w net.netfilter.nf_conntrack_max=TWICE; `conntrack -C` counts"),
        );
    }
    let times = s.counters.neighbours_full;
    if times > 0 {
        let limit = s
            .sysctl("net.ipv4.neigh.default.gc_thresh3")
            .unwrap_or("1024");
        found.push(
            Finding::warning("neighbours", format!("the table of neighbours was full {times} times; its limit is {limit}"))
                .because("packets to pods and nodes that are not in it are dropped")
                .next("sysctl -w net.ipv4.neigh.default.gc_thresh3=8192 (and gc_thresh2=4096), on the machine itself"),
        );
    }
    found
}

impl Feature {
    fn missing(self, why: &str, s: &Snapshot) -> Finding {
        let uses_overlay = s.settings.routing != "direct";
        let (name, module, severity, use_of_it) = match self {
            Self::Veth => (
                "veth pairs",
                "veth",
                Severity::Error,
                "pods cannot be wired",
            ),
            Self::Bridge => (
                "bridges",
                "bridge",
                Severity::Error,
                "pods cannot be attached by a bridge",
            ),
            Self::Vxlan => (
                "VXLAN",
                "vxlan",
                if uses_overlay {
                    Severity::Warning
                } else {
                    return Self::unused(why);
                },
                "pods of nodes behind a router are not reached",
            ),
            Self::Nft(Family::V4) => (
                "nftables with NAT (IPv4)",
                "nf_tables, nft_chain_nat, nft_masq",
                Severity::Error,
                "the agent cannot load its table, and is not ready",
            ),
            Self::Nft(Family::V6) => (
                "nftables with NAT (IPv6)",
                "nf_tables, nft_chain_nat, nft_masq",
                Severity::Error,
                "the agent cannot load its table for IPv6",
            ),
            Self::TrafficControl => (
                "token buckets of traffic control",
                "sch_tbf",
                Severity::Warning,
                "bandwidth annotations of pods have no effect",
            ),
        };
        Finding::new(
            severity,
            "kernel-feature",
            format!("this kernel has no {name}: {why}"),
        )
        .because(use_of_it)
        .next(format!(
            "modprobe {}; where there is no such module, a kernel that has it",
            module.replace(',', " &&  modprobe").replace("  ", " ")
        ))
    }

    fn unused(why: &str) -> Finding {
        Finding::warning("kernel-feature", format!("this kernel has no VXLAN: {why}"))
            .because("nothing now, with --routing direct")
            .next("nothing, as long as all nodes share a link")
    }
}

fn connections(s: &Snapshot) -> Option<Finding> {
    let (now, most) = (s.counters.connections?, s.counters.connections_max?);
    if most == 0 || now.saturating_mul(10) < most.saturating_mul(9) {
        return None;
    }
    let severity = if now >= most {
        Severity::Error
    } else {
        Severity::Warning
    };
    let seen = format!("{now} of {most} connections are tracked (nf_conntrack_max)");
    Some(
        Finding::new(severity, "connection-tracking", seen)
            .because("a packet of a new connection that finds no room is dropped")
            .next(format!("sysctl -w net.netfilter.nf_conntrack_max={}; what holds so many: conntrack -L | sort -k4", most * 2)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::stage::after;
    use super::*;

    #[test]
    fn full_tables_are_told() {
        let tracked = |now, most| {
            after(move |s| {
                s.counters.connections = Some(now);
                s.counters.connections_max = Some(most);
            })
        };
        assert_eq!(tracked(10, 100), [""; 0]);
        assert_eq!(tracked(91, 100), ["connection-tracking"]);
        assert_eq!(tracked(100, 100), ["connection-tracking"]);
        let dropped = |s: &mut Snapshot| s.counters.connections_dropped = 3;
        assert_eq!(after(dropped), ["connection-tracking"]);
        assert_eq!(after(|s| s.counters.neighbours_full = 1), ["neighbours"]);
    }

    #[test]
    fn missing_features_name_their_modules() {
        let missing = Feature::Nft(Family::V4).missing("no such file", &Snapshot::default());
        assert_eq!(missing.severity, Severity::Error);
        assert!(
            missing
                .next
                .starts_with("modprobe nf_tables && modprobe nft_chain_nat && modprobe nft_masq;"),
            "{}",
            missing.next
        );
    }
}
