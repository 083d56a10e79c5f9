use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sealane_net::{IpNet, Route, names};
use serde::Serialize;

/// One change of the kernel's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Adds the route, or replaces the one with its destination.
    Set(Route),
    /// Removes the route.
    Delete(Route),
}

/// What turns `observed` into `desired`. Routes that carry another number than ours are not looked at.
///
/// Routes are set before others are removed, so that a subnet that is cut up
/// or joined is never without a route.
pub fn diff(observed: &[Route], desired: &[Route]) -> Vec<Change> {
    let wanted: BTreeMap<Entry, &Route> = desired.iter().map(|r| (entry(r), r)).collect();
    let mut served = BTreeSet::new();
    let mut unwanted = Vec::new();
    let ours = observed
        .iter()
        .filter(|route| route.protocol == names::ROUTE_PROTOCOL);
    for route in ours {
        match wanted.get(&entry(route)) {
            Some(wanted) if satisfies(route, wanted) => {
                served.insert(entry(route));
            }
            // To be replaced below.
            Some(_) => {}
            None => unwanted.push(Change::Delete(route.clone())),
        }
    }
    let missing = desired
        .iter()
        .filter(|route| !served.contains(&entry(route)))
        .cloned()
        .map(Change::Set);
    missing.chain(unwanted).collect()
}

/// Table, destination and metric: setting a route replaces the one with the same.
type Entry = (u8, IpNet, u32);

fn entry(route: &Route) -> Entry {
    (route.table, route.destination, route.metric)
}

/// The kernel adds a link, and nothing else, to what was asked for.
fn satisfies(route: &Route, wanted: &Route) -> bool {
    let device_fits = wanted.device.is_none() || wanted.device == route.device;
    device_fits
        && entry(route) == entry(wanted)
        && route.gateway == wanted.gateway
        && route.source == wanted.source
        && route.onlink == wanted.onlink
        && route.mtu == wanted.mtu
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Set(route) => write!(f, "set route {route}"),
            Change::Delete(route) => write!(f, "delete route {route}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn via(destination: &str, gateway: &str) -> Route {
        Route::via(destination.parse().unwrap(), gateway.parse().unwrap())
    }

    #[test]
    fn replaces_adds_and_removes_only_ours() {
        let kernels = Route {
            protocol: 2,
            gateway: None,
            ..via("172.29.0.0/24", "172.29.0.1").dev("eth0")
        };
        let observed = [
            kernels,
            via("10.244.1.0/24", "172.29.0.3").dev("eth0"),
            via("10.244.2.0/24", "172.29.0.4").dev("eth0"),
            via("10.244.9.0/24", "172.29.0.9").dev("eth0"),
        ];
        let desired = [
            via("10.244.1.0/24", "172.29.0.3"),
            via("10.244.2.0/24", "172.29.0.5"),
            via("10.244.3.0/24", "172.29.0.6"),
        ];
        let changes: Vec<String> = diff(&observed, &desired)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            changes,
            [
                "set route 10.244.2.0/24 via 172.29.0.5 proto 94",
                "set route 10.244.3.0/24 via 172.29.0.6 proto 94",
                "delete route 10.244.9.0/24 via 172.29.0.9 dev eth0 proto 94",
            ]
        );
    }

    /// What the kernel does with changes: a set replaces the entry with its
    /// destination and metric and finds a link.
    fn apply(changes: &[Change], mut table: Vec<Route>) -> Vec<Route> {
        for change in changes {
            match change {
                Change::Set(route) => {
                    table.retain(|held| entry(held) != entry(route));
                    let device = route.device.clone().or_else(|| Some("eth0".into()));
                    table.push(Route {
                        device,
                        ..route.clone()
                    });
                }
                Change::Delete(route) => table.retain(|held| held != route),
            }
        }
        table.sort_unstable();
        table
    }

    prop_compose! {
        fn any_route()(n in 0_u8..8, gateway in 1_u8..4, metric in 0_u32..2, ours in any::<bool>()) -> Route {
            let route = via(&format!("10.244.{n}.0/24"), &format!("172.29.0.{gateway}")).dev("eth0");
            // A foreign route never shares an entry with ours.
            let (metric, protocol) = if ours { (metric, names::ROUTE_PROTOCOL) } else { (100, 4) };
            Route { metric, protocol, ..route }
        }
    }

    fn table(routes: Vec<Route>) -> Vec<Route> {
        let sets: Vec<Change> = routes.into_iter().map(Change::Set).collect();
        apply(&sets, vec![])
    }

    proptest! {
        #[test]
        fn applying_the_difference_gives_what_is_desired_and_keeps_what_is_foreign(
            observed in proptest::collection::vec(any_route(), 0..12),
            desired in proptest::collection::vec(any_route(), 0..12),
        ) {
            let is_ours = |route: &Route| route.protocol == names::ROUTE_PROTOCOL;
            let observed = table(observed);
            let desired: Vec<Route> = table(desired).into_iter().filter(is_ours).collect();
            let after = apply(&diff(&observed, &desired), observed.clone());
            let (ours, foreign): (Vec<Route>, Vec<Route>) = after.iter().cloned().partition(is_ours);
            prop_assert_eq!(&ours, &desired);
            let before: Vec<Route> = observed.into_iter().filter(|route| !is_ours(route)).collect();
            prop_assert_eq!(foreign, before);
            prop_assert_eq!(diff(&after, &desired), vec![]);
        }
    }
}
