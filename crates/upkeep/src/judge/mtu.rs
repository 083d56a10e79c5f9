//! Packets that are too large for the next link disappear without a word.

use sealane_net::names;
use sealane_netlink::Link;

use crate::finding::Finding;
use crate::snapshot::Snapshot;

/// What VXLAN takes, by the family of the nodes' addresses (RFC 7348 §5).
const OVER_V4: u32 = 50;
const OVER_V6: u32 = 70;

pub fn judge(s: &Snapshot) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(ports(s));
    found.extend(bridge(s));
    found.extend(overlay(s));
    found
}

/// A bridge drops what is larger than the port that it should leave by.
fn ports(s: &Snapshot) -> Vec<Finding> {
    let pods = on_bridge(s);
    let Some(most) = pods.iter().map(|link| link.mtu).max() else {
        return vec![];
    };
    let smaller = pods.iter().filter(|link| link.mtu < most);
    smaller
        .map(|link| {
            let (name, mtu) = (&link.name, link.mtu);
            let seen = format!("link {name} has MTU {mtu}, those of other pods have {most}");
            Finding::error("mtu", seen)
                .because("the bridge drops what other pods send to this one in full size")
                .next(format!(
                    "ip link set {name} mtu {most}, or start the pod anew"
                ))
        })
        .collect()
}

/// Pods' links that are ports of the bridge.
fn on_bridge(s: &Snapshot) -> Vec<&Link> {
    let bridge = s.link(names::POD_BRIDGE).map(|link| link.index);
    let is_port = |link: &&Link| names::is_pod_link(&link.name) && link.master == bridge;
    let all = s.links.iter().filter(is_port);
    all.filter(|_| bridge.is_some()).collect()
}

fn bridge(s: &Snapshot) -> Option<Finding> {
    let bridge = s.link(names::POD_BRIDGE)?;
    let largest = on_bridge(s).iter().map(|link| link.mtu).max()?;
    (bridge.mtu < largest).then(|| {
        Finding::warning("mtu", format!("{} has MTU {}, pods have {largest}", bridge.name, bridge.mtu))
            .because("the node sends its pods smaller packets than they send it; what they send each other in full size may be dropped")
            .next(format!("ip link set {} mtu {largest}", bridge.name))
    })
}

fn overlay(s: &Snapshot) -> Vec<Finding> {
    let mut found = Vec::new();
    let (Some(overlay), Some(uplink)) = (s.link(names::VXLAN), s.uplink()) else {
        return found;
    };
    let over_v6 = overlay.tunnel.is_some_and(|tunnel| tunnel.local.is_ipv6());
    let overhead = if over_v6 { OVER_V6 } else { OVER_V4 };
    let fits = uplink.mtu.saturating_sub(overhead);
    let seen = format!(
        "{} has MTU {} and {} takes {overhead} bytes of it",
        uplink.name, uplink.mtu, overlay.name
    );
    let why = "full-size packets to pods of nodes behind a router are cut up or lost: small requests work, large answers hang";
    if overlay.mtu > fits {
        found.push(
            Finding::error(
                "mtu",
                format!("{} has MTU {}, but {seen}", overlay.name, overlay.mtu),
            )
            .because(why)
            .next(format!(
                "ip link set {} mtu {fits}; the agent does so when it is told of the change",
                overlay.name
            )),
        );
    }
    let by_it = |route: &&sealane_net::Route| route.device.as_deref() == Some(names::VXLAN);
    for route in s.routes.iter().filter(by_it) {
        if let Some(mtu) = route.mtu.filter(|mtu| mtu.bytes() > fits) {
            found.push(
                Finding::error(
                    "mtu",
                    format!(
                        "the route to {} allows {mtu} bytes, but {seen}",
                        route.destination
                    ),
                )
                .because(why)
                .next(format!(
                    "ip route delete {}: the agent sets it anew",
                    route.destination
                )),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::stage::{after, link};
    use crate::snapshot::Snapshot;

    #[test]
    fn what_does_not_fit_is_told() {
        let mtu = |name: &'static str, mtu: u32| {
            after(move |s: &mut Snapshot| {
                let link = s.links.iter_mut().find(|link| link.name == name).unwrap();
                link.mtu = mtu;
            })
        };
        assert_eq!(mtu("eth0", 9000), [""; 0]);
        // The overlay's link, and the route through it.
        assert_eq!(mtu("eth0", 1400), ["mtu", "mtu"]);
        assert_eq!(mtu("sl.vxlan", 1500), ["mtu"]);
        assert_eq!(mtu("cbr0", 1400), ["mtu"]);
        let two_pods = |s: &mut Snapshot| {
            let mut pod = link(8, "sl0000000000ab", "veth", 1400);
            pod.master = Some(3);
            s.links.push(pod);
        };
        assert_eq!(after(two_pods), ["mtu"]);
    }
}
