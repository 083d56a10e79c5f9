//! The bridge that pods are ports of.

use sealane_net::{IpNet, Mac, Mtu, names};
use sealane_route::{Routing, Underlay};
use serde::Serialize;

use super::{Observed, Site, Step, mac_of};

/// What the bridge should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BridgeProgram {
    pub name: &'static str,
    /// Fixed, since a bridge otherwise takes the lowest address among its
    /// ports, and pods would send to a gateway that has just changed its own.
    pub mac: Mac,
    pub mtu: Mtu,
    /// The gateway of each pod subnet, with the subnet's prefix length.
    pub gateways: Vec<IpNet>,
}

impl BridgeProgram {
    pub(super) fn of(gateways: &[IpNet], site: &Site, underlay: &Underlay) -> Self {
        Self {
            name: names::POD_BRIDGE,
            mac: mac_of(gateways.iter().map(IpNet::addr)),
            mtu: site
                .bridged_mtu
                .unwrap_or_else(|| new_pods_mtu(site, underlay)),
            gateways: gateways.to_vec(),
        }
    }

    /// The gateways, and for IPv6 a link-local address beside them.
    ///
    /// The bridge asks for its pods' Ethernet addresses with a link-local
    /// address. The one that it makes by itself is no use for a second after
    /// the first pod has come, until it is known to be unique.
    pub fn addresses(&self) -> Vec<IpNet> {
        let has_v6 = self.gateways.iter().any(|net| net.addr().is_ipv6());
        let link_local = IpNet::new_assert(names::ROUTED_GATEWAY_V6.into(), 64);
        let link_local = has_v6.then_some(link_local);
        self.gateways.iter().copied().chain(link_local).collect()
    }
}

/// The MTU of a pod on a node without pods.
///
/// All pods of a bridge have the same, since it drops without a word what is
/// too large for a port. So it stays that of the pods that are there when the
/// uplink's changes: routes and links outside the bridge follow, and the node
/// tells pods about them by path-MTU messages; pods that are routed need not
/// be alike. Through the overlay to some nodes, the route to them says what
/// fits; where all are reached through it, pods are spared the messages.
pub(super) fn new_pods_mtu(site: &Site, underlay: &Underlay) -> Mtu {
    match underlay.routing {
        Routing::Vxlan => underlay.tunnel_mtu,
        Routing::Auto | Routing::Direct => site.uplink.mtu,
    }
}

/// What makes the bridge right. The addresses of a former subnet stay on it:
/// pods that still have one would lose their gateway.
pub(super) fn bridge_steps(observed: &Observed, wanted: &BridgeProgram) -> Vec<Step> {
    let mut steps = Vec::new();
    let right = observed.bridge.as_ref().is_some_and(|found| {
        found.up && found.mac == Some(wanted.mac) && found.mtu == wanted.mtu.bytes()
    });
    if !right {
        steps.push(Step::SetBridge(wanted.clone()));
    }
    let has = |address: &IpNet| {
        observed
            .bridge
            .as_ref()
            .is_some_and(|found| found.addresses.contains(address))
    };
    let addresses = wanted.addresses().into_iter();
    let missing = addresses.filter(|address| !has(address));
    steps.extend(missing.map(|address| Step::AddAddress(names::POD_BRIDGE, address)));
    steps
}

/// Takes away a bridge that has no port any more, if it is one that we have made.
pub(super) fn farewell(observed: &Observed, gateways: &[IpNet]) -> Option<Step> {
    let ours = Some(mac_of(gateways.iter().map(IpNet::addr)));
    let found = observed.bridge.as_ref()?;
    (found.ports == 0 && found.mac == ours).then_some(Step::DeleteBridge)
}
