//! The VXLAN link and its entries: one for each node that the overlay reaches.
//!
//! ```text
//! 10.244.3.7 ── route ──► 10.244.3.1 dev sl.vxlan
//!                             │ neighbour entry
//!                             ▼
//!                         06:5b:2c:… ── forwarding entry ──► UDP to 172.30.0.4
//! ```
//!
//! All entries are permanent and come from the nodes' objects, so nothing is
//! ever asked on the overlay, flooded or learnt. What a route needs is there
//! before it, and goes after it.

use std::{collections::BTreeMap, net::IpAddr};

use sealane_net::{Mac, Mtu, names};
use sealane_netlink::{Link, Netlink, Tunnel, Vxlan};
use sealane_route::RouteTable;
use serde::Serialize;

use super::{NodeError, Step};

/// What the overlay's link should be, and whom it reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlayProgram {
    pub name: &'static str,
    #[serde(serialize_with = "shown")]
    pub tunnel: Tunnel,
    pub mac: Mac,
    pub mtu: Mtu,
    pub peers: Vec<sealane_route::Tunnel>,
}

/// The overlay as found.
#[derive(Clone, Debug)]
pub struct ObservedOverlay {
    pub link: Link,
    pub forwarding: BTreeMap<Mac, IpAddr>,
    /// Permanent ones.
    pub neighbours: BTreeMap<IpAddr, Mac>,
}

impl OverlayProgram {
    /// The overlay that a table of routes needs; `None` when no route takes it.
    pub fn of(node: &str, tunnel: Tunnel, mtu: Mtu, routes: &RouteTable) -> Option<Self> {
        (!routes.tunnels.is_empty()).then(|| Self {
            name: names::VXLAN,
            tunnel,
            mac: sealane_route::tunnel_mac(node),
            mtu,
            peers: routes.tunnels.clone(),
        })
    }

    fn forwarding(&self) -> BTreeMap<Mac, IpAddr> {
        self.peers.iter().map(|p| (p.mac, p.address)).collect()
    }

    fn neighbours(&self) -> BTreeMap<IpAddr, Mac> {
        let of_peer = |peer: &sealane_route::Tunnel| {
            let mac = peer.mac;
            peer.gateways.clone().into_iter().map(move |ip| (ip, mac))
        };
        self.peers.iter().flat_map(of_peer).collect()
    }

    /// For the kernel.
    pub fn vxlan(&self) -> Vxlan<'static> {
        Vxlan {
            name: self.name,
            tunnel: self.tunnel,
            mtu: self.mtu,
            mac: self.mac,
        }
    }
}

fn shown<S: serde::Serializer>(tunnel: &Tunnel, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(tunnel)
}

impl ObservedOverlay {
    pub(super) async fn read(kernel: &Netlink, link: Link) -> Result<Self, NodeError> {
        let forwarding = kernel.forwarding_of(link.index).await?;
        let neighbours = kernel.neighbours().await?.into_iter();
        let permanent = neighbours.filter(|n| n.link == link.index && n.permanent);
        Ok(Self {
            forwarding: forwarding.into_iter().map(|f| (f.mac, f.to)).collect(),
            neighbours: permanent
                .filter_map(|n| Some((n.address, n.mac?)))
                .collect(),
            link,
        })
    }

    /// It can become what is wanted without being made anew.
    fn fits(&self, wanted: &OverlayProgram) -> bool {
        // A link of another kind under our name is reported when ours is made.
        self.link.kind != "vxlan" || self.link.tunnel == Some(wanted.tunnel)
    }
}

/// What has to be done for the overlay before the routes are set, and after.
#[derive(Debug, Default, PartialEq)]
pub struct OverlaySteps {
    pub before: Vec<Step>,
    pub after: Vec<Step>,
    /// The routes through the link go with it.
    pub anew: bool,
}

/// What turns the overlay as found into the wanted one.
pub fn overlay_steps(
    found: Option<&ObservedOverlay>,
    wanted: Option<&OverlayProgram>,
) -> OverlaySteps {
    let Some(wanted) = wanted else {
        let ours = found.is_some_and(|found| found.link.kind == "vxlan");
        return OverlaySteps {
            after: ours.then_some(Step::DeleteOverlay).into_iter().collect(),
            ..OverlaySteps::default()
        };
    };
    let mut steps = OverlaySteps {
        anew: found.is_some_and(|found| !found.fits(wanted)),
        ..OverlaySteps::default()
    };
    if steps.anew {
        steps.before.push(Step::DeleteOverlay);
    }
    let found = found.filter(|_| !steps.anew);
    let right = found.is_some_and(|found| {
        let link = &found.link;
        link.up && link.mac == Some(wanted.mac) && link.mtu == wanted.mtu.bytes()
    });
    if !right {
        steps.before.push(Step::SetOverlay(wanted.vxlan()));
    }
    let (set, gone) = compare(found.map(|f| &f.forwarding), &wanted.forwarding());
    let set = set.map(|(mac, to)| Step::SetForwarding(mac, to));
    steps.before.extend(set);
    steps.after.extend(gone.map(Step::DeleteForwarding));
    let (set, gone) = compare(found.map(|f| &f.neighbours), &wanted.neighbours());
    let set = set.map(|(address, mac)| Step::SetNeighbour(address, mac));
    steps.before.extend(set);
    steps.after.extend(gone.map(Step::DeleteNeighbour));
    steps
}

