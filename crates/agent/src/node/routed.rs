//! What pods that are routed share.
//!
//! ```text
//! pod 10.244.1.5/32                                    node
//! default via 169.254.1.1 ── eth0 ════ sl0123456789ab ── 10.244.1.5 dev sl0123456789ab src 10.244.1.1
//!                                                        unreachable 10.244.1.0/24 metric 9400
//!                                                        lo 10.244.1.1/32
//! ```
//!
//! Each pod's own route comes and goes with its link ([`crate::wire`]). The node
//! speaks to its pods, and through the overlay to others', with the gateway
//! address of their subnet, as it does where they are ports of a bridge: it is
//! the one address that a node has in every family of its pods, whatever its own
//! are. It stands on `lo`, which is always there, with our number.
//!
//! What is sent to an address of the subnet that no pod has must not take the
//! default route, from where it would come back: the subnet itself is
//! unreachable, and who sends is told at once. Of routes to the same network
//! the bridge's wins by its metric.
//!
//! While a node has pods of both kinds, those on the bridge take the others'
//! addresses to be on their link; the node answers for them there.

use std::{collections::BTreeSet, net::IpAddr};

use sealane_net::{IpNet, Route, names};
use serde::Serialize;

use super::{Observed, Site, Step};

/// The link that holds the gateways' addresses.
pub(super) const HOLDER: &str = "lo";

/// What the node holds for pods that are routed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutedProgram {
    /// The gateway of each pod subnet, alone.
    pub addresses: Vec<IpNet>,
    /// Of each pod subnet, and of each block of a named pool.
    #[serde(skip)]
    pub unreachable: Vec<Route>,
    /// The pods for which the node answers on the bridge.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub proxied: BTreeSet<IpAddr>,
}

/// What was found of it.
#[derive(Clone, Debug, Default)]
pub struct ObservedRouted {
    /// The addresses on [`HOLDER`].
    pub addresses: Vec<IpNet>,
    /// Those of them that carry our number.
    pub ours: Vec<IpNet>,
    /// Whom the node answers for on the bridge.
    pub proxied: BTreeSet<IpAddr>,
}

impl RoutedProgram {
    pub(super) fn of(
        gateways: &[IpNet],
        blocks: &[IpNet],
        site: &Site,
        beside_bridge: bool,
    ) -> Self {
        let unreachable = |network: IpNet| Route::unreachable(network, names::UNREACHABLE_METRIC);
        let subnets = gateways.iter().map(IpNet::trunc);
        let proxied = if beside_bridge {
            site.routed.iter().copied().collect()
        } else {
            BTreeSet::new()
        };
        Self {
            addresses: gateways.iter().map(|g| IpNet::from(g.addr())).collect(),
            unreachable: subnets
                .chain(blocks.iter().copied())
                .map(unreachable)
                .collect(),
            proxied,
        }
    }
}

/// What has to be there before routes are set, and what goes after.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RoutedSteps {
    pub before: Vec<Step>,
    pub after: Vec<Step>,
}

pub(super) fn routed_steps(observed: &Observed, wanted: Option<&RoutedProgram>) -> RoutedSteps {
    let found = &observed.routed;
    let none = (vec![], BTreeSet::new());
    let (addresses, proxied) = wanted.map_or(none, |w| (w.addresses.clone(), w.proxied.clone()));
    let missing = addresses.iter().filter(|a| !found.addresses.contains(a));
    let unwanted = found.ours.iter().filter(|a| !addresses.contains(a));
    let ask = proxied.difference(&found.proxied);
    let stop = found.proxied.difference(&proxied);
    RoutedSteps {
        before: missing
            .map(|address| Step::AddAddress(HOLDER, *address))
            .chain(ask.map(|address| Step::AddProxy(*address)))
            .collect(),
        after: unwanted
            .map(|address| Step::DeleteAddress(HOLDER, *address))
            .chain(stop.map(|address| Step::DeleteProxy(*address)))
            .collect(),
    }
}
