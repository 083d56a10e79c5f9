//! What this machine already uses, read for the planner.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use sealane_net::{Mtu, Route, Use};
use sealane_netlink::{Link, Netlink};

use crate::layout::{RUN_ROOT, STATE_ROOT};
use crate::plan::{ClusterName, Observed, Plan};
use crate::record::Record;

/// Reads addresses, routes, listening ports and other clusters. What belongs to
/// cluster `name` itself is left out: a cluster does not stand in its own way.
///
/// # Errors
/// When the kernel does not answer.
pub async fn observe(name: &ClusterName) -> sealane_netlink::Result<Observed> {
    let netlink = Netlink::in_current()?;
    let links = netlink.links().await?;
    let routes = netlink.routes().await?;
    let own = name.machine_link();
    let link_name = |index| {
        let link = links.iter().find(|link| link.index == index);
        link.map_or("a link that is gone", |link| link.name.as_str())
    };
    let mut uses = Vec::new();
    for address in netlink.addresses().await? {
        let link = link_name(address.link);
        if link != own {
            let ip = address.address.addr();
            let purpose = format!("an address of this machine, {ip} on {link}");
            uses.push(Use::of_network(purpose, address.address.trunc()));
        }
    }
    uses.extend(
        routes
            .iter()
            .filter(|route| !is_default(route))
            .filter_map(|route| use_of_route(route, &own)),
    );
    let others = other_clusters(name);
    uses.extend(others.iter().flat_map(uses_of_cluster));
    Ok(Observed {
        uses,
        listeners: listeners().into_iter().chain(promised(&others)).collect(),
        uplink_mtu: uplink_mtu(&routes, &links),
    })
}

fn use_of_route(route: &Route, own: &str) -> Option<Use> {
    let device = route.device.as_deref().unwrap_or("?");
    let purpose = match route.gateway {
        Some(gateway) => format!("a route of this machine, via {gateway} dev {device}"),
        None => format!("a route of this machine, dev {device}"),
    };
    (device != own).then(|| Use::of_network(purpose, route.destination))
}

/// A default route, or a half of one as VPN clients install them.
fn is_default(route: &Route) -> bool {
    route.destination.prefix_len() <= 1
}

fn uplink_mtu(routes: &[Route], links: &[Link]) -> Option<Mtu> {
    let default = routes
        .iter()
        .filter(|route| route.destination.prefix_len() == 0 && route.destination.addr().is_ipv4())
        .min_by_key(|route| route.metric)?;
    let device = default.device.as_deref()?;
    let link = links.iter().find(|link| link.name == device)?;
    Mtu::new(link.mtu).ok()
}

/// Plans of the other clusters on this machine, running or kept.
fn other_clusters(name: &ClusterName) -> Vec<Plan> {
    let mut states: Vec<PathBuf> = subdirectories(Path::new(RUN_ROOT))
        .filter_map(|run| fs::read_link(run.join("state")).ok())
        .chain(subdirectories(Path::new(STATE_ROOT)))
        .collect();
    states.sort();
    states.dedup();
    let plans = states
        .iter()
        .filter_map(|state| Record::read(&state.join("cluster.json")).ok()?);
    plans
        .map(|record| record.plan)
        .filter(|plan| plan.name != *name)
        .collect()
}

fn subdirectories(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

fn uses_of_cluster(plan: &Plan) -> Vec<Use> {
    let of = |what, ranges| {
        let purpose = format!(
            "{what} of cluster {} (`sealane down --name {}` removes it)",
            plan.name, plan.name
        );
        Use::of_ranges(&purpose, ranges)
    };
    // Service addresses never leave a cluster's own nodes, so clusters may share them.
    [of("nodes", &plan.node_cidr), of("pods", &plan.cluster_cidr)].concat()
}

/// What other clusters have chosen to listen on, which they may be about to do.
fn promised(others: &[Plan]) -> impl Iterator<Item = SocketAddr> {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    others
        .iter()
        .map(move |plan| SocketAddr::new(local, plan.local_port))
}

/// Listening TCP sockets of this machine.
fn listeners() -> Vec<SocketAddr> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| table.lines().filter_map(parse_listener).collect::<Vec<_>>())
        .collect()
}

/// A line of `/proc/net/tcp` (proc_net_tcp.txt): `sl: local_address rem_address st …`.
fn parse_listener(line: &str) -> Option<SocketAddr> {
    const LISTEN: &str = "0A";
    let mut words = line.split_whitespace().skip(1);
    let (local, state) = (words.next()?, words.nth(1)?);
    if state != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    Some(SocketAddr::new(
        parse_address(address)?,
        u16::from_str_radix(port, 16).ok()?,
    ))
}

/// Each group of eight digits is a 32-bit word as the processor stores it.
fn parse_address(digits: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = (0..digits.len() / 8)
        .map(|n| {
            u32::from_str_radix(digits.get(n * 8..n * 8 + 8)?, 16)
                .ok()
                .map(u32::to_ne_bytes)
        })
        .collect::<Option<_>>()?;
    let bytes = words.concat();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Asked, resolve};

    #[test]
    fn listening_sockets_and_no_others_are_read() {
        for (line, expected) in [
            ("  sl  local_address rem_address   st tx_queue", None),
            (
                "   0: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000",
                Some("127.0.0.1:6443"),
            ),
            (
                "   1: 0100007F:192B 0100007F:D431 01 00000000:00000000 00:00000000 00000000",
                None,
            ),
            (
                "   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0",
                Some("[::1]:80"),
            ),
        ] {
            assert_eq!(
                parse_listener(line),
                expected.map(|text| text.parse().unwrap()),
                "{line}"
            );
        }
    }

    #[test]
    fn what_another_cluster_is_about_to_listen_on_is_taken() {
        let first = resolve(&Asked::default(), &Observed::default()).unwrap();
        let observed = Observed {
            listeners: promised(std::slice::from_ref(&first)).collect(),
            ..Observed::default()
        };
        let second = resolve(&Asked::default(), &observed).unwrap();
        assert_eq!(second.local_port, first.local_port + 1);
    }

    #[tokio::test]
    async fn this_machines_loopback_is_in_use_and_its_default_route_is_not() {
        let observed = observe(&ClusterName::default()).await.unwrap();
        let loopback = "127.0.0.0/8".parse().unwrap();
        assert!(
            observed.uses.iter().any(|used| used.range == loopback),
            "{observed:?}"
        );
        assert!(
            observed.uses.iter().all(|used| used.range.prefix_len() > 1),
            "{observed:?}"
        );
    }

    #[test]
    fn the_mtu_is_that_of_the_preferred_default_route() {
        let link = |index, name: &str, mtu| Link {
            index,
            name: name.to_owned(),
            kind: String::new(),
            mac: None,
            mtu,
            up: true,
            master: None,
            peer: None,
            alias: None,
            tunnel: None,
        };
        let links = [link(1, "eth0", 1500), link(2, "wg0", 1420)];
        let via = |device, metric| Route {
            metric,
            ..Route::on_link("0.0.0.0/0".parse().unwrap(), device)
        };
        let routes = [via("eth0", 100), via("wg0", 50)];
        assert_eq!(uplink_mtu(&routes, &links), Mtu::new(1420).ok());
        assert_eq!(uplink_mtu(&routes[..1], &links), Mtu::new(1500).ok());
        assert_eq!(uplink_mtu(&[], &links), None);
    }
}