/// What is missing or different, and what is too much.
fn compare<K: Ord + Copy, V: Eq + Copy>(
    found: Option<&BTreeMap<K, V>>,
    wanted: &BTreeMap<K, V>,
) -> (
    impl Iterator<Item = (K, V)> + use<K, V>,
    impl Iterator<Item = K> + use<K, V>,
) {
    let found = found.cloned().unwrap_or_default();
    let set: Vec<(K, V)> = wanted
        .iter()
        .filter(|(key, value)| found.get(key) != Some(value))
        .map(|(key, value)| (*key, *value))
        .collect();
    let gone: Vec<K> = found
        .keys()
        .filter(|k| !wanted.contains_key(k))
        .copied()
        .collect();
    (set.into_iter(), gone.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: &str, address: &str, gateway: &str) -> sealane_route::Tunnel {
        sealane_route::Tunnel {
            node: node.into(),
            mac: sealane_route::tunnel_mac(node),
            address: address.parse().unwrap(),
            gateways: vec![gateway.parse().unwrap()],
        }
    }

    fn program(peers: Vec<sealane_route::Tunnel>) -> OverlayProgram {
        OverlayProgram {
            name: names::VXLAN,
            tunnel: Tunnel {
                vni: 94,
                port: 4789,
                local: "172.29.0.2".parse().unwrap(),
            },
            mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu: Mtu::new(1450).unwrap(),
            peers,
        }
    }

    fn applied(program: &OverlayProgram) -> ObservedOverlay {
        ObservedOverlay {
            link: Link {
                index: 9,
                name: program.name.into(),
                kind: "vxlan".into(),
                mac: Some(program.mac),
                mtu: program.mtu.bytes(),
                up: true,
                master: None,
                peer: None,
                alias: None,
                tunnel: Some(program.tunnel),
            },
            forwarding: program.forwarding(),
            neighbours: program.neighbours(),
        }
    }

    fn text(steps: &[Step]) -> Vec<String> {
        steps.iter().map(ToString::to_string).collect()
    }

    fn two() -> OverlayProgram {
        program(vec![
            peer("node-2", "172.30.0.3", "10.244.2.1"),
            peer("node-3", "172.30.0.4", "10.244.3.1"),
        ])
    }

    #[test]
    fn is_made_with_its_entries_and_then_left_alone() {
        let wanted = program(vec![peer("node-2", "172.30.0.3", "10.244.2.1")]);
        let steps = overlay_steps(None, Some(&wanted));
        let mac = sealane_route::tunnel_mac("node-2");
        assert_eq!(
            text(&steps.before),
            [
                "set vxlan sl.vxlan id 94 dstport 4789 local 172.29.0.2 address 02:00:00:00:00:01 mtu 1450 up",
                &format!("set forwarding of {mac} on sl.vxlan to 172.30.0.3"),
                &format!("set neighbour 10.244.2.1 to {mac} on sl.vxlan"),
            ]
        );
        assert_eq!(steps.after, []);
        assert_eq!(
            overlay_steps(Some(&applied(&wanted)), Some(&wanted)),
            OverlaySteps::default()
        );
    }

    #[test]
    fn a_peer_that_moves_or_goes_is_followed_without_touching_the_others() {
        let found = applied(&two());
        let mut moved = two();
        moved.peers[1].address = "172.31.0.4".parse().unwrap();
        let steps = overlay_steps(Some(&found), Some(&moved));
        let mac = sealane_route::tunnel_mac("node-3");
        assert_eq!(
            text(&steps.before),
            [format!("set forwarding of {mac} on sl.vxlan to 172.31.0.4")]
        );
        assert_eq!(steps.after, []);
        let one = program(two().peers[..1].to_vec());
        let steps = overlay_steps(Some(&found), Some(&one));
        assert_eq!(steps.before, []);
        assert_eq!(
            text(&steps.after),
            [
                format!("delete forwarding of {mac} on sl.vxlan"),
                "delete neighbour 10.244.3.1 on sl.vxlan".into()
            ]
        );
    }

    #[test]
    fn another_address_of_this_node_takes_another_link_and_a_new_mtu_does_not() {
        let found = applied(&two());
        let mut wanted = two();
        wanted.mtu = Mtu::MIN;
        let steps = overlay_steps(Some(&found), Some(&wanted));
        assert!(!steps.anew && steps.before.len() == 1, "{steps:?}");
        wanted.tunnel.local = "172.29.0.9".parse().unwrap();
        let steps = overlay_steps(Some(&found), Some(&wanted));
        assert!(steps.anew, "{steps:?}");
        assert_eq!(
            steps.before.len(),
            6,
            "link, gone and made, and two entries for each peer"
        );
    }

    #[test]
    fn goes_when_nobody_needs_it_unless_it_is_somebody_elses() {
        let mut found = applied(&two());
        assert_eq!(
            overlay_steps(Some(&found), None).after,
            [Step::DeleteOverlay]
        );
        found.link.kind = "bridge".into();
        assert_eq!(overlay_steps(Some(&found), None), OverlaySteps::default());
    }
}
